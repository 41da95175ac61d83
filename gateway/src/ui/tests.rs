//! What a browser is given, and that nothing in it leads elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use http_body_util::BodyExt as _;

use super::*;

/// All files together, in bytes: a first load, before anything is asked.
const BYTES_MAX: usize = 300_000;

/// The name of a kind of markup, which no browser fetches.
const NAMESPACE: &str = "http://www.w3.org/2000/svg";

async fn answer(name: &str, known: Option<&str>) -> Response {
    let mut headers = HeaderMap::new();
    if let Some(known) = known {
        headers.insert(IF_NONE_MATCH, known.parse().unwrap());
    }
    match name {
        "/ui" => page(headers).await,
        "/ui/" => page_of_folder(headers).await,
        name => file(Segment(name.to_owned()), headers).await,
    }
}

async fn text_of(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn header(response: &Response, name: HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Both forms of the page and every file beside it.
fn every_name() -> Vec<&'static str> {
    ["/ui", "/ui/"]
        .into_iter()
        .chain(FILES.iter().map(|(name, ..)| *name))
        .collect()
}

/// The texts between double quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

#[tokio::test]
async fn every_file_has_its_type_and_the_policy() {
    for name in every_name() {
        let response = answer(name, None).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        let expected = match name.rsplit_once('.') {
            None => "text/html; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            Some((_, other)) => panic!("a file of the kind {other}"),
        };
        assert_eq!(header(&response, CONTENT_TYPE), expected, "{name}");
        assert_eq!(header(&response, X_CONTENT_TYPE_OPTIONS), "nosniff", "{name}");
        assert_eq!(header(&response, CACHE_CONTROL), "no-cache", "{name}");
        let policy = header(&response, CONTENT_SECURITY_POLICY).to_owned();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "form-action 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.split("; ").any(|found| found == part), "{name}: {part}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!text_of(response).await.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_copy_that_still_holds_is_not_sent_again() {
    for name in every_name() {
        let etag = header(&answer(name, None).await, ETAG).to_owned();
        for known in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"0\", {etag}"),
            "*".to_owned(),
        ] {
            let response = answer(name, Some(&known)).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{name} {known}");
            assert_eq!(header(&response, ETAG), etag, "{name}");
            assert_eq!(text_of(response).await, "", "{name}");
        }
        for unknown in ["\"0\"", "", &etag[1..etag.len() - 1]] {
            assert_eq!(
                answer(name, Some(unknown)).await.status(),
                StatusCode::OK,
                "{name} {unknown}"
            );
        }
    }
    let tags: BTreeSet<String> = FILES
        .iter()
        .map(|(_, kind, text)| Served::of(kind, (*text).to_owned()).etag)
        .collect();
    assert_eq!(tags.len(), FILES.len(), "each file has a tag of its own");
}

#[tokio::test]
async fn other_names_are_not_found() {
    for name in [
        "",
        "index.html",
        "tests.rs",
        "MAIN.JS",
        "main.js/",
        "../main.js",
        "..",
        "ui/main.js",
        "main.js\0",
    ] {
        let response = answer(name, None).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{name:?}");
        assert_eq!(text_of(response).await, r#"{"detail":"Not Found"}"#, "{name:?}");
    }
}

#[tokio::test]
async fn every_file_that_is_named_is_served_and_every_one_served_is_named() {
    let names: BTreeSet<&str> = FILES.iter().map(|(name, ..)| *name).collect();
    for (page, folder) in [("/ui", "ui/"), ("/ui/", "./")] {
        let text = text_of(answer(page, None).await).await;
        let named: BTreeSet<&str> = quoted(&text).filter_map(|text| text.strip_prefix(folder)).collect();
        assert_eq!(
            named, names,
            "{page} loads everything, so that nothing waits for what loads it"
        );
        assert!(
            text.contains(env!("CARGO_PKG_VERSION")) && !text.contains(VERSION.0),
            "{page}"
        );
        assert_eq!(
            text.matches("<script").count(),
            text.matches("<script ").count(),
            "{page}: nothing inline"
        );
    }
    for (name, _, text) in FILES {
        for import in quoted(text).filter_map(|text| text.strip_prefix("./")) {
            assert!(names.contains(import), "{name} imports {import}");
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui");
    let on_disk: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["index.html", "tests.rs"].contains(&name.as_str()))
        .collect();
    assert_eq!(on_disk.iter().map(String::as_str).collect::<BTreeSet<_>>(), names);
}

#[test]
fn nothing_leads_elsewhere_or_becomes_markup() {
    let files = FILES.iter().map(|(name, _, text)| (*name, *text));
    for (name, text) in files.chain([("index.html", PAGE)]) {
        let text = text.replace(NAMESPACE, "");
        for outside in [
            "http:",
            "https:",
            "ws://",
            "wss://",
            "\"//",
            "'//",
            "url(",
            "@import",
            "import(",
            "eval(",
            "new Function",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "setHTML",
            " style=",
            "\"style\"",
            "<style",
            " onclick=",
            "javascript:",
            "localStorage.setItem(\"portmeter-api-key\"",
            "sendBeacon",
        ] {
            assert!(!text.contains(outside), "{name}: {outside}");
        }
    }
    // The key is kept by one file alone, and for the session alone.
    for (name, _, text) in FILES {
        assert!(name == "session.js" || !text.contains("sessionStorage"), "{name}");
        assert!(
            ["main.js", "theme.js"].contains(&name) || !text.contains("localStorage"),
            "{name}"
        );
        assert!(name == "api.js" || !text.contains("fetch("), "{name} asks by itself");
        assert!(!text.contains("document.cookie"), "{name}");
    }
}

#[test]
fn a_first_load_is_small() {
    let bytes: usize = FILES.iter().map(|(_, _, text)| text.len()).sum::<usize>() + PAGE.len();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}
