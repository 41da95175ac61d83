//! The HTTP listener: accepts connections, serves a router on each, and drains them at the end.
//!
//! Owns what protects a listener that the internet may reach: TLS, how many connections there can be and who makes
//! room, how large and how late a request head may be, how long a request may take, how long a stop waits. It speaks
//! HTTP/1.1, which is all that the documented clients speak.

mod exchange;
mod head;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portmeter_listener::tls::ServerTls;
use portmeter_listener::{Connections, Seat, Stream, accept, connections_that_fit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::Family;
use exchange::Exchange;
use wire::{Wire, WireState, refusal};

/// How long requests under way may take to finish once a stop is asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long and how much is still read from a client that was refused: closing a connection on bytes under way resets
/// it, and the client would never see why.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: u64 = 1024 * 1024;

/// What a listener puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at a time; beyond it waiting ones make room, see [`Connections`].
    pub connections_max: usize,
    /// The largest request head, in bytes; at least 8192.
    pub head_bytes_max: usize,
    /// How long a request head may take, and how long a kept connection may stay quiet.
    pub head_timeout: Duration,
    /// How long an answer may take from the request's head on, its body included.
    pub request_timeout: Duration,
}

impl Default for Limits {
    /// 512 connections are half of the file descriptors that a process has by default; 32 kB hold the longest path of
    /// the contract twenty times over.
    fn default() -> Self {
        Self {
            connections_max: 512,
            head_bytes_max: 32 * 1024,
            head_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(60),
        }
    }
}

/// A listener and what it serves.
pub struct Server {
    /// Where connections come from.
    pub listener: TcpListener,
    /// What answers.
    pub router: Router,
    /// TLS, where it is spoken.
    pub tls: Option<ServerTls>,
    /// What is put up with.
    pub limits: Limits,
}

/// Serves `router` on `listener` without TLS and with the usual limits; see [`Server::run`].
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let server = Server {
        listener,
        router,
        tls: None,
        limits: Limits::default(),
    };
    server.run(shutdown).await;
}

impl Server {
    /// Serves until `shutdown` is cancelled. Then it stops accepting, closes idle connections and waits up to five
    /// seconds for requests under way before it cuts them off.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self {
            listener,
            router,
            tls,
            limits,
        } = self;
        let table = Connections::new(connections_that_fit(limits.connections_max));
        let mut connections = JoinSet::new();
        while let Some((stream, peer)) = accept(&listener, &shutdown).await {
            while connections.try_join_next().is_some() {}
            let seat = tokio::select! {
                seat = table.admit(peer.ip()) => seat,
                () = shutdown.cancelled() => break,
            };
            let visit = Visit {
                router: router.clone(),
                tls: tls.clone(),
                limits,
                shutdown: shutdown.clone(),
            };
            connections.spawn(visit.take(stream, seat));
        }
        drop(listener);
        drain(&mut connections).await;
    }
}

async fn drain(connections: &mut JoinSet<()>) {
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, async {
        while connections.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "cutting off requests that did not finish in time"
        );
        connections.shutdown().await;
    }
}

/// One connection from its beginning to its end.
struct Visit {
    router: Router,
    tls: Option<ServerTls>,
    limits: Limits,
    shutdown: CancellationToken,
}

impl Visit {
    async fn take(self, stream: TcpStream, seat: Seat) {
        tokio::select! {
            biased;
            () = seat.connection().closed() => {}
            () = self.talk(stream, &seat) => {}
        }
    }

    async fn talk(&self, stream: TcpStream, seat: &Seat) {
        let opened = tokio::select! {
            opened = self.open(stream) => opened,
            () = self.shutdown.cancelled() => return,
        };
        match opened {
            Ok(stream) => self.serve(stream, seat).await,
            Err(error) => tracing::debug!(%error, "connection ended before its first request"),
        }
    }

    async fn open(&self, mut stream: TcpStream) -> io::Result<Stream> {
        let Some(tls) = &self.tls else {
            return Ok(Stream::Plain(stream));
        };
        if tls.is_spoken_on(&stream).await? {
            return tls.open(stream).await;
        }
        let text = "This port speaks TLS; use https://";
        stream
            .write_all(&refusal(StatusCode::BAD_REQUEST, Family::Key, text))
            .await?;
        stream.shutdown().await?;
        linger(stream).await;
        Err(io::Error::other("it is not TLS"))
    }

    async fn serve(&self, stream: Stream, seat: &Seat) {
        let limits = self.limits;
        let state = Arc::new(WireState::new(limits.head_bytes_max));
        let service = service_fn(|request| {
            Exchange {
                connection: Arc::clone(seat.connection()),
                wire: Arc::clone(&state),
                time_max: limits.request_timeout,
            }
            .answer(self.router.clone(), request)
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_header_size(limits.head_bytes_max)
            .max_buf_size(limits.head_bytes_max);
        let mut connection = builder.serve_connection(TokioIo::new(Wire::new(stream, Arc::clone(&state))), service);
        let served = tokio::select! {
            biased;
            served = &mut connection => served,
            () = self.shutdown.cancelled() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        let Err(error) = served else { return };
        tracing::debug!(%error, "connection ended early");
        let mut stream = connection.into_parts().io.into_inner().into_inner();
        if error.is_timeout() && state.has_begun_a_head() {
            let text = format!(
                "The request did not arrive within {} seconds",
                limits.head_timeout.as_secs()
            );
            let answer = refusal(StatusCode::REQUEST_TIMEOUT, state.family(), &text);
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
            linger(stream).await;
        } else if state.is_refused() {
            linger(stream).await;
        }
    }
}

/// Reads and forgets what a client goes on to send, within bounds.
async fn linger(stream: impl tokio::io::AsyncRead + Unpin) {
    let mut rest = stream.take(LINGER_BYTES_MAX);
    let mut buffer = [0; 4096];
    let _ = tokio::time::timeout(LINGER_TIMEOUT, async {
        while rest.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    })
    .await;
}
