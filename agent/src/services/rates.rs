//! Bytes per second of each port over the last sampling interval.

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
    /// Ascending; the two below are in this order.
    ports: Vec<u16>,
    /// The last sample; none right after a reset.
    total_bytes: Vec<Option<u64>>,
    bytes_per_second: Vec<f64>,
}

impl Rates {
    /// Takes a sample of every port.
    pub fn sample(&self, reader: &dyn CounterReader, now: Instant) {
        // Read before the lock is taken, so that nobody waits for it.
        let mut sample = Vec::with_capacity(reader.ports().len());
        reader.read_all(&mut |_, counter| sample.push(counter.total_bytes()));
        let mut state = self.state.write().expect("nothing panics while it holds this lock");
        let seconds = state.sampled_at.map_or(0.0, |before| (now - before).as_secs_f64());
        if state.ports != reader.ports() {
            *state = State::of(reader.ports());
        }
        let State {
            total_bytes,
            bytes_per_second,
            ..
        } = &mut *state;
        for ((total, before), shown) in sample.into_iter().zip(total_bytes).zip(bytes_per_second) {
            *shown = match before.replace(total) {
                Some(before) if seconds > 0.0 => rate(total, before, seconds),
                _ => 0.0,
            };
        }
        state.sampled_at = Some(now);
    }

    /// When the last sample was taken; `None` before the first.
    pub fn sampled_at(&self) -> Option<Instant> {
        let state = self.state.read().expect("nothing panics while it holds this lock");
        state.sampled_at
    }

    /// Bytes per second of `port`; 0 before a second sample or after a reset.
    pub fn get(&self, port: u16) -> f64 {
        let state = self.state.read().expect("nothing panics while it holds this lock");
        let at = state.ports.binary_search(&port);
        at.map_or(0.0, |at| state.bytes_per_second[at])
    }

    /// Makes the port's rate 0 until two more samples were taken: bytes from before a reset are not shown after it.
    pub fn reset(&self, port: u16) {
        let mut state = self.state.write().expect("nothing panics while it holds this lock");
        if let Ok(at) = state.ports.binary_search(&port) {
            state.total_bytes[at] = None;
            state.bytes_per_second[at] = 0.0;
        }
    }
}

impl State {
    fn of(ports: &[u16]) -> Self {
        Self {
            sampled_at: None,
            ports: ports.to_vec(),
            total_bytes: vec![None; ports.len()],
            bytes_per_second: vec![0.0; ports.len()],
        }
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
