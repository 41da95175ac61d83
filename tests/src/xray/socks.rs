//! As much of SOCKS 5 (RFC 1928) and HTTP as it takes to ask a site for a body through a client's core.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::wait;

/// How long one read may wait. A core gives up on a server that refuses it after five attempts.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const SUCCEEDED: u8 = 0;

/// A body on its way, at its first byte.
pub(super) struct Response {
    /// What is still to be read.
    pub(super) body: BufReader<TcpStream>,
    /// How long the body is to be.
    pub(super) length: u64,
}

/// Asks `site` for `path` through the proxy. `None` when the connection ends before a single byte of an answer: the
/// proxy says yes before it knows whether it can, and ends the connection when it cannot.
pub(super) fn get(proxy: SocketAddr, site: SocketAddrV4, path: &str) -> Result<Option<Response>> {
    let mut stream = TcpStream::connect(proxy).context("connecting to the client's core")?;
    stream.set_read_timeout(Some(wait::patient(READ_TIMEOUT)))?;
    stream.write_all(&[VERSION, 1, NO_AUTHENTICATION])?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen)?;
    ensure!(
        chosen == [VERSION, NO_AUTHENTICATION],
        "the client's core wants a password"
    );
    let mut request = vec![VERSION, CONNECT, 0, IPV4];
    request.extend(site.ip().octets());
    request.extend(site.port().to_be_bytes());
    stream.write_all(&request)?;
    let mut reply = [0; 10];
    if !is_there(stream.read_exact(&mut reply))? || reply[1] != SUCCEEDED {
        return Ok(None);
    }
    let request = format!("GET {path} HTTP/1.1\r\nHost: {site}\r\nConnection: close\r\n\r\n");
    if !is_there(stream.write_all(request.as_bytes()))? {
        return Ok(None);
    }
    read_head(BufReader::with_capacity(super::body::CHUNK_BYTES, stream))
}

fn read_head(mut body: BufReader<TcpStream>) -> Result<Option<Response>> {
    if !is_there(body.fill_buf().and_then(|bytes| match bytes {
        [] => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }))? {
        return Ok(None);
    }
    let mut length = None;
    for number in 0.. {
        let mut line = String::new();
        ensure!(body.read_line(&mut line)? > 0, "the answer has no end of its head");
        match line.trim_end() {
            "" => break,
            status if number == 0 => ensure!(status == "HTTP/1.1 200 OK", "the site says {status}"),
            header => {
                if let Some(value) = header.strip_prefix("Content-Length: ") {
                    length = Some(value.parse()?);
                }
            }
        }
    }
    match length {
        Some(length) => Ok(Some(Response { body, length })),
        None => bail!("the site does not say how long its answer is"),
    }
}

/// Tells an ended connection from a failure.
fn is_there(result: std::io::Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if has_ended(&error) => Ok(false),
        Err(error) => Err(error).context("asking through the client's core"),
    }
}

/// Whether the other side ended the connection, in whatever way.
pub(super) fn has_ended(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}
