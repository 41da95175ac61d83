//! Traffic of a known rate: datagrams of one size on a timetable, both ways.
//!
//! Whoever is held up sends what is overdue, so that the rate is right over any time but the shortest.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::udp;
use crate::namespace::Namespace;
use crate::wait;

/// No traffic outlives this, whatever becomes of the story.
const LONGEST_RUN: Duration = Duration::from_secs(180);

/// The pause between two looks at the timetable.
const PACE: Duration = Duration::from_millis(2);

/// Every packet is this long on the wire, IPv4 and UDP headers included.
pub const PACKET_BYTES: u64 = 1_000;

/// What of it is payload.
const PAYLOAD: usize = 1_000 - 20 - 8;

/// Datagrams between a client and a port of the server, until dropped.
#[derive(Debug)]
pub struct Paced {
    stop: Arc<AtomicBool>,
    to_server: Direction,
    to_client: Direction,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug, Clone)]
struct Direction {
    bytes_per_second: u64,
    sent_bytes: Arc<AtomicU64>,
}

/// What was sent up to a moment.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    at: Instant,
    to_server_bytes: u64,
    to_client_bytes: u64,
}

impl Paced {
    /// Begins to send: so many bytes per second to the server at `address`, and so many from there to the client.
    pub fn start(
        server: &Namespace,
        client: &Namespace,
        address: SocketAddr,
        (to_server, to_client): (u64, u64),
    ) -> Result<Self> {
        let at_server = server.enter(|| udp::bind(address))?;
        let at_client = client.enter(|| -> Result<UdpSocket> {
            let socket = udp::unbound_for(address)?;
            socket.connect(address)?;
            Ok(socket)
        })?;
        // From here on the server knows where to send to.
        at_client.send(&[0; PAYLOAD])?;
        let (_, from) = at_server.recv_from(&mut [0; PAYLOAD]).context("the first datagram")?;
        at_server.connect(from)?;
        let stop = Arc::new(AtomicBool::new(false));
        let [to_server, to_client] = [to_server, to_client].map(|bytes_per_second| Direction {
            bytes_per_second,
            sent_bytes: Arc::default(),
        });
        let sender = |socket: UdpSocket, direction: &Direction| {
            let (direction, stop) = (direction.clone(), Arc::clone(&stop));
            thread::spawn(move || direction.send(&socket, &stop))
        };
        let threads = vec![sender(at_client, &to_server), sender(at_server, &to_client)];
        Ok(Self {
            stop,
            to_server,
            to_client,
            threads,
        })
    }

    /// What was sent up to now.
    pub fn mark(&self) -> Mark {
        Mark {
            at: Instant::now(),
            to_server_bytes: self.to_server.sent_bytes.load(Ordering::Relaxed),
            to_client_bytes: self.to_client.sent_bytes.load(Ordering::Relaxed),
        }
    }

    /// Stops, and fails where sending failed.
    pub fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("the sending thread"))
    }
}

impl Mark {
    /// How long ago it is.
    pub fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }

    /// Bytes per second to the server and to the client from this mark to a later one.
    pub fn rates_until(&self, later: &Self) -> (f64, f64) {
        let seconds = (later.at - self.at).as_secs_f64();
        let rate = |before: u64, after: u64| (after - before) as f64 / seconds;
        (
            rate(self.to_server_bytes, later.to_server_bytes),
            rate(self.to_client_bytes, later.to_client_bytes),
        )
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The story failed for a reason of its own; what became of its traffic adds nothing.
            let _ = thread.join();
        }
    }
}

impl Direction {
    /// What arrives at the socket is left there: it was counted on its way.
    fn send(&self, socket: &UdpSocket, stop: &AtomicBool) -> Result<()> {
        let started = Instant::now();
        let longest = wait::patient(LONGEST_RUN);
        while !stop.load(Ordering::Relaxed) {
            if started.elapsed() > longest {
                bail!("paced traffic was not stopped within {} s", longest.as_secs());
            }
            let due = (started.elapsed().as_secs_f64() * self.bytes_per_second as f64) as u64;
            while self.sent_bytes.load(Ordering::Relaxed) + PACKET_BYTES <= due {
                socket.send(&[0; PAYLOAD]).context("sending on time")?;
                self.sent_bytes.fetch_add(PACKET_BYTES, Ordering::Relaxed);
            }
            thread::sleep(PACE);
        }
        Ok(())
    }
}
