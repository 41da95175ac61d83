//! A customer's app: a core of its own that knows nothing but links.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Deref;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::body;
use super::core::Core;
use super::download::Download;
use super::link::Link;
use super::site::SITE_ADDRESS;
use super::socks;
use crate::namespace::Namespace;

/// Where clients' proxies listen, each on a port of its own: below what the system gives out.
static NEXT_PROXY_PORT: AtomicU16 = AtomicU16::new(21_000);

/// Enough for any answer, little enough to take no time.
const SMALL_BODY_BYTES: u64 = 1_000;

/// A client's core, and what it was told.
#[derive(Debug)]
pub struct Client<'lab> {
    core: Core,
    tunnels: Vec<Tunnel<'lab>>,
}

/// The way through one link.
#[derive(Debug)]
pub struct Tunnel<'lab> {
    host: &'lab Namespace,
    proxy: SocketAddr,
}

impl<'lab> Client<'lab> {
    /// Starts a client on `host` with one link, and waits until it takes requests.
    pub fn start(host: &'lab Namespace, link: &Link) -> Result<Self> {
        Self::with_links(host, std::slice::from_ref(link))
    }

    /// Starts a client with several links at once.
    pub fn with_links(host: &'lab Namespace, links: &[Link]) -> Result<Self> {
        Self::start_through(&[], host, links)
    }

    /// The same, but it gives way to everything else that runs.
    pub fn start_humbly(host: &'lab Namespace, link: &Link) -> Result<Self> {
        Self::start_through(&["nice", "-n", "19"], host, std::slice::from_ref(link))
    }

    fn start_through(wrapper: &[&str], host: &'lab Namespace, links: &[Link]) -> Result<Self> {
        let ports: Vec<u16> = links
            .iter()
            .map(|_| NEXT_PROXY_PORT.fetch_add(1, Ordering::Relaxed))
            .collect();
        let core = Core::start_through(wrapper, host, &configuration(links, &ports), &ports)?;
        let tunnels = ports.iter().map(|&port| Tunnel {
            host,
            proxy: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
        });
        let tunnels = tunnels.collect();
        Ok(Self { core, tunnels })
    }

    /// The ways through its links, in their order.
    pub fn tunnels(&self) -> &[Tunnel<'lab>] {
        &self.tunnels
    }

    /// What its core has written.
    pub fn log(&self) -> String {
        self.core.log()
    }
}

/// A client with one link is that link's way.
impl<'lab> Deref for Client<'lab> {
    type Target = Tunnel<'lab>;

    fn deref(&self) -> &Tunnel<'lab> {
        &self.tunnels[0]
    }
}

impl Tunnel<'_> {
    /// Fetches a body of this length from the site; fails unless it is the site's, to the last byte.
    pub fn fetch(&self, length: u64) -> Result<()> {
        ensure!(self.try_to_fetch(length)?, "the client is refused");
        Ok(())
    }

    /// Fails unless a small body comes through.
    pub fn works(&self) -> Result<()> {
        self.fetch(SMALL_BODY_BYTES)
    }

    /// Whether the server lets nothing of it through. An answer that is wrong is a failure.
    pub fn is_refused(&self) -> Result<bool> {
        Ok(!self.try_to_fetch(SMALL_BODY_BYTES)?)
    }

    /// Begins to fetch a body that comes at this rate for this long.
    pub fn download(&self, bytes_per_second: u64, seconds: u64) -> Result<Download> {
        let path = format!("/rated/{bytes_per_second}/{seconds}");
        let response = self.host.enter(|| socks::get(self.proxy, SITE_ADDRESS, &path))?;
        let response = response.context("the client is refused")?;
        Download::of(|work| self.host.spawn_thread(work), response)
    }

    fn try_to_fetch(&self, length: u64) -> Result<bool> {
        let path = format!("/bytes/{length}");
        self.host.enter(|| fetch(self.proxy, SITE_ADDRESS, &path, length))
    }
}

fn fetch(proxy: SocketAddr, site: SocketAddrV4, path: &str, length: u64) -> Result<bool> {
    let Some(mut response) = socks::get(proxy, site, path)? else {
        return Ok(false);
    };
    ensure!(response.length == length, "the site sends {} bytes", response.length);
    let mut chunk = vec![0; body::CHUNK_BYTES];
    let mut received = 0;
    // No further than the body: cores take two seconds to pass on that a site has ended the connection.
    while received < length {
        let read = response.body.read(&mut chunk).context("fetching")?;
        ensure!(read > 0, "{received} of {length} bytes arrived");
        ensure!(
            chunk[..read] == body::bytes(received, read),
            "what arrives after {received} bytes is wrong"
        );
        received += read as u64;
    }
    ensure!(received == length, "{received} bytes arrived instead of {length}");
    Ok(true)
}

/// A proxy for each link, and a way out for each proxy.
fn configuration(links: &[Link], ports: &[u16]) -> Value {
    let tag = |port: &u16| format!("link-{port}");
    let inbounds: Vec<Value> = ports
        .iter()
        .map(|port| json!({"tag": tag(port), "listen": "127.0.0.1", "port": port, "protocol": "socks"}))
        .collect();
    let outbounds: Vec<Value> = links
        .iter()
        .zip(ports)
        .map(|(link, port)| link.outbound(&tag(port)))
        .collect();
    let rules: Vec<Value> = ports
        .iter()
        .map(|port| json!({"inboundTag": [tag(port)], "outboundTag": tag(port)}))
        .collect();
    json!({
        "log": {"loglevel": "info"},
        "inbounds": inbounds,
        "outbounds": outbounds,
        "routing": {"rules": rules},
    })
}
