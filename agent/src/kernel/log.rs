//! What the kernel programs tell of rare events, as lines of the agent's own log.
//!
//! The programs write into a ring buffer; a packet of the wrong kind that arrives a million times a second, each time
//! with another size, must not become a million lines. So each kind of event is told at most once in a while, with how
//! often it was held back, and the buffer is read at a leisurely pace: what finds it full is dropped by the programs.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use super::KernelError;

/// How often the same kind of event is told.
const REPEAT_INTERVAL: Duration = Duration::from_secs(10);

/// How long the buffer is left alone after it was read.
const READ_INTERVAL: Duration = Duration::from_millis(200);

/// The level to load programs with: 0 removes what they would say.
pub(super) fn level(is_on: bool) -> u8 {
    if is_on { aya_log::Level::Warn as u8 } else { 0 }
}

/// The reader of the programs' ring buffer.
pub struct KernelLog(EbpfLogger<Bridge>);

impl KernelLog {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        EbpfLogger::init_with_logger(ebpf, Bridge::default())
            .map(Self)
            .map_err(|error| KernelError::map("AYA_LOGS", &error))
    }

    /// Passes on what the programs say, until `shutdown`, and then what they have said last.
    pub async fn run(self, shutdown: CancellationToken) {
        // SAFETY: the logger owns the ring buffer's descriptor, always gives the same one, and lives as long as the
        // registration.
        let registered = unsafe { AsyncFd::register(self.0) };
        let mut reader = match registered {
            Ok(reader) => reader,
            Err(error) => {
                tracing::error!(%error, "the kernel programs' log cannot be followed");
                return shutdown.cancelled().await;
            }
        };
        while let Some(Ok(mut ready)) = shutdown.run_until_cancelled(reader.readable_mut()).await {
            // First, so that what is written from here on counts as new.
            ready.clear_ready();
            ready.get_inner_mut().flush();
            let pause = tokio::time::sleep(READ_INTERVAL);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                break;
            }
        }
        reader.get_mut().flush();
    }
}

/// Takes records of the `log` crate, which is what the library gives, and makes events of ours of them.
#[derive(Default)]
struct Bridge {
    /// By the kind of event.
    told: Mutex<HashMap<Kind, Told>>,
}

/// The place in the programs' source that tells of it: as many kinds as there are such places, whatever they tell.
type Kind = (Option<String>, Option<u32>);

impl log::Log for Bridge {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let kind = (record.file().map(str::to_owned), record.line());
        let mut told = self.told.lock().expect("nothing panics while it holds this lock");
        if let Some(held_back) = told.entry(kind).or_default().say(Instant::now()) {
            tracing::warn!(held_back, "kernel: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// When a kind of event was told, and how often it was held back since.
#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    held_back: u64,
}

impl Told {
    /// Whether to say it now, and then how often it was held back since the last time.
    fn say(&mut self, now: Instant) -> Option<u64> {
        if self.at.is_some_and(|at| now.duration_since(at) < REPEAT_INTERVAL) {
            self.held_back += 1;
            return None;
        }
        self.at = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_once_in_a_while() {
        let (mut told, start) = (Told::default(), Instant::now());
        assert_eq!(told.say(start), Some(0));
        assert_eq!(told.say(start + REPEAT_INTERVAL / 2), None);
        assert_eq!(told.say(start + REPEAT_INTERVAL / 2), None);
        assert_eq!(told.say(start + REPEAT_INTERVAL), Some(2));
        assert_eq!(told.say(start + REPEAT_INTERVAL * 2), Some(0));
    }
}
