//! TCP: bulk in both directions at once, and single bytes to and fro.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{read_timeout, settle, uninterrupted};
use crate::namespace::Namespace;

/// How much is written at once.
const CHUNK: usize = 64 * 1024;

/// One connection from the client to the server.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    /// The server's address and port.
    pub server: SocketAddr,
    /// Where the client finds them: the same, unless the port is published elsewhere.
    pub reached_at: SocketAddr,
    /// Payload from the client to the server.
    pub upload: usize,
    /// Payload from the server to the client.
    pub download: usize,
}

impl Transfer {
    /// A connection to `port` of `server` with this much payload either way.
    pub fn new(server: impl Into<IpAddr>, port: u16, upload: usize, download: usize) -> Self {
        let server = SocketAddr::new(server.into(), port);
        Self {
            server,
            reached_at: server,
            upload,
            download,
        }
    }

    /// The same for a server whose port is published at another address.
    #[must_use]
    pub fn reached_at(self, reached_at: SocketAddr) -> Self {
        Self { reached_at, ..self }
    }
}

/// Makes every transfer, all at once and each in both directions at once.
pub fn bulk(server: &Namespace, client: &Namespace, transfers: &[Transfer]) -> Result<()> {
    bulk_beside_others(server, client, transfers)?;
    settle::tcp_is_over(server, client)
}

/// The same beside other traffic: both ends have everything when this returns, but the last packets that end a
/// connection may be on their way.
pub fn bulk_beside_others(server: &Namespace, client: &Namespace, transfers: &[Transfer]) -> Result<()> {
    let listeners = listen(server, transfers.iter().map(|transfer| transfer.server))?;
    server.enter(|| {
        thread::scope(|scope| {
            let accepting: Vec<_> = listeners
                .iter()
                .zip(transfers)
                .map(|(listener, transfer)| {
                    scope.spawn(|| exchange(accept(listener)?, transfer.download, transfer.upload))
                })
                .collect();
            client.enter(|| connect_all(transfers))?;
            accepting
                .into_iter()
                .try_for_each(|thread| thread.join().expect("the accepting thread"))
        })
    })
}

/// Sends `count` single bytes over one connection; each is answered by a single byte before the next is sent.
pub fn single_bytes(server: &Namespace, client: &Namespace, address: SocketAddr, count: usize) -> Result<()> {
    let listeners = listen(server, [address])?;
    server.enter(|| {
        thread::scope(|scope| {
            let echo = scope.spawn(|| echo_bytes(accept(&listeners[0])?));
            client.enter(|| ping_bytes(address, count))?;
            echo.join().expect("the echoing thread")
        })
    })?;
    settle::tcp_is_over(server, client)
}

/// Listens on each address, so that a client finds it there as soon as this returns.
pub fn listen(server: &Namespace, addresses: impl IntoIterator<Item = SocketAddr> + Send) -> Result<Vec<TcpListener>> {
    let bind = |address| TcpListener::bind(address).with_context(|| format!("listening on {address}"));
    server.enter(|| addresses.into_iter().map(bind).collect())
}

/// Listens on one address from the calling thread, whose other surroundings the socket keeps.
pub fn listen_here(server: &Namespace, address: SocketAddr) -> Result<TcpListener> {
    server.visit(|| TcpListener::bind(address).with_context(|| format!("listening on {address}")))
}

/// The next connection, with a limit on how long its reads may wait.
pub(super) fn accept(listener: &TcpListener) -> Result<TcpStream> {
    // Accepting itself has no time limit; a client that never comes must not hold up the story for ever.
    let mut arrival = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let arrived = poll(&mut arrival, PollTimeout::try_from(read_timeout())?)?;
    ensure!(arrived == 1, "nobody connected to {}", listener.local_addr()?);
    let (stream, _) = listener.accept().context("accepting")?;
    stream.set_read_timeout(Some(read_timeout()))?;
    Ok(stream)
}

/// A connection to `address`, with a limit on how long its reads may wait.
pub(super) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(read_timeout()))?;
    Ok(stream)
}

fn connect_all(transfers: &[Transfer]) -> Result<()> {
    thread::scope(|scope| {
        let connecting: Vec<_> = transfers
            .iter()
            .map(|transfer| scope.spawn(|| exchange(connect(transfer.reached_at)?, transfer.upload, transfer.download)))
            .collect();
        connecting
            .into_iter()
            .try_for_each(|thread| thread.join().expect("the connecting thread"))
    })
}

/// Sends and receives at once; ends when the other side has sent everything too.
fn exchange(stream: TcpStream, send: usize, receive: usize) -> Result<()> {
    thread::scope(|scope| {
        let sending = scope.spawn(|| send_zeros(&stream, send));
        let received = receive_all(&stream)?;
        sending.join().expect("the sending thread")?;
        ensure!(received == receive, "received {received} of {receive} bytes");
        Ok(())
    })
}

fn send_zeros(mut stream: &TcpStream, mut left: usize) -> Result<()> {
    let chunk = vec![0; CHUNK];
    while left > 0 {
        let length = left.min(CHUNK);
        stream.write_all(&chunk[..length]).context("sending")?;
        left -= length;
    }
    stream.shutdown(Shutdown::Write).context("ending what is sent")
}

fn receive_all(mut stream: &TcpStream) -> Result<usize> {
    let mut chunk = vec![0; CHUNK];
    let mut received = 0;
    loop {
        match uninterrupted(|| stream.read(&mut chunk)).context("receiving")? {
            0 => return Ok(received),
            length => received += length,
        }
    }
}

fn ping_bytes(address: SocketAddr, count: usize) -> Result<()> {
    let mut stream = connect(address)?;
    stream.set_nodelay(true)?;
    let mut byte = [0];
    for _ in 0..count {
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte).context("waiting for the echoed byte")?;
    }
    Ok(())
}

fn echo_bytes(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut byte = [0];
    while uninterrupted(|| stream.read(&mut byte)).context("waiting for a byte")? == 1 {
        stream.write_all(&byte)?;
    }
    Ok(())
}
