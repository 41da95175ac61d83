//! Bytes per second of each port over the last sampling interval.

use std::collections::HashMap;
use std::sync::RwLock;
use std::time::Instant;

use crate::counters::CounterReader;

/// The rates, filled by the sampler and read by the traffic service. A lock with tiny critical sections: one writer
/// a second, readers copy one number.
#[derive(Default)]
pub struct Rates {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    sampled_at: Option<Instant>,
    total_bytes: HashMap<u16, u64>,
    rates: HashMap<u16, f64>,
}

impl Rates {
    /// Takes a sample of every port.
    pub fn sample(&self, reader: &dyn CounterReader, now: Instant) {
        let totals: HashMap<u16, u64> = reader
            .ports()
            .iter()
            .map(|port| (*port, reader.read(*port).total_bytes()))
            .collect();
        let mut state = self.state.write().expect("nothing panics while it holds this lock");
        let seconds = state.sampled_at.map_or(0.0, |before| (now - before).as_secs_f64());
        state.rates = if seconds > 0.0 {
            totals
                .iter()
                .filter_map(|(port, total)| Some((*port, rate(*total, *state.total_bytes.get(port)?, seconds))))
                .collect()
        } else {
            HashMap::new()
        };
        state.total_bytes = totals;
        state.sampled_at = Some(now);
    }

    /// Bytes per second of `port`; 0 before a second sample or after a reset.
    pub fn get(&self, port: u16) -> f64 {
        let state = self.state.read().expect("nothing panics while it holds this lock");
        state.rates.get(&port).copied().unwrap_or(0.0)
    }

    /// Makes the port's rate 0 until two more samples were taken: bytes from before a reset are not shown after it.
    pub fn reset(&self, port: u16) {
        let mut state = self.state.write().expect("nothing panics while it holds this lock");
        state.rates.remove(&port);
        state.total_bytes.remove(&port);
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a rate of 2^53 bytes per second is out of reach"
)]
fn rate(total: u64, before: u64, seconds: f64) -> f64 {
    total.saturating_sub(before) as f64 / seconds
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::counters::{Counter, MapLifeId};

    /// One port whose counter is set by the test.
    struct OnePort(AtomicU64);

    impl CounterReader for OnePort {
        fn map_life(&self) -> MapLifeId {
            MapLifeId(uuid::Uuid::nil())
        }

        fn ports(&self) -> &[u16] {
            &[10_001]
        }

        fn read(&self, _: u16) -> Counter {
            Counter {
                rx_bytes: self.0.load(Ordering::Relaxed),
                ..Counter::default()
            }
        }

        fn active_connections(&self, _: u16) -> Option<u64> {
            None
        }
    }

    #[test]
    fn a_rate_needs_two_samples_and_starts_anew_after_a_reset() {
        let (rates, reader, start) = (Rates::default(), OnePort(AtomicU64::new(100)), Instant::now());
        let sample = |bytes: u64, seconds: u64| {
            reader.0.store(bytes, Ordering::Relaxed);
            rates.sample(&reader, start + Duration::from_secs(seconds));
            rates.get(10_001)
        };
        assert_eq!(sample(100, 0), 0.0);
        assert_eq!(sample(300, 2), 100.0);
        rates.reset(10_001);
        assert_eq!(rates.get(10_001), 0.0);
        assert_eq!(sample(900, 3), 0.0);
        assert_eq!(sample(950, 4), 50.0);
    }
}
