//! The page that browses the document: one file each of markup, style and script, part of the program.
//!
//! It loads nothing from anywhere else, and the browser is told to hold it to that.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};

/// Own files and own calls, nothing inline, and no place in anybody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page that browses this document. It loads nothing from outside; an API key typed into it stays in its memory.
#[utoipa::path(get, path = "/api/docs", responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn show() -> Response {
    file("text/html; charset=utf-8", include_str!("page/docs.html"))
}

/// The page's style.
#[utoipa::path(get, path = "/api/docs/docs.css", responses((status = 200, content_type = "text/css", body = String)))]
pub(crate) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("page/docs.css"))
}

/// The page's script.
#[utoipa::path(
    get,
    path = "/api/docs/docs.js",
    responses((status = 200, content_type = "text/javascript", body = String))
)]
pub(crate) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("page/docs.js"))
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    let set: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of the program has other files at the same place.
        (CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in set {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
