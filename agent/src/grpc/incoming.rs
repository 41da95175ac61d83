//! Connections over TCP as the gRPC server takes them: counted, with TLS where it is spoken, closed to make room.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use portmeter_listener::tls::ServerTls;
use portmeter_listener::{Connection, Connections, Seat, Stream, accept};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// Connections that may wait for the server to take them; it takes them at once.
const OPENED_MAX: usize = 16;

/// Accepts until `shutdown`. Handshakes are done beside each other, so that a slow client holds up nobody.
pub(super) fn incoming(
    listener: TcpListener,
    tls: Option<ServerTls>,
    table: Arc<Connections>,
    shutdown: CancellationToken,
) -> ReceiverStream<io::Result<Incoming>> {
    let (sender, receiver) = mpsc::channel(OPENED_MAX);
    tokio::spawn(async move {
        while let Some((stream, peer)) = accept(&listener, &shutdown).await {
            let seat = tokio::select! {
                seat = table.admit(peer.ip()) => seat,
                () = shutdown.cancelled() => break,
            };
            tokio::spawn(hand_over(stream, seat, tls.clone(), sender.clone(), shutdown.clone()));
        }
    });
    ReceiverStream::new(receiver)
}

/// Does one handshake, unless the connection or the agent ends first, and gives the server what has come of it.
async fn hand_over(
    stream: TcpStream,
    seat: Seat,
    tls: Option<ServerTls>,
    sender: mpsc::Sender<io::Result<Incoming>>,
    shutdown: CancellationToken,
) {
    let mut closed = Box::pin(seat.connection().closed());
    let opened = tokio::select! {
        opened = open(stream, tls) => opened,
        () = closed.as_mut() => return,
        () = shutdown.cancelled() => return,
    };
    match opened {
        Ok(stream) => {
            // A server that takes no more has been told to stop.
            let _ = sender.send(Ok(Incoming { stream, seat, closed })).await;
        }
        Err(error) => tracing::debug!(%error, "connection ended before its first call"),
    }
}

async fn open(stream: TcpStream, tls: Option<ServerTls>) -> io::Result<Stream> {
    match tls {
        None => Ok(Stream::Plain(stream)),
        Some(tls) => tls.open(stream).await,
    }
}

/// One connection.
pub(super) struct Incoming {
    stream: Stream,
    seat: Seat,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connected for Incoming {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Arc<Connection> {
        Arc::clone(self.seat.connection())
    }
}

impl AsyncRead for Incoming {
    /// Reading is what a server does all the time, so here it learns that the connection is to make room.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
