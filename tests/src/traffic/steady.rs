//! Datagrams at a steady pace, with a log of when each was sent: the truth about rates.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::udp;
use crate::namespace::Namespace;
use crate::wait;

/// IPv4 and UDP headers of a datagram.
const HEADER_BYTES: u64 = 28;

/// No such traffic outlives this, whatever becomes of the story.
const LONGEST_RUN: Duration = Duration::from_secs(300);

/// One way of the traffic: how much of what, and when.
#[derive(Debug, Clone)]
pub struct Sent {
    /// IP-layer bytes of each datagram.
    pub datagram_bytes: u64,
    /// When each was handed to the kernel, in unix seconds, ascending.
    pub at_seconds: Vec<f64>,
}

impl Sent {
    /// IP-layer bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.datagram_bytes * self.at_seconds.len() as u64
    }

    /// Datagrams a second between two moments.
    pub fn datagrams_per_second(&self, from: f64, to: f64) -> f64 {
        let until = |moment: f64| self.at_seconds.partition_point(|at| *at <= moment);
        (until(to) - until(from)) as f64 / (to - from)
    }
}

/// Datagrams under way from a client to a server that answers each with one of the same size.
#[derive(Debug)]
pub struct Steady {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Sent>>>,
    began_at: f64,
}

impl Steady {
    /// Begins: every `interval` a datagram with `payload_bytes`, to an IPv4 address.
    pub fn start(
        server: &Namespace,
        client: &Namespace,
        address: SocketAddr,
        payload_bytes: usize,
        interval: Duration,
    ) -> Result<Self> {
        let socket = server.enter(|| udp::bind(address))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (at_server, at_client) = (Arc::clone(&stop), Arc::clone(&stop));
        let datagram_bytes = payload_bytes as u64 + HEADER_BYTES;
        let threads = vec![
            client.spawn_thread(move || {
                let socket = udp::unbound_for(address)?;
                socket.connect(address)?;
                let began = Instant::now();
                let mut at_seconds = Vec::new();
                while !at_client.load(Ordering::Relaxed) && began.elapsed() < wait::patient(LONGEST_RUN) {
                    // By the clock and not by pauses: what was late is made up for.
                    let due = began + interval * u32::try_from(at_seconds.len())?;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    socket
                        .send(&vec![0; payload_bytes])
                        .context("sending at a steady pace")?;
                    at_seconds.push(now_seconds());
                }
                Ok(Sent {
                    datagram_bytes,
                    at_seconds,
                })
            })?,
            server.spawn_thread(move || {
                let (mut datagram, mut at_seconds) = (vec![0; payload_bytes], Vec::new());
                loop {
                    match socket.recv_from(&mut datagram) {
                        Ok((length, from)) => {
                            socket.send_to(&datagram[..length], from).context("answering")?;
                            at_seconds.push(now_seconds());
                        }
                        // Nothing comes any more.
                        Err(_) if at_server.load(Ordering::Relaxed) => break,
                        Err(_) => {}
                    }
                }
                Ok(Sent {
                    datagram_bytes,
                    at_seconds,
                })
            })?,
        ];
        Ok(Self {
            stop,
            threads,
            began_at: now_seconds(),
        })
    }

    /// When it began, in unix seconds.
    pub fn began_at(&self) -> f64 {
        self.began_at
    }

    /// Ends it; gives what the client has sent and what the server has answered.
    pub fn stop(mut self) -> Result<(Sent, Sent)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut ends = std::mem::take(&mut self.threads).into_iter();
        let mut next = || {
            ends.next()
                .context("a thread")?
                .join()
                .expect("a thread of steady traffic")
        };
        let (sent, answered) = (next()?, next()?);
        ensure!(!sent.at_seconds.is_empty(), "nothing was sent");
        Ok((sent, answered))
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The story failed for a reason of its own; what became of its traffic adds nothing.
            let _ = thread.join();
        }
    }
}

fn now_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
