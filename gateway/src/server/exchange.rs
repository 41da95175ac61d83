//! One request and its answer: what is refused before a router sees it, what every answer carries, and when the
//! connection is at work and when it waits.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, REFERRER_POLICY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use portmeter_listener::Connection;
use tower::Service as _;

use super::head;
use super::wire::WireState;
use crate::failure::Family;
use crate::request::refuse;

/// One request of a connection.
pub(super) struct Exchange {
    pub(super) connection: Arc<Connection>,
    pub(super) wire: Arc<WireState>,
    /// How long the answer may take.
    pub(super) time_max: Duration,
}

impl Exchange {
    /// Has `router` answer; the connection is at work until the answer is handed over.
    pub(super) async fn answer(
        self,
        mut router: Router,
        request: Request<Incoming>,
    ) -> Result<http::Response<Answer>, Infallible> {
        let objection = self.wire.begin(|raw| {
            let target = request.uri().path();
            let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
            head::objection(raw, request.method().as_str(), target, is_chunked)
        });
        let family = Family::of_path(request.uri().path());
        let mut request = request.map(|body| Body::new(Arriving::new(body, Arc::clone(&self.connection))));
        request.extensions_mut().insert(Arc::clone(&self.connection));
        let answered = async {
            match objection {
                Some(text) => refuse(request, close(family.error(StatusCode::BAD_REQUEST, text))).await,
                None => router.call(request).await.unwrap_or_else(|never| match never {}),
            }
        };
        let mut response = match tokio::time::timeout(self.time_max, answered).await {
            Ok(response) => response,
            Err(_) => close(family.error(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("The answer took longer than {} seconds", self.time_max.as_secs()),
            )),
        };
        protect(response.headers_mut());
        Ok(response.map(|body| Answer { body, _exchange: self }))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.wire.end();
        self.connection.end();
    }
}

fn close(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// What browsers are to know of every answer: that its type is what it says, that it is for this moment and this reader,
/// and that its address, which may hold a subscription's token, is told nobody.
fn protect(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let defaults = [(CACHE_CONTROL, "no-store"), (REFERRER_POLICY, "no-referrer")];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// A request's body. When it has arrived whole the connection is at work.
struct Arriving {
    body: Incoming,
    connection: Arc<Connection>,
}

impl Arriving {
    fn new(body: Incoming, connection: Arc<Connection>) -> Self {
        if body.is_end_stream() {
            connection.begin();
        }
        Self { body, connection }
    }
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.connection.begin();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body. Once it is dropped everything of it has been handed over.
pub(super) struct Answer {
    body: Body,
    _exchange: Exchange,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
