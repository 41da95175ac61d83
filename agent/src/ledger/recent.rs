//! The last hour of all keys together, sample by sample, for live views finer than a minute. Lost at a restart.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// How far back samples are kept.
const KEPT: TimeDelta = TimeDelta::hours(1);

/// All keys together at one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// When it was taken.
    pub at: DateTime<Utc>,
    /// Bytes since the sample before, both directions.
    pub total_bytes: u64,
    /// Connections open.
    pub connections: u64,
    /// Keys with a connection.
    pub online_keys: u64,
}

/// The samples, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Moment>);

impl Recent {
    pub(super) fn push(&mut self, moment: Moment) {
        while self.0.front().is_some_and(|oldest| oldest.at < moment.at - KEPT) {
            self.0.pop_front();
        }
        self.0.push_back(moment);
    }

    pub(super) fn since(&self, from: DateTime<Utc>) -> Vec<Moment> {
        self.0.iter().filter(|moment| moment.at >= from).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_an_hour() {
        let at = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap();
        let mut recent = Recent::default();
        for second in 0..4_000 {
            recent.push(Moment {
                at: at(second),
                total_bytes: 1,
                connections: 0,
                online_keys: 0,
            });
        }
        assert_eq!(recent.since(at(0)).len(), 3_601);
        assert_eq!(recent.since(at(3_990)).len(), 10);
    }
}
