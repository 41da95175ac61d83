//! Over real sockets: the listener's limits and its end, and an agent that is somewhere else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use portmeter_gateway::{Backend, PanelAuth, router, serve};
use portmeter_proto::api_key::{ApiKey, METADATA_NAME};
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::key_service_server::KeyServiceServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::codegen::tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::{Request, Status};

use crate::agent::Agent;
use crate::ask::{API_KEY, config};

/// A served router. Dropping it stops the listener.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
    shutdown: DropGuard,
}

async fn served(router: Router) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, router, shutdown.clone()));
    Served {
        address,
        task,
        shutdown: shutdown.drop_guard(),
    }
}

/// Sends `request` as it is and reads until the server closes the connection.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn get_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {API_KEY}\r\n\r\n")
}

/// The status of a `GET` with the API key.
pub(crate) async fn status_of(address: SocketAddr, path: &str) -> u16 {
    let answer = raw(address, get_request(path).as_bytes()).await;
    answer
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("{answer}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let agent = Agent::with_keys(1);
    let served = served(router(agent.backend(), config(PanelAuth::Key))).await;
    let kept = get_request("/api/keys").replace("Connection: close\r\n", "");
    let answer = raw(served.address, (kept.repeat(2) + &get_request("/livez")).as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
}

/// A client that sends a whole large body before it reads must still see why it was refused.
#[tokio::test]
async fn a_large_body_is_answered_not_reset() {
    let agent = Agent::with_keys(1);
    let served = served(router(agent.backend(), config(PanelAuth::Key))).await;
    let body = "x".repeat(8 * 1024 * 1024);
    for (path, key, status) in [
        ("/api/keys", API_KEY, 413),
        ("/api/keys", "wrong", 401),
        ("/nope", API_KEY, 404),
        ("/livez", API_KEY, 405),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {key}\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = raw(served.address, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
}

/// A router whose `/slow` says when it was reached and answers when it is told to.
fn slow_router() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (reached, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (reached, release) = (Arc::clone(&reached), Arc::clone(&release));
        async move || {
            reached.notify_one();
            release.notified().await;
            "finished"
        }
    };
    (Router::new().route("/slow", get(handler)), reached, release)
}

#[tokio::test]
async fn a_stop_lets_a_request_finish_and_closes_idle_connections() {
    let (router, reached, release) = slow_router();
    let served = served(router).await;
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    idle.write_all(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_ne!(idle.read(&mut [0; 1024]).await.unwrap(), 0);
    let request = tokio::spawn(async move { raw(served.address, get_request("/slow").as_bytes()).await });
    reached.notified().await;
    drop(served.shutdown);
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    assert!(!served.task.is_finished());
    release.notify_one();
    assert!(request.await.unwrap().ends_with("finished"));
    served.task.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever() {
    let (router, reached, _release) = slow_router();
    let served = served(router).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(get_request("/slow").as_bytes()).await.unwrap();
    reached.notified().await;
    drop(served.shutdown);
    tokio::time::timeout(Duration::from_secs(10), served.task)
        .await
        .expect("a stop takes seconds")
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_arrive_is_not_waited_for() {
    let agent = Agent::with_keys(1);
    let served = served(router(agent.backend(), config(PanelAuth::Key))).await;
    let start = tokio::time::Instant::now();
    let answer = raw(served.address, b"GET /api/users HTTP/1.1\r\nHost: x\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":408"),
        "{answer}"
    );
    assert_eq!(
        raw(served.address, b"").await,
        "",
        "who has sent nothing is told nothing"
    );
    let head = format!("POST /api/keys HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\nContent-Length: 9\r\n\r\n{{");
    let answer = raw(served.address, head.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("did not arrive"),
        "{answer}"
    );
    assert!(start.elapsed() < Duration::from_secs(240));
}

/// Lets only calls with the API key through, as the agent does over TCP.
fn check_api_key(request: Request<()>) -> Result<Request<()>, Status> {
    match request.metadata().get(METADATA_NAME) {
        Some(key) if key == API_KEY => Ok(request),
        _ => Err(Reason::InvalidApiKey.status("who are you?")),
    }
}

/// Serves the agent's keys over gRPC until the guard is dropped.
pub(crate) fn serve_agent(agent: &Agent, listener: std::net::TcpListener) -> DropGuard {
    listener.set_nonblocking(true).unwrap();
    let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
    let shutdown = CancellationToken::new();
    let server = Server::builder()
        .layer(InterceptorLayer::new(check_api_key))
        .add_service(KeyServiceServer::new(agent.clone()))
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    tokio::spawn(server);
    shutdown.drop_guard()
}

/// A served gateway to the agent at `address`.
pub(crate) async fn gateway_to(address: &str, api_key: &str) -> Served {
    let backend = Backend::connect(address, &ApiKey::new(api_key).unwrap(), None).unwrap();
    served(router(backend, config(PanelAuth::Key))).await
}

/// Waits until `path` answers `status`, which it must within ten seconds.
pub(crate) async fn wait_for(gateway: &Served, path: &str, status: u16) {
    let start = Instant::now();
    loop {
        let answered = status_of(gateway.address, path).await;
        if answered == status {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{path} still answers {answered}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_agent_over_tcp_may_come_go_and_come_back() {
    let agent = Agent::with_keys(100);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gateway = gateway_to(&address.to_string(), API_KEY).await;
    assert_eq!(status_of(gateway.address, "/api/keys").await, 503);
    assert_eq!(status_of(gateway.address, "/readyz").await, 503);
    assert_eq!(status_of(gateway.address, "/livez").await, 200);
    for _ in 0..2 {
        let serving = serve_agent(&agent, std::net::TcpListener::bind(address).unwrap());
        wait_for(&gateway, "/api/keys", 200).await;
        assert_eq!(status_of(gateway.address, "/api/keys/nobody").await, 404);
        // A service that the agent does not have is not the caller's doing.
        assert_eq!(status_of(gateway.address, "/api/traffic/simple").await, 500);
        drop(serving);
        wait_for(&gateway, "/api/keys", 503).await;
    }
}

#[tokio::test]
async fn a_gateway_that_the_agent_refuses_does_not_blame_its_caller() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _serving = serve_agent(&Agent::with_keys(1), listener);
    let gateway = gateway_to(&format!("http://{address}"), "another-key-of-16-characters").await;
    let answer = raw(gateway.address, get_request("/api/keys").as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("refuses the gateway's API key"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_agent_is_reached_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let incoming = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
    let agent = Agent::with_keys(1);
    agent.set_etag("first");
    let server = Server::builder().add_service(KeyServiceServer::new(agent.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    let gateway = gateway_to(&format!("unix:{}", path.display()), API_KEY).await;
    for _ in 0..3 {
        assert_eq!(status_of(gateway.address, "/api/keys").await, 200);
    }
    assert_eq!(agent.n_lists_sent(), 1, "tags travel over the wire too");
}
