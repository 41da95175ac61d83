//! What people want to reach through a key: a host beyond the server, with bodies of any length and any pace.
//!
//! It lends REALITY its handshake too.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::socket::{Shutdown, shutdown};
use tempfile::TempDir;

use super::body;
use crate::command;
use crate::namespace::Namespace;
use crate::network::{cable, plug_in};

/// Where the site is. The core refuses to lead its users to private addresses and to those kept for examples, so this
/// is one that it takes for public; nobody outside the lab ever sees a packet to it.
pub const SITE_ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(11, 77, 0, 1), 80);

/// The server's own address on the cable to the site.
const NEAR_ADDRESS: &str = "11.77.0.254/24";

/// Where it speaks TLS.
const TLS_PORT: u16 = 443;

/// The name that its certificate has.
pub const SERVER_NAME: &str = "site.example";

/// The program that speaks TLS there.
const TLS_SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/xray/dest.py");

/// A body with a pace comes in parts, this far apart.
const PACE: Duration = Duration::from_millis(10);

/// A host with a web server; gone when dropped.
#[derive(Debug)]
pub struct Site {
    namespace: Namespace,
    is_over: Arc<AtomicBool>,
    listener: TcpListener,
    accepting: Option<JoinHandle<()>>,
    tls: Child,
    _folder: TempDir,
}

impl Site {
    /// Makes the host, lays a cable to `server` (there: `site`), and waits until both of its servers listen.
    pub fn beyond(server: &Namespace) -> Result<Self> {
        let namespace = Namespace::new("site")?;
        cable((server, "site"), (&namespace, "eth0"))?;
        plug_in(server, "site", &[NEAR_ADDRESS])?;
        plug_in(&namespace, "eth0", &[&format!("{}/24", SITE_ADDRESS.ip())])?;
        let folder = tempfile::tempdir()?;
        let tls = speak_tls(&namespace, folder.path())?;
        let listener = namespace.enter(|| TcpListener::bind(SITE_ADDRESS))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let accepting = thread::spawn({
            let (listener, is_over) = (listener.try_clone()?, Arc::clone(&is_over));
            move || accept(&listener, &is_over)
        });
        Ok(Self {
            namespace,
            is_over,
            listener,
            accepting: Some(accepting),
            tls,
            _folder: folder,
        })
    }

    /// The TLS server that REALITY borrows from, as `xray.dest` has it.
    pub fn dest(&self) -> String {
        format!("{}:{TLS_PORT}", SITE_ADDRESS.ip())
    }

    /// The host.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        let _ = self.tls.kill();
        let _ = self.tls.wait();
    }
}

fn speak_tls(namespace: &Namespace, folder: &Path) -> Result<Child> {
    let certificate = folder.join("certificate.pem");
    let mut make =
        command::from_line("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2");
    make.args(["-subj", &format!("/CN={SERVER_NAME}")])
        .args(["-addext", &format!("subjectAltName=DNS:{SERVER_NAME}")])
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(&certificate);
    command::output(&mut make)?;
    let key = std::fs::read(folder.join("key.pem"))?;
    File::options().append(true).open(&certificate)?.write_all(&key)?;

    let mut serve = Command::new("python3");
    serve
        .arg(TLS_SERVER)
        .args([SITE_ADDRESS.ip().to_string(), TLS_PORT.to_string()])
        .arg(&certificate)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut process = namespace.spawn(&mut serve).context("starting the TLS server")?;
    let mut said = String::new();
    let output = process.stdout.take().context("the TLS server has no output")?;
    BufReader::new(output).read_line(&mut said)?;
    if said.trim() != "listening" {
        let _ = process.kill();
        let _ = process.wait();
        bail!("the TLS server does not listen");
    }
    Ok(process)
}

fn accept(listener: &TcpListener, is_over: &Arc<AtomicBool>) {
    while let Ok((stream, _)) = listener.accept() {
        let is_over = Arc::clone(is_over);
        // One that asks for nothing, or goes away, ends its own thread alone: the story sees it at the other end.
        thread::spawn(move || answer(stream, &is_over));
    }
}

/// `/bytes/LENGTH`, or `/rated/BYTES_PER_SECOND/SECONDS`.
fn answer(stream: TcpStream, is_over: &AtomicBool) -> Result<()> {
    let mut request = BufReader::new(&stream);
    let mut first = String::new();
    request.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if request.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
    }
    let path = first.split_whitespace().nth(1).context("no request")?;
    let words: Vec<&str> = path.split('/').skip(1).collect();
    match words.as_slice() {
        ["bytes", length] => send(&stream, length.parse()?, None, is_over)?,
        ["rated", rate, seconds] => {
            let (rate, seconds): (u64, u64) = (rate.parse()?, seconds.parse()?);
            send(&stream, rate * seconds, Some(rate), is_over)?;
        }
        _ => (&stream).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // Whoever closes first would reset what is still on its way.
    std::io::copy(&mut request.take(u64::MAX), &mut std::io::sink())?;
    Ok(())
}

fn send(mut stream: &TcpStream, length: u64, bytes_per_second: Option<u64>, is_over: &AtomicBool) -> Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let part = bytes_per_second.map_or(body::CHUNK_BYTES as u64, |rate| rate * PACE.as_millis() as u64 / 1_000);
    let started = Instant::now();
    let mut sent = 0;
    while sent < length && !is_over.load(Ordering::Relaxed) {
        let size = part.min(length - sent);
        stream.write_all(&body::bytes(sent, usize::try_from(size)?))?;
        sent += size;
        if let Some(rate) = bytes_per_second {
            let due = started + Duration::from_secs_f64(sent as f64 / rate as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}
