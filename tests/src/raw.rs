//! HTTP as bytes: requests that no client library would send, and what comes back.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;

use crate::namespace::Namespace;
use crate::wait::patient;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What a server sent until it closed the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(pub String);

impl Reply {
    /// The status of the first answer; `None` where there was none.
    pub fn status(&self) -> Option<u16> {
        let line = self.0.strip_prefix("HTTP/1.1 ")?;
        line.split(' ').next()?.parse().ok()
    }

    /// How many answers there are.
    pub fn answers(&self) -> usize {
        self.0.matches("HTTP/1.1 ").count()
    }

    /// The body of the only answer, as JSON.
    pub fn body(&self) -> Result<Value> {
        let (_, body) = self.0.split_once("\r\n\r\n").context("no answer")?;
        serde_json::from_str(body).with_context(|| format!("the body of {}", self.0))
    }

    /// Fails unless this is one error with `status`, in the key family's body or the panel's.
    pub fn expect_error(&self, status: u16, is_panel: bool) -> Result<()> {
        ensure!(self.status() == Some(status), "not {status}: {:?}", self.0);
        let body = self.body()?;
        let is_right = match is_panel {
            true => body["ok"] == false && body["error"].is_string() && body["code"] == status,
            false => body["detail"].is_string(),
        };
        ensure!(is_right, "the wrong family: {body}");
        Ok(())
    }
}

/// A connection to `address` inside `host`.
pub fn connect(host: &Namespace, address: &str) -> Result<TcpStream> {
    let stream = host.enter(|| TcpStream::connect(address))?;
    stream.set_read_timeout(Some(patient(ANSWER_TIMEOUT)))?;
    stream.set_write_timeout(Some(patient(ANSWER_TIMEOUT)))?;
    Ok(stream)
}

/// Sends `request` and reads until the server closes the connection, which the request must ask for or deserve. A server
/// that has heard enough may close it while something is still being sent; what it said until then counts. This side
/// stays open: a server may take half a close for a client that has left.
pub fn exchange(host: &Namespace, address: &str, request: &[u8]) -> Result<Reply> {
    let mut stream = connect(host, address)?;
    let _ = stream.write_all(request);
    read_to_end(&mut stream)
}

/// Reads until the server closes the connection, in whatever way.
pub fn read_to_end(stream: &mut TcpStream) -> Result<Reply> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error).context("reading the answer"),
        }
    }
    Ok(Reply(String::from_utf8(answer)?))
}

/// A `GET` of `path`, byte by byte as given, with `key` and nothing else.
pub fn get(path: &[u8], key: Option<&str>) -> Vec<u8> {
    request("GET", path, key, b"")
}

/// A request with a body, after which the server closes the connection.
pub fn request(method: &str, path: &[u8], key: Option<&str>, body: &[u8]) -> Vec<u8> {
    let key = key.map(|key| format!("X-API-Key: {key}\r\n")).unwrap_or_default();
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let rest = format!(" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}{length}\r\n");
    [method.as_bytes(), b" ", path, rest.as_bytes(), body].concat()
}

/// Lets this process have as many open files as the system allows.
pub fn raise_open_files() -> Result<u64> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(most)
}

/// The memory that a process has in use, in bytes.
pub fn memory_bytes(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}
