//! How the generated clients reach the agent's services: in this process, or over TCP or a unix socket.
//!
//! Owns [`Transport`], the one type that every generated client is built over. In one process a call is handed
//! straight to the service's own generated server half: no socket, no HTTP/2, no path routing, nothing boxed
//! beyond what the generated code boxes itself. Apart, it is a tonic channel that connects when first used, again
//! whenever the connection has gone, and sends the API key with each call.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::TryFutureExt as _;
use futures_util::future::{Either, MapErr};
use http::uri::Authority;
use http::{HeaderValue, Uri};
use hyper_util::rt::TokioIo;
use portmeter_listener::Stream;
use portmeter_listener::tls::{ClientFiles, ClientTls, TlsError};
use portmeter_proto::api_key::{ApiKey, METADATA_NAME};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Channel, Endpoint};
use tower::{Service, service_fn};

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

/// A way to the agent, which every generated client can be built over. Cheap to clone: a pointer or a channel's handle.
#[derive(Clone)]
pub struct Transport(Way);

#[derive(Clone)]
enum Way {
    /// The service itself.
    Local(Arc<dyn LocalService>),
    /// A channel, and the API key that goes with each call, where there is one.
    Remote(Channel, Option<HeaderValue>),
}

impl Transport {
    /// A transport to `service`, the generated server half of one gRPC service.
    pub(crate) fn in_process(service: impl LocalService) -> Self {
        Self(Way::Local(Arc::new(service)))
    }

    /// A transport to the agent at `address`; see [`InvalidAddress`] for the forms an address has. One at `https://`
    /// needs `tls`, and no other has it; a unix socket alone needs no `api_key`. It connects when it is first used, and
    /// anew whenever the connection has gone, so this succeeds whether or not an agent is there. Needs a tokio runtime
    /// around it.
    pub fn connect(address: &str, api_key: Option<&ApiKey>, tls: Option<ClientFiles>) -> Result<Self, ConnectError> {
        let (endpoint, tls) = match (address.strip_prefix("https://"), tls) {
            (None, None) => (endpoint(address)?, None),
            (None, Some(_)) => return Err(ConnectError::NoTls(address.to_owned())),
            (Some(_), None) => return Err(ConnectError::NoAuthority(address.to_owned())),
            (Some(authority), Some(files)) => {
                let authority = authority_of(authority).ok_or_else(|| InvalidAddress(address.to_owned()))?;
                let tls = ClientTls::load(files, authority.host())?;
                (endpoint_with_tls(address, &authority)?, Some((authority, tls)))
            }
        };
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let channel = match tls {
            None => endpoint.connect_lazy(),
            Some((authority, tls)) => endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
                let (authority, tls) = (authority.clone(), tls.clone());
                async move { open(&authority, &tls).await.map(TokioIo::new) }
            })),
        };
        Ok(Self(Way::Remote(channel, api_key.map(metadata))))
    }
}

/// The API key as it is sent.
fn metadata(api_key: &ApiKey) -> HeaderValue {
    let mut value = HeaderValue::from_str(api_key.expose()).expect("an API key holds visible ASCII only");
    value.set_sensitive(true);
    value
}

impl Service<Request> for Transport {
    type Response = Response;
    type Error = tonic::transport::Error;
    type Future = Either<MapErr<LocalFuture, fn(Infallible) -> Self::Error>, ResponseFuture>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match &mut self.0 {
            Way::Local(_) => Poll::Ready(Ok(())),
            Way::Remote(channel, _) => channel.poll_ready(context),
        }
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match &mut self.0 {
            Way::Local(service) => Either::Left(service.call(request).map_err(|never| match never {})),
            Way::Remote(channel, api_key) => {
                if let Some(api_key) = api_key {
                    request.headers_mut().insert(METADATA_NAME, api_key.clone());
                }
                Either::Right(channel.call(request))
            }
        }
    }
}

/// A generated server half, callable through a shared pointer.
pub trait LocalService: Send + Sync + 'static {
    /// Hands the request to the service.
    #[doc(hidden)]
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

/// Why an agent cannot be asked in the way that is wanted.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address has no known form.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// Nothing is said about how the agent is known.
    #[error(
        "an agent at {0} is known by its certificate: name its authority, or the certificate itself, with --agent-ca FILE"
    )]
    NoAuthority(String),
    /// Certificates are named for an agent that is asked without TLS.
    #[error("`{0}` is asked without TLS, so --agent-ca is for nothing: write https://HOST:PORT")]
    NoTls(String),
    /// A certificate, its key or the authority cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// An agent address that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address of an agent: give HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:/absolute/path, \
     for example 127.0.0.1:50051"
)]
pub struct InvalidAddress(String);

/// Makes a connection with TLS.
async fn open(authority: &Authority, tls: &ClientTls) -> io::Result<Stream> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or_default())).await?;
    stream.set_nodelay(true)?;
    tls.open(stream).await
}

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
    let authority = authority_of(address.strip_prefix("http://").unwrap_or(address)).ok_or_else(invalid)?;
    Endpoint::from_shared(format!("http://{authority}")).map_err(|_| invalid())
}

/// The endpoint of an agent whose connections are made by [`open`]: calls name `https`, connections no scheme.
fn endpoint_with_tls(address: &str, authority: &Authority) -> Result<Endpoint, InvalidAddress> {
    let uri = |scheme: &str| format!("{scheme}://{authority}").parse::<Uri>();
    match (uri("http"), uri("https")) {
        (Ok(plain), Ok(origin)) => Ok(Endpoint::from(plain).origin(origin)),
        _ => Err(InvalidAddress(address.to_owned())),
    }
}

/// Reads `HOST:PORT`, perhaps with a slash after it.
fn authority_of(text: &str) -> Option<Authority> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let authority: Authority = text.parse().ok()?;
    let has_port = authority.port_u16().is_some_and(|port| port != 0);
    (has_port && !authority.host().is_empty() && !text.contains('@')).then_some(authority)
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
            "ftp://127.0.0.1:50051",
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
