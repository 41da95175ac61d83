//! The page at `/ui`: its files, part of the program, and how a browser is told to hold them.
//!
//! The page needs no key and shows nothing by itself: its script asks the public REST routes with the key that its
//! reader typed in. Nothing is loaded from anywhere else, nothing stands inline, and the policy forbids both. There is no
//! build step: what is in the folder `ui` is what a browser gets.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::failure::Family;
use crate::request::Segment;

/// Own files and own calls, nothing inline, pictures also from memory (QR codes are fetched with the key), no frame around
/// it, and no text that a script could turn into markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// The page itself.
const PAGE: &str = include_str!("ui/index.html");

/// How the page names files beside it, and what stands there where it is asked for without the slash.
const BESIDE: (&str, &str) = ("=\"./", "=\"ui/");

/// What stands in the page for the version of the program.
const VERSION: (&str, &str) = ("{version}", env!("CARGO_PKG_VERSION"));

/// A row of the table of files.
macro_rules! file {
    ($name:literal, $content_type:expr) => {
        ($name, $content_type, include_str!(concat!("ui/", $name)))
    };
}

/// Every file beside the page: name, content type, text.
const FILES: [(&str, &str, &str); 19] = [
    file!("api.js", SCRIPT),
    file!("attention.js", SCRIPT),
    file!("charts.js", SCRIPT),
    file!("dialog.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("events.js", SCRIPT),
    file!("format.js", SCRIPT),
    file!("icon.svg", PICTURE),
    file!("key_dialogs.js", SCRIPT),
    file!("key_table.js", SCRIPT),
    file!("keys.js", SCRIPT),
    file!("main.js", SCRIPT),
    file!("overview.js", SCRIPT),
    file!("poll.js", SCRIPT),
    file!("rates.js", SCRIPT),
    file!("session.js", SCRIPT),
    file!("style.css", STYLE),
    file!("system.js", SCRIPT),
    file!("theme.js", SCRIPT),
];

/// The page for people: what moves, the keys, events, the state of the system. It needs no key; what it shows is asked
/// for with the one that is typed into it.
#[utoipa::path(get, path = "/ui", responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn page(headers: HeaderMap) -> Response {
    static SERVED: LazyLock<Served> = LazyLock::new(|| Served::of(HTML, page_text().replace(BESIDE.0, BESIDE.1)));
    SERVED.respond(&headers)
}

/// The same as `/ui`.
#[utoipa::path(get, path = "/ui/", responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn page_of_folder(headers: HeaderMap) -> Response {
    static SERVED: LazyLock<Served> = LazyLock::new(|| Served::of(HTML, page_text()));
    SERVED.respond(&headers)
}

/// The page's scripts, style and icon.
#[utoipa::path(
    get,
    path = "/ui/{page_file}",
    responses(
        (status = 200, content((String = "text/javascript"), (String = "text/css"), (String = "image/svg+xml"))),
    )
)]
pub(crate) async fn file(Segment(name): Segment, headers: HeaderMap) -> Response {
    static SERVED: LazyLock<Vec<Served>> = LazyLock::new(|| {
        let served = FILES
            .iter()
            .map(|(_, content_type, text)| Served::of(content_type, (*text).to_owned()));
        served.collect()
    });
    let position = FILES.iter().position(|(known, ..)| *known == name);
    match position.and_then(|position| SERVED.get(position)) {
        Some(served) => served.respond(&headers),
        None => Family::Key.not_found(),
    }
}

fn page_text() -> String {
    PAGE.replace(VERSION.0, VERSION.1)
}

/// A file as it goes out.
struct Served {
    content_type: &'static str,
    etag: String,
    body: Bytes,
}

impl Served {
    fn of(content_type: &'static str, text: String) -> Self {
        Self {
            content_type,
            etag: format!("\"{:016x}\"", fingerprint(text.as_bytes())),
            body: text.into(),
        }
    }

    /// The file, or that the caller's copy of it still holds.
    fn respond(&self, headers: &HeaderMap) -> Response {
        let is_known = headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .any(|tags| names(tags, &self.etag));
        let mut response = match is_known {
            true => Response::new(Body::empty()),
            false => Response::new(Body::from(self.body.clone())),
        };
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let set: [(HeaderName, &str); 6] = [
            (CONTENT_TYPE, self.content_type),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            // Another version of the program has other files at the same place, so a browser asks each time.
            (CACHE_CONTROL, "no-cache"),
            (ETAG, &self.etag),
        ];
        for (name, value) in set {
            let value = HeaderValue::from_str(value).expect("texts of this file are printable");
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Whether a list of entity tags names this one; RFC 9110, 13.1.2: weak ones count, and `*` means any.
fn names(tags: &HeaderValue, etag: &str) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}

/// FNV-1a of 64 bits. It tells versions of one file apart, and nobody gains from making two alike.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
