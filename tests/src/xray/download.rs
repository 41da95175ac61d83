//! A body that arrives in the background, and when each part of it did.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::body;
use super::socks::{self, Response};
use crate::wait;

/// When how much had arrived, and how it ended.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    /// Instants of arrival, with the bytes until then.
    received: Vec<(Instant, u64)>,
    ended_at: Option<Instant>,
    is_whole: bool,
}

/// A download on a thread of its own.
#[derive(Debug)]
pub struct Download {
    arrivals: Arc<Mutex<Arrivals>>,
    thread: JoinHandle<Result<()>>,
}

impl Download {
    pub(super) fn of(
        spawn: impl FnOnce(Box<dyn FnOnce() -> Result<()> + Send>) -> Result<JoinHandle<Result<()>>>,
        response: Response,
    ) -> Result<Self> {
        let arrivals = Arc::new(Mutex::new(Arrivals::default()));
        let at_thread = Arc::clone(&arrivals);
        let thread = spawn(Box::new(move || {
            receive(response, |change| change(&mut lock(&at_thread)))
        }))?;
        Ok(Self { arrivals, thread })
    }

    /// Bytes that have arrived so far.
    pub fn progress(&self) -> u64 {
        lock(&self.arrivals).bytes()
    }

    /// Whether it has ended, whole or not.
    pub fn has_ended(&self) -> bool {
        lock(&self.arrivals).ended_at.is_some()
    }

    /// What has arrived so far, and when.
    pub fn so_far(&self) -> Arrivals {
        lock(&self.arrivals).clone()
    }

    /// Waits until this much more has arrived.
    pub fn wait_for(&self, more: u64) -> Result<()> {
        let wanted = self.progress() + more;
        wait::until("a download goes on", || {
            ensure!(!self.has_ended(), "it ended after {} bytes", self.progress());
            Ok(self.progress() >= wanted)
        })
    }

    /// Waits for its end. What arrived was right up to there, or this fails.
    pub fn finish(self) -> Result<Arrivals> {
        wait::until("a download ends", || Ok(self.has_ended() || self.thread.is_finished()))?;
        self.thread.join().expect("the download's thread")?;
        Ok(lock(&self.arrivals).clone())
    }
}

impl Arrivals {
    /// Whether it was the whole body over one connection.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// When the connection ended.
    pub fn ended_at(&self) -> Option<Instant> {
        self.ended_at
    }

    /// Bytes that arrived.
    pub fn bytes(&self) -> u64 {
        self.received.last().map_or(0, |(_, bytes)| *bytes)
    }

    /// From the first byte to the last.
    pub fn duration(&self) -> Duration {
        match self.received.as_slice() {
            [(first, _), .., (last, _)] => *last - *first,
            _ => Duration::ZERO,
        }
    }

    /// The longest time in which nothing arrived.
    pub fn longest_gap(&self) -> Duration {
        let gaps = self.received.windows(2).map(|pair| pair[1].0 - pair[0].0);
        gaps.max().unwrap_or_default()
    }
}

fn receive(mut response: Response, with: impl Fn(&dyn Fn(&mut Arrivals))) -> Result<()> {
    let mut chunk = vec![0; body::CHUNK_BYTES];
    let mut received = 0;
    let result = loop {
        if received >= response.length {
            break Ok(());
        }
        match response.body.read(&mut chunk) {
            Ok(0) => break Ok(()),
            Ok(length) if chunk[..length] != body::bytes(received, length) => {
                break Err(anyhow::anyhow!("what arrives after {received} bytes is wrong"));
            }
            Ok(length) => {
                received += length as u64;
                let now = Instant::now();
                with(&|arrivals| arrivals.received.push((now, received)));
            }
            Err(error) if socks::has_ended(&error) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
    };
    let now = Instant::now();
    with(&|arrivals| {
        arrivals.ended_at = Some(now);
        arrivals.is_whole = received == response.length;
    });
    result
}

fn lock(arrivals: &Mutex<Arrivals>) -> std::sync::MutexGuard<'_, Arrivals> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}
