//! The traffic: datagrams from the client to one port of the server, at a steady rate.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::lab::{Host, Lab, SERVER_ADDRESS};

/// The first port that Portmeter tracks, and so the first key's.
pub(super) const PORT: u16 = 10_001;

/// IP-layer bytes a second.
pub(super) const BYTES_PER_SECOND: u64 = DATAGRAM_BYTES * 1_000;

const DATAGRAM_BYTES: u64 = 1_000;
const HEADER_BYTES: u64 = 28;
/// How often some are sent: together as many as are due by then.
const INTERVAL: Duration = Duration::from_millis(5);

/// Does `work` while there is traffic; gives the IP-layer bytes that were sent as well.
pub(super) fn during<T>(lab: &Lab, work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    // Somebody has to own the port, or the server would answer each datagram that nobody does.
    let _sink = lab.server.inside(|| Ok(UdpSocket::bind((SERVER_ADDRESS, PORT))?))?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(&lab.client, &is_over));
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((result?, sent? * DATAGRAM_BYTES))
    })
}

/// Datagrams that were sent until `is_over`.
fn send(client: &Host, is_over: &AtomicBool) -> Result<u64> {
    client.enter()?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let payload = [0; (DATAGRAM_BYTES - HEADER_BYTES) as usize];
    let (started, mut sent) = (Instant::now(), 0);
    while !is_over.load(Ordering::Relaxed) {
        while sent < due(started.elapsed()) {
            socket
                .send_to(&payload, (SERVER_ADDRESS, PORT))
                .context("sending to the server")?;
            sent += 1;
        }
        thread::sleep(INTERVAL);
    }
    Ok(sent)
}

/// Datagrams that have to be sent within this time.
fn due(elapsed: Duration) -> u64 {
    let bytes = u128::from(BYTES_PER_SECOND) * elapsed.as_millis() / 1_000;
    u64::try_from(bytes).unwrap_or(u64::MAX) / DATAGRAM_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_due_each_millisecond() {
        assert_eq!(due(Duration::from_millis(0)), 0);
        assert_eq!(due(Duration::from_millis(7)), 7);
        assert_eq!(due(Duration::from_secs(60)), 60_000);
    }
}
