//! `GET /metrics`, and nothing else.

use std::fmt::Display;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::Format;

/// Answers scrapes with what `page` gives for a format. It is called where it may block (a scrape lists sockets, and waits
/// for locks), and never twice at a time: whoever asks without end keeps one processor busy and not all of them.
pub fn router<P, E>(page: P) -> Router
where
    P: Fn(Format) -> Result<String, E> + Clone + Send + Sync + 'static,
    E: Display + Send + 'static,
{
    let turn = Arc::new(Mutex::new(()));
    let answer = move |headers: HeaderMap| async move {
        let turn = turn.lock_owned().await;
        answer(page, headers, turn).await
    };
    Router::new().route("/metrics", get(answer))
}

/// `turn` is held until the page is made, also where the caller has gone meanwhile.
async fn answer<P, E>(page: P, headers: HeaderMap, turn: OwnedMutexGuard<()>) -> Response
where
    P: Fn(Format) -> Result<String, E> + Send + 'static,
    E: Display + Send + 'static,
{
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(accepted);
    let made = tokio::task::spawn_blocking(move || {
        let page = page(format);
        drop(turn);
        page
    });
    let failed = match made.await {
        Ok(Ok(text)) => return ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(error = failed, "the metrics could not be read");
    (StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be read\n").into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(router: Router, path: &str, accept: &str) -> (StatusCode, String) {
        let request = Request::get(path).header(ACCEPT, accept).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.map_or("", |value| value.to_str().unwrap());
        (response.status(), content_type.to_owned())
    }

    #[tokio::test]
    async fn the_answer_is_of_the_format_that_is_asked_for() {
        let router = router(|format| Ok::<_, String>(format!("{format:?}")));
        for format in [Format::OpenMetrics, Format::Prometheus] {
            let (status, content_type) = ask(router.clone(), "/metrics", format.content_type()).await;
            assert_eq!((status, content_type.as_str()), (StatusCode::OK, format.content_type()));
        }
        assert_eq!(ask(router, "/", "*/*").await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_an_error() {
        let failing = router(|_| Err("secret detail"));
        assert_eq!(
            ask(failing, "/metrics", "*/*").await.0,
            StatusCode::INTERNAL_SERVER_ERROR
        );
        let panicking = router(|_| -> Result<String, String> { panic!("a bug") });
        assert_eq!(
            ask(panicking.clone(), "/metrics", "*/*").await.0,
            StatusCode::INTERNAL_SERVER_ERROR
        );
        assert_eq!(
            ask(panicking, "/metrics", "*/*").await.0,
            StatusCode::INTERNAL_SERVER_ERROR
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_page_is_made_at_a_time() {
        let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let highest = Arc::clone(&most);
        let router = router(move |_| {
            highest.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            busy.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, String>(String::new())
        });
        let asking = (0..8).map(|_| tokio::spawn(ask(router.clone(), "/metrics", "*/*")));
        for asked in asking.collect::<Vec<_>>() {
            assert_eq!(asked.await.unwrap().0, StatusCode::OK);
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}
