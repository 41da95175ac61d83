//! How the generated clients reach the agent's services: in this process, or over TCP or a unix socket.
//!
//! Owns [`Transport`], the one type that every generated client is built over. In one process a call is handed
//! straight to the service's own generated server half: no socket, no HTTP/2, no path routing, nothing boxed
//! beyond what the generated code boxes itself. Apart, it is a tonic channel that connects when first used, again
//! whenever the connection has gone, and sends the API key with each call.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::TryFutureExt as _;
use futures_util::future::{Either, MapErr};
use http::HeaderValue;
use portmeter_proto::api_key::{ApiKey, METADATA_NAME};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

/// How long a connection to the agent may take to come about: it is on this host or a near one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one call may take. The longest ones wait for Xray to take a key, which takes seconds at most.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a quiet connection is asked whether the other side is still there, and how long it may take to say so:
/// a host that vanished without a word is noticed within half a minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

type Request = http::Request<Body>;
type Response = http::Response<Body>;
type LocalFuture = BoxFuture<Response, Infallible>;

/// A way to the agent. Cheap to clone: a pointer or a channel's handle.
#[derive(Clone)]
pub(crate) enum Transport {
    /// The service itself.
    Local(Arc<dyn LocalService>),
    /// A channel, and the API key that goes with each call.
    Remote(Channel, HeaderValue),
}

impl Transport {
    /// A transport to `service`, the generated server half of one gRPC service.
    pub(crate) fn in_process(service: impl LocalService) -> Self {
        Self::Local(Arc::new(service))
    }

    /// A transport to the agent at `address`; see [`InvalidAddress`] for the forms an address has. It connects when
    /// it is first used, so this succeeds whether or not an agent is there. Needs a tokio runtime around it.
    pub(crate) fn connect(address: &str, api_key: &ApiKey) -> Result<Self, InvalidAddress> {
        let channel = endpoint(address)?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .connect_lazy();
        let mut api_key = HeaderValue::from_str(api_key.expose()).expect("an API key holds visible ASCII only");
        api_key.set_sensitive(true);
        Ok(Self::Remote(channel, api_key))
    }
}

impl Service<Request> for Transport {
    type Response = Response;
    type Error = tonic::transport::Error;
    type Future = Either<MapErr<LocalFuture, fn(Infallible) -> Self::Error>, ResponseFuture>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Local(_) => Poll::Ready(Ok(())),
            Self::Remote(channel, _) => channel.poll_ready(context),
        }
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self {
            Self::Local(service) => Either::Left(service.call(request).map_err(|never| match never {})),
            Self::Remote(channel, api_key) => {
                request.headers_mut().insert(METADATA_NAME, api_key.clone());
                Either::Right(channel.call(request))
            }
        }
    }
}

/// A generated server half, callable through a shared pointer.
pub(crate) trait LocalService: Send + Sync + 'static {
    /// Hands the request to the service.
    fn call(&self, request: Request) -> LocalFuture;
}

impl<S> LocalService for S
where
    S: Service<Request, Response = Response, Error = Infallible, Future = LocalFuture>,
    S: Clone + Send + Sync + 'static,
{
    fn call(&self, request: Request) -> LocalFuture {
        // `Service::call` wants a `&mut self`; a generated server half is a pointer and four settings to copy.
        Service::call(&mut self.clone(), request)
    }
}

/// An agent address that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address of an agent: give HOST:PORT, http://HOST:PORT or unix:/absolute/path, \
     for example 127.0.0.1:50051"
)]
pub struct InvalidAddress(String);

/// Reads `HOST:PORT`, `http://HOST:PORT` or `unix:/absolute/path`.
fn endpoint(address: &str) -> Result<Endpoint, InvalidAddress> {
    let invalid = || InvalidAddress(address.to_owned());
    if let Some(path) = address.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !Path::new(path).is_absolute() {
            return Err(invalid());
        }
        return Endpoint::from_shared(format!("unix:{path}")).map_err(|_| invalid());
    }
    let authority = address.strip_prefix("http://").unwrap_or(address);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let parsed: http::uri::Authority = authority.parse().map_err(|_| invalid())?;
    if parsed.host().is_empty() || parsed.port_u16().is_none_or(|port| port == 0) || authority.contains('@') {
        return Err(invalid());
    }
    Endpoint::from_shared(format!("http://{authority}")).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_three_forms_of_an_address() {
        for address in [
            "127.0.0.1:50051",
            "agent.example:50051",
            "[::1]:50051",
            "http://127.0.0.1:50051",
            "http://127.0.0.1:50051/",
            "unix:/run/portmeter/default/agent.sock",
            "unix:///run/portmeter/default/agent.sock",
        ] {
            assert!(endpoint(address).is_ok(), "{address}");
        }
    }

    #[test]
    fn refuses_anything_else_in_one_sentence() {
        for address in [
            "",
            ":50051",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:99999",
            "https://127.0.0.1:50051",
            "http://127.0.0.1:50051/path",
            "user@127.0.0.1:50051",
            "a b:1",
            "unix:agent.sock",
            "unix:",
        ] {
            let error = endpoint(address).expect_err(address).to_string();
            assert!(
                error.contains(&format!("`{address}`")) && error.contains("HOST:PORT"),
                "{error}"
            );
        }
    }
}
