//! How busy the processors are: the share of their time that was not idle between two readings.
//!
//! Readings are taken on a timer, so that nobody who asks has to wait for a second one, and what is told is about the
//! last seconds whoever asked before.

use std::sync::Arc;
use std::time::Duration;

use sysinfo::System;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

/// The time between two readings. Long enough to be steady, short enough for a page that shows it every few seconds; a
/// reading takes some ten microseconds.
const INTERVAL: Duration = Duration::from_secs(2);

/// The processors, at the last reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Of all processors together, 0 to 100.
    pub percent: f64,
    /// How many there are.
    pub count: u32,
}

/// What the last reading gave; filled by [`Processors::run`].
pub struct Processors {
    last: watch::Sender<Option<Usage>>,
}

impl Default for Processors {
    fn default() -> Self {
        Self {
            last: watch::Sender::new(None),
        }
    }
}

impl Processors {
    /// Reads until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut system = match System::new() {
            Ok(system) => system,
            Err(error) => {
                tracing::warn!(%error, "how busy the processors are cannot be told here");
                return shutdown.cancelled().await;
            }
        };
        system.refresh_cpu_usage();
        // The first answer comes soon, the later ones are steadier.
        let first = sysinfo::MINIMUM_CPU_UPDATE_INTERVAL;
        if shutdown.run_until_cancelled(sleep(first)).await.is_none() {
            return;
        }
        let mut ticks = interval_at(tokio::time::Instant::now(), INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            system.refresh_cpu_usage();
            let usage = Usage {
                percent: percent(system.global_cpu_usage()),
                count: u32::try_from(system.cpus().len()).unwrap_or(u32::MAX),
            };
            self.last.send_replace(Some(usage));
        }
    }

    /// The last reading; right after the start the first one is waited for. `None` where nobody reads any more.
    pub async fn usage(&self) -> Option<Usage> {
        let mut last = self.last.subscribe();
        let patience = 10 * sysinfo::MINIMUM_CPU_UPDATE_INTERVAL;
        let known = tokio::time::timeout(patience, last.wait_for(Option::is_some)).await;
        *known.ok()?.ok()?
    }
}

/// Rounding can lead past the ends, and no time between two readings to no number at all.
fn percent(measured: f32) -> f64 {
    if measured.is_finite() {
        f64::from(measured).clamp(0.0, 100.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_between_nothing_and_all() {
        for (measured, expected) in [(0.0, 0.0), (12.5, 12.5), (100.01, 100.0), (-0.1, 0.0), (f32::NAN, 0.0)] {
            assert_eq!(percent(measured), expected);
        }
    }

    #[tokio::test]
    async fn a_reading_is_there_soon_and_is_of_this_machine() {
        let processors = Arc::new(Processors::default());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&processors).run(shutdown.clone()));
        let usage = processors.usage().await.unwrap();
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let is_processor = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
        assert_eq!(usage.count as usize, stat.lines().filter(is_processor).count());
        assert!((0.0..=100.0).contains(&usage.percent), "{usage:?}");
        shutdown.cancel();
        task.await.unwrap();
    }
}
