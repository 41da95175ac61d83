//! `GET /metrics`, and nothing else.

use std::fmt::Display;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::Format;

/// Answers scrapes with what `page` gives for a format. It is called where it may block: a scrape lists sockets, and
/// waits for locks.
pub fn router<P, E>(page: P) -> Router
where
    P: Fn(Format) -> Result<String, E> + Clone + Send + Sync + 'static,
    E: Display + Send + 'static,
{
    Router::new().route("/metrics", get(move |headers: HeaderMap| answer(page, headers)))
}

async fn answer<P, E>(page: P, headers: HeaderMap) -> Response
where
    P: Fn(Format) -> Result<String, E> + Send + 'static,
    E: Display + Send + 'static,
{
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(accepted);
    let failed = match tokio::task::spawn_blocking(move || page(format)).await {
        Ok(Ok(text)) => return ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(error = failed, "the metrics could not be read");
    (StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be read\n").into_response()
}
