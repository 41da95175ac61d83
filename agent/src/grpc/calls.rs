//! How often each method was called over a socket, how the calls ended, and how long that took.
//!
//! A call is known by its method's place in a table that is made once, so noting it takes one look-up and some atomic
//! additions. What is called that no service has is one row: callers choose no labels. Calls of a gateway in the same
//! process pass no socket; they are in the figures of its routes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response};
use portmeter_metrics::{Durations, Family, Page, Recorder, Timed, Value};
use portmeter_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tower::{Layer, Service};

/// What is told of calls.
pub const CALL_FAMILIES: [&Family; 2] = [&DURATION, &REQUESTS];

const DURATION: Family = Family::durations(
    "portmeter_grpc_request_duration",
    "Time from a gRPC call's beginning to its answer, or to the beginning of its stream",
)
.by(&["method"])
.noting("`method` is the service and the method, `unknown` where no service has it. A method has rows from its first call on. Calls of a gateway in the same process are not among them.");
const REQUESTS: Family = Family::counter(
    "portmeter_grpc_requests",
    "gRPC calls that were answered, or whose stream began",
)
.by(&["method", "code"])
.noting(
    "`code` is gRPC's, for example `NOT_FOUND`; `CANCELLED` too where the caller went away before there was an answer.",
);

/// What stands for methods that no service has.
const UNKNOWN: &str = "unknown";

/// The codes by their numbers, as gRPC's specification names them.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The figures of every method. A clone is one more pointer to the same.
#[derive(Clone)]
pub struct CallFigures(Arc<Methods>);

struct Methods {
    /// By the path that a call names; the last of `figures` is for all others.
    positions: HashMap<String, usize>,
    figures: Vec<MethodFigures>,
}

struct MethodFigures {
    name: String,
    durations: Durations,
    /// By the order of [`CODES`].
    codes: [AtomicU64; CODES.len()],
}

impl Default for CallFigures {
    fn default() -> Self {
        let names = served_methods().into_iter().chain([UNKNOWN.to_owned()]);
        let figures: Vec<MethodFigures> = names.map(MethodFigures::new).collect();
        let positions = figures.iter().enumerate();
        let positions = positions.map(|(position, method)| (format!("/{}", method.name), position));
        Self(Arc::new(Methods {
            positions: positions.collect(),
            figures,
        }))
    }
}

impl CallFigures {
    /// Writes [`CALL_FAMILIES`].
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        // Read once, so that both families speak of the same calls.
        let called = self.0.figures.iter().map(|method| (method, method.durations.read()));
        let called: Vec<_> = called.filter(|(_, recorded)| recorded.count() > 0).collect();
        let mut rows = page.family(&DURATION)?;
        for (method, recorded) in &called {
            rows.durations([Value::Text(&method.name)], recorded)?;
        }
        let mut rows = page.family(&REQUESTS)?;
        for (method, _) in &called {
            for (code, count) in CODES.into_iter().zip(&method.codes) {
                let count = count.load(Ordering::Relaxed);
                // Success is always told; of the others those that have occurred.
                if count > 0 || code == CODES[0] {
                    rows.row([&method.name, code].map(Value::Text), count)?;
                }
            }
        }
        Ok(())
    }

    fn position(&self, path: &str) -> usize {
        let position = self.0.positions.get(path).copied();
        position.unwrap_or(self.0.figures.len() - 1)
    }

    fn note(&self, method: usize, code: Code, took: Duration) {
        let method = &self.0.figures[method];
        // The code first: whoever sees the duration finds it counted.
        if let Some(count) = method.codes.get(code as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        method.durations.record(took);
    }
}

impl MethodFigures {
    fn new(name: String) -> Self {
        Self {
            name,
            durations: Durations::default(),
            codes: Default::default(),
        }
    }
}

/// `package.Service/Method` of everything that the listeners serve.
fn served_methods() -> Vec<String> {
    let sets = [
        FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let mut names = Vec::new();
    for set in sets {
        let set = FileDescriptorSet::decode(set).expect("the committed descriptors are well formed");
        for file in &set.file {
            for service in &file.service {
                let methods = service.method.iter();
                names.extend(methods.map(|method| format!("{}.{}/{}", file.package(), service.name(), method.name())));
            }
        }
    }
    names
}

/// Has the calls of a server noted. The outermost layer: what the others refuse is noted too.
#[derive(Clone)]
pub(super) struct CallsLayer(pub(super) CallFigures);

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls {
            inner,
            figures: self.0.clone(),
        }
    }
}

/// A service whose calls are noted.
#[derive(Clone)]
pub(super) struct Calls<S> {
    inner: S,
    figures: CallFigures,
}

