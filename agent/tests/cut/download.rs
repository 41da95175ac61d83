//! A download in full flow: one end writes without end, the other reads and says how far it has come.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::space::{is_cut, queued_bytes, until};

/// How much has to arrive to call it flowing: more than the buffers on the way usually hold.
const FLOWING_BYTES: u64 = 32 * 1024 * 1024;

pub(crate) struct Download {
    client: TcpStream,
    received_bytes: Arc<AtomicU64>,
    reader: JoinHandle<(io::Result<()>, Instant)>,
}

impl Download {
    /// A server that begins to send, and a client that reads.
    pub(crate) fn start(listener: &TcpListener, address: SocketAddr) -> Result<Self> {
        let client = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        let mut server = listener.accept()?.0;
        thread::spawn(move || while server.write_all(&[0; 65_536]).is_ok() {});
        Self::of(client)
    }

    /// The client's half of one whose server is somebody else.
    pub(crate) fn of(client: TcpStream) -> Result<Self> {
        let received_bytes = Arc::new(AtomicU64::new(0));
        let (mut stream, count) = (client.try_clone()?, Arc::clone(&received_bytes));
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            let end = loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break Ok(()),
                    Ok(bytes) => drop(count.fetch_add(bytes as u64, Ordering::Relaxed)),
                    Err(error) => break Err(error),
                }
            };
            (end, Instant::now())
        });
        Ok(Self {
            client,
            received_bytes,
            reader,
        })
    }

    /// Waits until much more has arrived than now.
    pub(crate) fn flows(&self) -> Result<()> {
        let wanted = self.received_bytes() + FLOWING_BYTES;
        until("the download flows", || {
            ensure!(!self.reader.is_finished(), "the download has ended");
            Ok(self.received_bytes() >= wanted)
        })
    }

    /// How much has been read.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Whether the client's end has come to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// Waits until all that has arrived is read, and the reader waits for more.
    pub(crate) fn is_read_empty(&self) -> Result<()> {
        let mut before = None;
        until("all that has arrived is read", || {
            let now = (queued_bytes(self.client.local_addr()?.port())?, self.received_bytes());
            Ok(now.0 == 0 && before.replace(now) == Some(now))
        })
    }

    /// When its client was cut off.
    pub(crate) fn ended(self) -> Result<Instant> {
        until("the download ends", || Ok(self.reader.is_finished()))?;
        match self.reader.join() {
            Ok((Err(error), at)) if is_cut(&error) => Ok(at),
            Ok((end, _)) => bail!("it ended with {end:?}"),
            Err(_) => bail!("the reader panicked"),
        }
    }

    /// Its client hangs up.
    pub(crate) fn stop(self) -> Result<()> {
        self.client.shutdown(Shutdown::Both)?;
        until("the reader ends", || Ok(self.reader.is_finished()))
    }
}
