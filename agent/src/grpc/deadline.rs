//! Deadlines: a caller that names a time (`grpc-timeout`) has an answer by then, `DEADLINE_EXCEEDED` if no other.
//!
//! tonic by itself answers `CANCELLED` there, which a caller takes for its own doing, and lets streams run on. This layer
//! is inside of tonic's and always first. What reads stops being read; what changes something goes on, see
//! [`super::changes`].

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyStream, StreamBody};
use portmeter_proto::reason::Reason;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

const HEADER: &str = "grpc-timeout";

/// Puts [`Deadlines`] around a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadlines<S>;

    fn layer(&self, inner: S) -> Deadlines<S> {
        Deadlines { inner }
    }
}

/// A service that answers in time.
#[derive(Debug, Clone)]
pub(super) struct Deadlines<S> {
    inner: S,
}

impl<S, Sent, Answered> Service<Request<Sent>> for Deadlines<S>
where
    S: Service<Request<Sent>, Response = Response<Answered>, Error = Infallible>,
    S::Future: Send + 'static,
    Answered: http_body::Body<Data = Bytes> + Send + 'static,
    Answered::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Sent>) -> Self::Future {
        // One so far away that no clock shows it is none.
        let deadline = timeout(request.headers()).and_then(|time| Instant::now().checked_add(time));
        let call = self.inner.call(request);
        Box::pin(async move {
            let Some(deadline) = deadline else {
                return Ok(call.await?.map(Body::new));
            };
            match until(deadline, call).await {
                Some(answer) => Ok(answer?.map(|body| ending_at(deadline, Body::new(body)))),
                None => Ok(exceeded().into_http()),
            }
        })
    }
}

fn exceeded() -> Status {
    Reason::DeadlineExceeded.status("The deadline passed before there was an answer")
}

/// The call's answer, or `None` when it is not there in time. One whose time has passed before is not begun.
async fn until<F: Future>(deadline: Instant, call: F) -> Option<F::Output> {
    if Instant::now() >= deadline {
        return None;
    }
    let (mut call, mut timer) = (pin!(call), pin!(sleep_until(deadline)));
    poll_fn(|context| {
        if let Poll::Ready(answer) = call.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        // The clock decides, not the timer alone: tonic's own timer for the same moment may be the one that woke this.
        if timer.as_mut().poll(context).is_ready() || Instant::now() >= deadline {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// A body that ends at the deadline with the status that says so, unless it has ended by itself.
///
/// One without a frame stays what it is: clients take an error only from headers that end the stream.
fn ending_at(deadline: Instant, body: Body) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let frames = stream::unfold(Some(BodyStream::new(body)), move |frames| async move {
        let mut frames = frames?;
        match timeout_at(deadline, frames.next()).await {
            Ok(frame) => frame.map(|frame| (frame, Some(frames))),
            Err(_) => {
                let mut trailers = HeaderMap::new();
                exceeded()
                    .add_header(&mut trailers)
                    .map(|()| (Ok(Frame::trailers(trailers)), None))
                    .ok()
            }
        }
    });
    Body::new(StreamBody::new(frames))
}

/// The time that a caller gives: up to eight digits and a unit. What is no such time is none, as tonic has it too.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use http_body_util::BodyExt;
    use tonic::Code;

    use super::*;

    #[test]
    fn a_time_has_up_to_eight_digits_and_a_unit() {
        let given = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, text.parse().unwrap());
            timeout(&headers)
        };
        assert_eq!(given("1H"), Some(Duration::from_secs(3_600)));
        assert_eq!(given("2M"), Some(Duration::from_secs(120)));
        assert_eq!(given("00000003S"), Some(Duration::from_secs(3)));
        assert_eq!(given("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(given("5u"), Some(Duration::from_micros(5)));
        assert_eq!(given("0n"), Some(Duration::ZERO));
        for text in ["", "S", "1", "1s", "000000001S", "-1S", "+1S", " 1S", "1.5S"] {
            assert_eq!(given(text), None, "{text}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn an_answer_in_time_is_given_and_a_late_one_is_not_waited_for() {
        let soon = || Instant::now() + Duration::from_millis(5);
        let later = Instant::now() + Duration::from_secs(600);
        assert_eq!(until(later, ready(1)).await, Some(1));
        assert_eq!(until(soon(), pending::<i32>()).await, None);
        let begun = std::cell::Cell::new(false);
        assert_eq!(until(Instant::now(), async { begun.set(true) }).await, None);
        assert!(!begun.get(), "its time had passed before");
    }

    /// Answers nobody.
    #[derive(Clone)]
    struct Silent;

    impl Service<Request<()>> for Silent {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            pending()
        }
    }

    #[tokio::test]
    async fn a_call_that_takes_too_long_is_told_so() {
        let request = Request::builder().header(HEADER, "3m").body(()).unwrap();
        let response = DeadlineLayer.layer(Silent).call(request).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(
            (status.code(), Reason::of(&status)),
            (Code::DeadlineExceeded, Reason::DeadlineExceeded)
        );
    }

    #[tokio::test]
    async fn a_stream_ends_at_its_deadline_with_a_status() {
        let frames = || stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"first")))]);
        let endless = Body::new(StreamBody::new(frames().chain(stream::pending())));
        let body = ending_at(Instant::now() + Duration::from_millis(5), endless);
        let collected = body.collect().await.unwrap();
        let status = Status::from_header_map(collected.trailers().unwrap()).unwrap();
        assert_eq!(
            (status.code(), Reason::of(&status)),
            (Code::DeadlineExceeded, Reason::DeadlineExceeded)
        );
        assert_eq!(collected.to_bytes(), "first");

        let ended = Body::new(StreamBody::new(frames()));
        let body = ending_at(Instant::now() + Duration::from_secs(600), ended);
        assert!(body.collect().await.unwrap().trailers().is_none());
    }

    #[test]
    fn an_error_stays_in_headers_that_end_the_stream() {
        let body = ending_at(Instant::now() + Duration::from_secs(600), Body::empty());
        assert!(body.is_end_stream());
    }
}