impl<S, Sent, Answered> Service<Request<Sent>> for Calls<S>
where
    S: Service<Request<Sent>, Response = Response<Answered>, Error = Infallible>,
{
    type Response = Response<Answered>;
    type Error = Infallible;
    type Future = Timed<S::Future, Note>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Sent>) -> Self::Future {
        let began_at = Instant::now();
        let note = Note {
            method: self.figures.position(request.uri().path()),
            figures: self.figures.clone(),
        };
        Timed::new(self.inner.call(request), note, began_at)
    }
}

/// Where the end of one call is noted.
pub(super) struct Note {
    method: usize,
    figures: CallFigures,
}

impl<Body> Recorder<Result<Response<Body>, Infallible>> for Note {
    fn ended(self, answer: Option<&Result<Response<Body>, Infallible>>, took: Duration) {
        let code = match answer {
            Some(Ok(response)) => code(response),
            Some(Err(never)) => match *never {},
            None => Code::Cancelled,
        };
        self.figures.note(self.method, code, took);
    }
}

/// An answer that is an error says so in its head; one that begins with a message says nothing there.
fn code<Body>(response: &Response<Body>) -> Code {
    match response.headers().get("grpc-status") {
        Some(code) => Code::from_bytes(code.as_bytes()),
        None if response.status().is_success() => Code::Ok,
        None => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use portmeter_metrics::{Figures, Format, text};
    use tonic::Status;
    use tower::{ServiceBuilder, ServiceExt as _, service_fn};

    use super::*;

    struct Alone(CallFigures);

    impl Figures for Alone {
        fn write(&self, page: &mut Page<'_>) -> fmt::Result {
            self.0.write(page)
        }
    }

    fn counts(figures: &CallFigures) -> Vec<String> {
        let text = text(Alone(figures.clone()), Format::Prometheus, 0).unwrap();
        let rows = text
            .lines()
            .filter_map(|line| line.strip_prefix("portmeter_grpc_requests_total"));
        rows.map(str::to_owned).collect()
    }

    async fn call(figures: &CallFigures, path: &str, answer: Result<(), Status>) {
        let inner = service_fn(move |_: Request<()>| {
            let response = match &answer {
                Ok(()) => Response::new(tonic::body::Body::empty()),
                Err(status) => status.clone().into_http(),
            };
            async move { Ok::<_, Infallible>(response) }
        });
        let service = ServiceBuilder::new().layer(CallsLayer(figures.clone())).service(inner);
        let _ = service.oneshot(Request::get(path).body(()).unwrap()).await;
    }

    #[tokio::test]
    async fn a_call_is_noted_by_its_method_and_code() {
        let figures = CallFigures::default();
        assert!(counts(&figures).is_empty());
        call(&figures, "/portmeter.v1.KeyService/GetKey", Err(Status::not_found("x"))).await;
        call(&figures, "/grpc.health.v1.Health/Check", Ok(())).await;
        for path in ["/portmeter.v1.KeyService/Nothing", "/", "/x", "/unknown"] {
            call(&figures, path, Err(Status::unimplemented("x"))).await;
        }
        assert_eq!(
            counts(&figures),
            [
                "{method=\"portmeter.v1.KeyService/GetKey\",code=\"OK\"} 0",
                "{method=\"portmeter.v1.KeyService/GetKey\",code=\"NOT_FOUND\"} 1",
                "{method=\"grpc.health.v1.Health/Check\",code=\"OK\"} 1",
                "{method=\"unknown\",code=\"OK\"} 0",
                "{method=\"unknown\",code=\"UNIMPLEMENTED\"} 4",
            ]
        );
    }

    #[tokio::test]
    async fn who_goes_away_has_cancelled() {
        let figures = CallFigures::default();
        let inner = service_fn(|_: Request<()>| std::future::pending::<Result<Response<()>, Infallible>>());
        let mut service = CallsLayer(figures.clone()).layer(inner);
        drop(service.call(Request::get("/portmeter.v1.KeyService/ListKeys").body(()).unwrap()));
        let last = "{method=\"portmeter.v1.KeyService/ListKeys\",code=\"CANCELLED\"} 1";
        assert_eq!(counts(&figures).last().map(String::as_str), Some(last));
    }

    #[test]
    fn every_method_is_known_once_and_every_code_has_its_name() {
        let figures = CallFigures::default();
        assert_eq!(figures.0.positions.len(), figures.0.figures.len());
        assert!(figures.0.figures.len() > 50, "{}", figures.0.figures.len());
        for (number, name) in CODES.into_iter().enumerate() {
            let code = Code::from_i32(i32::try_from(number).unwrap());
            let spelled: String = format!("{code:?}").to_uppercase();
            assert_eq!(name.replace('_', ""), spelled);
        }
    }
}
