//! What the kernel programs tell of rare events, as lines of the agent's own log.
//!
//! The programs write into a ring buffer; a packet of the wrong kind that arrives a million times a second must not
//! become a million lines, so each sentence is said at most once in a while, with how often it was held back.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use super::KernelError;

/// How often the same event is told.
const REPEAT_INTERVAL: Duration = Duration::from_secs(10);

/// How many different sentences are kept apart; beyond that, the ones told are forgotten and may be told again.
const SENTENCES_MAX: usize = 256;

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

    /// Passes on what the programs say, until `shutdown`.
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
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}

/// Takes records of the `log` crate, which is what the library gives, and makes events of ours of them.
#[derive(Default)]
struct Bridge {
    told: Mutex<HashMap<String, Told>>,
}

impl log::Log for Bridge {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let sentence = record.args().to_string();
        let mut told = self.told.lock().expect("nothing panics while it holds this lock");
        if told.len() >= SENTENCES_MAX && !told.contains_key(&sentence) {
            told.clear();
        }
        let Some(held_back) = told.entry(sentence.clone()).or_default().say(Instant::now()) else {
            return;
        };
        tracing::warn!(held_back, "kernel: {sentence}");
    }

    fn flush(&self) {}
}

/// When a sentence was told, and how often it was held back since.
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
    fn a_sentence_is_said_once_in_a_while() {
        let (mut told, start) = (Told::default(), Instant::now());
        assert_eq!(told.say(start), Some(0));
        assert_eq!(told.say(start + REPEAT_INTERVAL / 2), None);
        assert_eq!(told.say(start + REPEAT_INTERVAL / 2), None);
        assert_eq!(told.say(start + REPEAT_INTERVAL), Some(2));
        assert_eq!(told.say(start + REPEAT_INTERVAL * 2), Some(0));
    }
}
