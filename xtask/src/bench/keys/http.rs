//! One request over one connection: a curl for each would take longer than what is measured.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::portmeter::API_KEY;
use super::rest_address;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks the agent of this thread's namespace for what must succeed.
pub(super) fn request(method: &str, path: &str, body: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(rest_address()).context("connecting to the agent")?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nX-API-Key: {API_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .with_context(|| format!("waiting for the answer to {method} {path}"))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no end of its head")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {head}\n{body}");
    serde_json::from_str(body).with_context(|| format!("{method} {path} answers {body}"))
}
