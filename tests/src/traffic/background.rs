//! Traffic that runs beside a story until it is stopped, and by itself never for long.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::turnover::{self, Ending};
use super::{tcp, udp, uninterrupted};
use crate::namespace::Namespace;
use crate::wait;

/// No background traffic outlives this, whatever becomes of the story.
const LONGEST_RUN: Duration = Duration::from_secs(120);

/// The pause after each piece that is sent: a steady stream that leaves the machine's cores to the others.
const PACE: Duration = Duration::from_millis(1);

/// The same for a stream that is to be a load; the system makes at least 50 µs more of it.
const BULK_PACE: Duration = Duration::from_micros(200);

/// Written at once over TCP.
const CHUNK: usize = 16 * 1024;

/// Payload of each datagram of a flood.
pub const FLOOD_PAYLOAD: usize = 100;

/// Datagrams a flood sends between two pauses.
const FLOOD_BURST: usize = 4;

/// Traffic on threads of its own.
#[derive(Debug)]
pub struct Background {
    control: Arc<Control>,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Control {
    stop: AtomicBool,
    /// Bytes, connections or datagrams, as the kind of traffic has it.
    progress: AtomicU64,
}

impl Background {
    /// One TCP connection that carries data in both directions.
    pub fn tcp(server: &Namespace, client: &Namespace, address: SocketAddr) -> Result<Self> {
        Self::stream(server, client, address, PACE)
    }

    /// The same, but as much as leaves the machine able to do anything else: about half a gigabit a second either way.
    pub fn tcp_in_bulk(server: &Namespace, client: &Namespace, address: SocketAddr) -> Result<Self> {
        Self::stream(server, client, address, BULK_PACE)
    }

    fn stream(server: &Namespace, client: &Namespace, address: SocketAddr, pace: Duration) -> Result<Self> {
        let control = Arc::new(Control::default());
        let listener = tcp::listen(server, [address])?.remove(0);
        let at_server = Arc::clone(&control);
        let at_client = Arc::clone(&control);
        let threads = vec![
            server.spawn_thread(move || stream_both_ways(tcp::accept(&listener)?, &at_server, pace))?,
            client.spawn_thread(move || stream_both_ways(tcp::connect(address)?, &at_client, pace))?,
        ];
        Ok(Self { control, threads })
    }

    /// Connections that come and go, one after the other; every one of them counts.
    pub fn turnover(server: &Namespace, client: &Namespace, address: SocketAddr) -> Result<Self> {
        let control = Arc::new(Control::default());
        let listener = tcp::listen(server, [address])?.remove(0);
        let at_client = Arc::clone(&control);
        let threads = vec![client.spawn_thread(move || turn_over(&listener, &at_client))?];
        Ok(Self { control, threads })
    }

    /// Datagrams from the client to an address where nobody has to listen.
    pub fn flood(client: &Namespace, address: SocketAddr) -> Result<Self> {
        let control = Arc::new(Control::default());
        let at_client = Arc::clone(&control);
        let threads = vec![client.spawn_thread(move || flood(address, &at_client))?];
        Ok(Self { control, threads })
    }

    /// Bytes received at either end (TCP), connections made (turnover) or datagrams sent (flood) so far.
    pub fn progress(&self) -> u64 {
        self.control.progress.load(Ordering::Relaxed)
    }

    /// Waits until this much more has passed.
    pub fn wait_for(&self, more: u64) -> Result<()> {
        let wanted = self.progress() + more;
        wait::until(
            "the traffic in the background goes on",
            || Ok(self.progress() >= wanted),
        )
    }

    /// Stops, and returns what has passed in all when both ends are through.
    pub fn stop(mut self) -> Result<u64> {
        self.control.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("the thread in the background"))?;
        Ok(self.progress())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The story failed for a reason of its own; what became of its traffic adds nothing.
            let _ = thread.join();
        }
    }
}

impl Control {
    /// Whether to go on; fails when nobody has stopped the traffic in all that time.
    fn goes_on(&self, started: Instant) -> Result<bool> {
        let longest = wait::patient(LONGEST_RUN);
        if started.elapsed() > longest {
            bail!(
                "traffic in the background was not stopped within {} s",
                longest.as_secs()
            );
        }
        Ok(!self.stop.load(Ordering::Relaxed))
    }
}

fn stream_both_ways(stream: TcpStream, control: &Control, pace: Duration) -> Result<()> {
    thread::scope(|scope| {
        let sending = scope.spawn(|| send_until_stopped(&stream, control, pace));
        let received = receive_to_the_end(&stream, control);
        sending.join().expect("the sending thread")?;
        received
    })
}

fn send_until_stopped(mut stream: &TcpStream, control: &Control, pace: Duration) -> Result<()> {
    let started = Instant::now();
    let chunk = [0; CHUNK];
    while control.goes_on(started)? {
        stream.write_all(&chunk).context("sending in the background")?;
        thread::sleep(pace);
    }
    stream
        .shutdown(Shutdown::Write)
        .context("ending the traffic in the background")
}

fn receive_to_the_end(mut stream: &TcpStream, control: &Control) -> Result<()> {
    let mut chunk = [0; CHUNK];
    loop {
        match uninterrupted(|| stream.read(&mut chunk)).context("receiving in the background")? {
            0 => return Ok(()),
            length => control.progress.fetch_add(length as u64, Ordering::Relaxed),
        };
    }
}

fn turn_over(listener: &TcpListener, control: &Control) -> Result<()> {
    let started = Instant::now();
    while control.goes_on(started)? {
        // Most are reset: an ordinary end occupies the client's port for a minute, and ports are few.
        let endings = [
            Ending::ClientCloses,
            Ending::ClientResets,
            Ending::ServerResets,
            Ending::ClientResets,
        ];
        for ending in endings {
            turnover::one(listener, ending)?;
            control.progress.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(PACE);
    }
    Ok(())
}

fn flood(address: SocketAddr, control: &Control) -> Result<()> {
    let started = Instant::now();
    let socket = udp::unbound_for(address)?;
    while control.goes_on(started)? {
        for _ in 0..FLOOD_BURST {
            socket.send_to(&[0; FLOOD_PAYLOAD], address).context("flooding")?;
            control.progress.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(PACE);
    }
    Ok(())
}
