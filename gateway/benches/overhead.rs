//! What the gateway costs beside a bare axum route that returns the same bytes.
//!
//! First without a network: nanoseconds per request of the router alone, called directly. Then over loopback with
//! `wrk`, where it is installed: requests per second of both servers in turn, in the same process and run. The agent
//! is the tests' stand-in, so this is the price of routing, the key, encoding and decoding the gRPC messages and
//! writing JSON, without a store behind it.
//!
//! `cargo bench --package portmeter-gateway`

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::BodyExt as _;
use portmeter_gateway::{GatewayConfig, PanelAuth, router, serve};
use portmeter_proto::api_key::ApiKey;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

#[path = "../tests/rest/agent.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod agent;

const API_KEY: &str = "0123456789abcdef";

/// How long each side is measured, and how often the two take turns.
const SPAN: Duration = Duration::from_secs(2);
const N_ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let agent = agent::Agent::with_keys(100);
    let config = GatewayConfig {
        api_key: ApiKey::new(API_KEY).unwrap(),
        panel_auth: PanelAuth::Key,
        listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
        public_url: None,
        failed_keys_per_minute: 300,
    };
    let gateway = router(agent.backend(), config.clone());
    let tagged = agent::Agent::with_keys(100);
    tagged.set_etag("bench");
    let tagged = router(tagged.backend(), config.clone());
    let one = format!("/api/keys/{}", agent.key(50).id);
    for (title, route, path, gateway) in [
        ("one key", "/api/keys/{key_id}", one.as_str(), &gateway),
        ("list of keys, unchanged", "/api/keys", "/api/keys", &tagged),
        ("list of keys, always new", "/api/keys", "/api/keys", &gateway),
        (
            "traffic of all keys",
            "/api/traffic/simple",
            "/api/traffic/simple",
            &gateway,
        ),
    ] {
        let bytes = call(gateway, path).await;
        let bare = bare_route(route, bytes.clone());
        println!("{title}: GET {route}, {} bytes", bytes.len());
        direct(&bare, gateway, path).await;
        over_loopback(bare, gateway.clone(), path).await;
    }
}

/// A route that returns `bytes`, whatever the request.
fn bare_route(route: &str, bytes: Bytes) -> Router {
    let handler = async move || ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes);
    Router::new().route(route, get(handler))
}

async fn call(router: &Router, path: &str) -> Bytes {
    let request = Request::get(path)
        .header("x-api-key", API_KEY)
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn direct(bare: &Router, gateway: &Router, path: &str) {
    let (mut best_bare, mut best_gateway) = (f64::MAX, f64::MAX);
    for _ in 0..N_ROUNDS {
        best_bare = best_bare.min(nanoseconds_per_call(bare, path).await);
        best_gateway = best_gateway.min(nanoseconds_per_call(gateway, path).await);
    }
    let added = best_gateway - best_bare;
    println!("  direct: bare {best_bare:.0} ns, gateway {best_gateway:.0} ns, added {added:.0} ns");
}

async fn nanoseconds_per_call(router: &Router, path: &str) -> f64 {
    const N_BATCH: u32 = 1000;
    let (start, mut n_calls) = (Instant::now(), 0);
    while start.elapsed() < SPAN / 4 {
        for _ in 0..N_BATCH {
            call(router, path).await;
        }
        n_calls += N_BATCH;
    }
    start.elapsed().as_nanos() as f64 / f64::from(n_calls)
}

async fn over_loopback(bare: Router, gateway: Router, path: &str) {
    let shutdown = CancellationToken::new();
    let bare = start(bare, &shutdown).await;
    let gateway = start(gateway, &shutdown).await;
    let mut ratios = Vec::new();
    for _ in 0..N_ROUNDS {
        let (Some(bare), Some(gateway)) = (wrk(bare, path).await, wrk(gateway, path).await) else {
            println!("  over loopback: left out, wrk is not installed");
            return;
        };
        println!(
            "  over loopback: bare {bare:.0}/s, gateway {gateway:.0}/s, ratio {:.2}",
            gateway / bare
        );
        ratios.push(gateway / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!("  over loopback: median ratio {:.2}", ratios[ratios.len() / 2]);
    shutdown.cancel();
}

async fn start(router: Router, shutdown: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, router, shutdown.clone()));
    address
}

/// Requests per second, or `None` without `wrk`.
async fn wrk(address: SocketAddr, path: &str) -> Option<f64> {
    let mut command = Command::new("wrk");
    command
        .args([
            "--connections",
            "32",
            "--threads",
            "1",
            "--duration",
            &format!("{}s", SPAN.as_secs()),
        ])
        .args(["--header", &format!("X-API-Key: {API_KEY}")])
        .arg(format!("http://{address}{path}"));
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Some(line.expect("wrk prints its rate").trim().parse().unwrap())
}
