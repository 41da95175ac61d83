//! A real core of the test's own, and a view of its API that is not the product's.

use std::env;
use std::fs;
use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use portmeter::xray::api::{CoreApi, CoreVersion};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

/// The core's executable.
const BINARY: &str = "PORTMETER_XRAY";

/// Where free ports are looked for.
const LOWEST_PORT: u16 = 12_000;
const N_PORTS: u32 = 20_000;

/// Far above what a core takes to start or end, so that a busy machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);

/// The core's executable. Where none is named the test is left out and says so, but never in CI or where all tests
/// are asked for.
pub(crate) fn binary() -> Option<PathBuf> {
    let path = env::var_os(BINARY).map(PathBuf::from);
    if path.is_none() {
        let is_set = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
        let is_needed = is_set("CI", "true") || is_set("PORTMETER_REQUIRE_ROOT", "1");
        assert!(
            !is_needed,
            "this test must not be left out here, and {BINARY} names no Xray core"
        );
        println!("left out: {BINARY} names no Xray core");
    }
    path
}

/// A core with these inbounds in its configuration file; ends with the test.
pub(crate) struct Core {
    binary: PathBuf,
    folder: TempDir,
    process: Option<Child>,
    pub(crate) api_listen: SocketAddr,
}

impl Core {
    pub(crate) async fn start(binary: PathBuf, inbounds: &[Value]) -> Self {
        Self::start_with(binary, inbounds, &["HandlerService", "StatsService"]).await
    }

    pub(crate) async fn start_with(binary: PathBuf, inbounds: &[Value], services: &[&str]) -> Self {
        let api_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_ports(1)[0]));
        let folder = tempfile::tempdir().unwrap();
        let configuration = json!({
            "log": {"loglevel": "none"},
            "stats": {},
            "api": {"tag": "api", "listen": api_listen.to_string(), "services": services},
            "inbounds": inbounds,
            "outbounds": [{"protocol": "freedom"}],
        });
        fs::write(folder.path().join("config.json"), configuration.to_string()).unwrap();
        let mut core = Self {
            binary,
            folder,
            process: None,
            api_listen,
        };
        core.start_again().await;
        core
    }

    /// Starts it from its file and waits until its API answers connections.
    pub(crate) async fn start_again(&mut self) {
        let configuration = self.folder.path().join("config.json");
        let mut command = Command::new(&self.binary);
        command.arg("run").arg("-c").arg(configuration).stdout(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.api_listen).await.is_err() {
            assert!(Instant::now() < deadline, "the core does not listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The product's client, told the version that the core says it has.
    pub(crate) fn api(&self) -> CoreApi {
        let output = Command::new(&self.binary).arg("version").output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        CoreApi::new(self.api_listen, CoreVersion::from_output(&output).unwrap())
    }

    /// The core's own bytes for each inbound, by tag.
    pub(crate) async fn raw(&self, tag: &str) -> RawInbound {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.api_listen)).unwrap();
        let mut client = Grpc::new(endpoint.connect().await.unwrap());
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/xray.app.proxyman.command.HandlerService/ListInbounds");
        let codec = ProstCodec::<(), RawList>::default();
        let list = client.unary(tonic::Request::new(()), path, codec).await.unwrap();
        let mut inbounds = list.into_inner().inbounds.into_iter();
        inbounds.find(|inbound| inbound.tag == tag).expect("the core has it")
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawList {
    #[prost(message, repeated, tag = "1")]
    inbounds: Vec<RawInbound>,
}

/// An inbound whose settings are left as they came.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RawInbound {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(bytes = "vec", tag = "2")]
    receiver_settings: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    proxy_settings: Vec<u8>,
}

/// Ports that nobody listens on and no other test has. They are below those that the system gives to outgoing
/// connections, so that none of these takes one in between.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let first = process::id();
    let next = || LOWEST_PORT + (first.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % N_PORTS) as u16;
    let candidates = iter::repeat_with(next).take(N_PORTS as usize);
    let is_free = |port: &u16| TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).is_ok();
    let ports: Vec<u16> = candidates.filter(is_free).take(count).collect();
    assert_eq!(ports.len(), count, "not enough free ports");
    ports
}
