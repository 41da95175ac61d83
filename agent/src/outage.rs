//! Something that fails again and again: told once when it has begun, and once when it is over.
//!
//! A plain decision: whoever tries notes each outcome with its time, and tells what this says.

use std::time::{Duration, Instant};

/// What has changed with an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has been failing for long enough to be told.
    Begins,
    /// It works again, after that was told.
    Ends,
}

/// Whether something fails, and whether that was told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outage {
    limit: Duration,
    since: Option<Instant>,
    is_told: bool,
}

impl Outage {
    /// One that is told when it has lasted for `limit`; by default it is told at once.
    pub fn lasting(limit: Duration) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Notes an outcome; what is to be told of it.
    pub fn turn(&mut self, has_failed: bool, now: Instant) -> Option<Turn> {
        if !has_failed {
            self.since = None;
            return std::mem::take(&mut self.is_told).then_some(Turn::Ends);
        }
        let since = *self.since.get_or_insert(now);
        if self.is_told || now.duration_since(since) < self.limit {
            return None;
        }
        self.is_told = true;
        Some(Turn::Begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_failing_is_told_once() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        let told = [false, true, true, false, false, true].map(|has_failed| outage.turn(has_failed, now));
        let expected = [
            None,
            Some(Turn::Begins),
            None,
            Some(Turn::Ends),
            None,
            Some(Turn::Begins),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_over_in_time_is_not_told() {
        let (mut outage, start) = (Outage::lasting(Duration::from_secs(30)), Instant::now());
        let mut turn = |has_failed, seconds| outage.turn(has_failed, start + Duration::from_secs(seconds));
        assert_eq!([turn(true, 0), turn(true, 29), turn(false, 30)], [None; 3]);
        // It begins anew.
        assert_eq!([turn(true, 40), turn(true, 69)], [None; 2]);
        assert_eq!([turn(true, 70), turn(true, 71)], [Some(Turn::Begins), None]);
        assert_eq!(turn(false, 72), Some(Turn::Ends));
    }
}
