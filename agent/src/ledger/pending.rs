//! One port between two bookings: samples add to it, by minute.

use chrono::{DateTime, Utc};

use super::Tally;
use crate::calendar::Minute;
use crate::counters::Counter;

/// A minute and what was sampled in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteTally {
    /// The minute of reading.
    pub minute: Minute,
    /// What was new.
    pub tally: Tally,
}

/// What was sampled and is not booked, by minute; hardly ever more than one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending(Vec<MinuteTally>);

impl Pending {
    /// The minutes.
    pub fn minutes(&self) -> &[MinuteTally] {
        &self.0
    }

    /// Adds to a minute.
    pub fn add(&mut self, minute: Minute, tally: &Tally) {
        match self.0.iter_mut().rev().find(|one| one.minute == minute) {
            Some(known) => known.tally.add(tally),
            None => {
                // There are ten thousand of these, nearly all with one minute; room for four is what a list would take.
                self.0.reserve_exact(1);
                self.0.push(MinuteTally { minute, tally: *tally });
            }
        }
    }

    /// Adds another one's minutes.
    pub fn add_all(&mut self, other: &Self) {
        for one in &other.0 {
            self.add(one.minute, &one.tally);
        }
    }

    /// All minutes together.
    pub fn sum(&self) -> Tally {
        Tally::sum(self.0.iter().map(|one| &one.tally))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A port's last sample, and what its samples added up to since the last booking.
#[derive(Debug, Clone, Default)]
pub struct PortPending {
    /// The counter at the last sample.
    pub counter: Counter,
    /// Connections open at the last sample.
    pub connections: u64,
    /// What is not booked.
    pub pending: Pending,
}

impl PortPending {
    /// What a sample of this moment adds; nothing when nothing is new and nobody is connected. `connections` is `None`
    /// where nobody knows how many are open: they are taken to be as before.
    ///
    /// A connection that came and went between two samples is known by the count of opened ones only: it is one
    /// connection at one moment and, where there was none before, a session.
    ///
    /// A counter that is lower than before is an error of the machine, not traffic: it adds nothing, and the last sample
    /// stays what it was.
    pub fn step(&self, at: DateTime<Utc>, counter: Counter, connections: Option<u64>) -> Option<Tally> {
        let traffic = counter.since(self.counter)?;
        let connections = connections.unwrap_or(self.connections);
        let was_opened = traffic.connections_opened > 0;
        if connections == 0 && traffic == Counter::default() {
            return None;
        }
        Some(Tally {
            traffic,
            max_connections: connections.max(u64::from(was_opened)),
            sessions: u64::from(self.connections == 0 && (connections > 0 || was_opened)),
            last_activity: Some(at),
        })
    }

    /// Takes a sample; gives what it added.
    pub fn sample(
        &mut self,
        minute: Minute,
        at: DateTime<Utc>,
        counter: Counter,
        connections: Option<u64>,
    ) -> Option<Tally> {
        let step = self.step(at, counter, connections);
        if let Some(tally) = &step {
            self.pending.add(minute, tally);
            self.counter = counter;
        }
        self.connections = connections.unwrap_or(self.connections);
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn counter(bytes: u64, opened: u64) -> Counter {
        Counter {
            rx_bytes: bytes,
            connections_opened: opened,
            ..Counter::default()
        }
    }

    #[test]
    fn a_session_begins_where_there_was_no_connection() {
        let mut port = PortPending::default();
        let steps = [
            // counter, opened, connections -> max_connections, sessions
            (100, 1, Some(1), Some((1, 1))),
            (150, 3, Some(3), Some((3, 0))),
            (150, 3, Some(0), None),
            // came and went in between
            (200, 4, Some(0), Some((1, 1))),
            // datagrams only
            (300, 4, Some(0), Some((0, 0))),
            // nobody knows: as before
            (400, 4, None, Some((0, 0))),
            (400, 4, None, None),
            // still open, silent
            (400, 4, Some(2), Some((2, 1))),
            (400, 4, Some(2), Some((2, 0))),
        ];
        for (second, (bytes, opened, connections, expected)) in (0..).zip(steps) {
            let step = port.sample(Minute(0), at(second), counter(bytes, opened), connections);
            let shown = step.map(|tally| (tally.max_connections, tally.sessions));
            assert_eq!(shown, expected, "step {second}");
        }
        let sum = port.pending.sum();
        assert_eq!(
            (sum.traffic, sum.max_connections, sum.sessions),
            (counter(400, 4), 3, 3)
        );
        assert_eq!(sum.last_activity, Some(at(8)));
    }

    #[test]
    fn a_counter_that_went_down_adds_nothing_and_is_made_up_for() {
        let mut port = PortPending::default();
        port.sample(Minute(0), at(0), counter(100, 0), Some(0));
        assert_eq!(port.sample(Minute(0), at(1), counter(90, 0), Some(0)), None);
        let step = port.sample(Minute(0), at(2), counter(110, 0), Some(0)).unwrap();
        assert_eq!(step.traffic, counter(10, 0));
    }

    #[test]
    fn minutes_are_kept_apart() {
        let mut port = PortPending::default();
        port.sample(Minute(7), at(0), counter(100, 0), None);
        port.sample(Minute(8), at(1), counter(130, 0), None);
        // The clock was set back.
        port.sample(Minute(7), at(2), counter(135, 0), None);
        let minutes: Vec<_> = port
            .pending
            .minutes()
            .iter()
            .map(|one| (one.minute.0, one.tally.traffic.rx_bytes))
            .collect();
        assert_eq!(minutes, [(7, 105), (8, 30)]);
    }
}
