//! What was moved in some time, and how such figures add up.

use chrono::{DateTime, Utc};

use crate::counters::Counter;

/// What a key moved in some time: a minute, a day, its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes, packets and opened connections.
    pub traffic: Counter,
    /// Most connections open at one moment.
    pub max_connections: u64,
    /// How often it went from no connection to at least one.
    pub sessions: u64,
    /// The last sample with a connection or a byte.
    pub last_activity: Option<DateTime<Utc>>,
}

impl Tally {
    /// Adds what another time had: sums add up, the highest and the last stay.
    pub fn add(&mut self, other: &Self) {
        self.traffic += other.traffic;
        self.max_connections = self.max_connections.max(other.max_connections);
        self.sessions += other.sessions;
        self.last_activity = self.last_activity.max(other.last_activity);
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The tally of several, as [`Tally::add`] adds them.
    pub fn sum<'a>(tallies: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for tally in tallies {
            sum.add(tally);
        }
        sum
    }
}
