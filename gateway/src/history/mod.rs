//! The routes of the ledger: what each key moved by day, month and billing cycle, and in all.
//!
//! [`totals`] is what was moved since a key was made or its history was reset, [`days`] one calendar day of all keys and
//! the clean-up of days, [`months`] one calendar month, [`cycles`] billing cycles. What they share is here; [`periods`]
//! reads days and months from the agent.
//!
//! `total_connections` and `max_connections` are the most that were open at one moment, and `is_active` says whether a
//! key has a connection now, not whether it is enabled: the names are the clients'.

use portmeter_proto::v1::{Key, KeyHistory, Period, Tally};
use serde::Serialize;
use utoipa::ToSchema;

use crate::failure::Failure;
use crate::moment::Moment;
use crate::size::Size2;

mod cycle_rule;
pub(crate) mod cycles;
pub(crate) mod days;
pub(crate) mod months;
pub(crate) mod periods;
pub(crate) mod totals;

/// What one key's row takes; see [`crate::answer::json_of_size`].
const ROW_BYTES: usize = 512;

/// What one day of a key takes.
const DAY_BYTES: usize = 128;

/// A key, its totals and whether it has a connection now.
#[derive(Clone, Copy)]
pub(crate) struct KeyRow<'a> {
    pub(crate) key: &'a Key,
    pub(crate) total: &'a Tally,
    pub(crate) is_connected: bool,
}

impl<'a> KeyRow<'a> {
    pub(crate) fn of(history: &'a KeyHistory) -> Result<Self, Failure> {
        let key = history
            .key
            .as_ref()
            .ok_or_else(|| Failure::incomplete("key_history.key"))?;
        let total = history.total.as_ref();
        Ok(Self {
            key,
            total: total.ok_or_else(|| Failure::incomplete("key_history.total"))?,
            is_connected: history.is_connected,
        })
    }

    pub(crate) fn all(histories: &'a [KeyHistory]) -> Result<Vec<Self>, Failure> {
        histories.iter().map(Self::of).collect()
    }
}

/// Bytes of both directions.
pub(crate) fn total_bytes(tally: &Tally) -> u64 {
    tally.rx_bytes.saturating_add(tally.tx_bytes)
}

/// The figures of a period, which has some.
pub(crate) fn tally_of(period: &Period) -> Result<&Tally, Failure> {
    let tally = period.tally.as_ref();
    tally.ok_or_else(|| Failure::incomplete("period.tally"))
}

/// What every row says of its key.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyIdentity)]
struct Identity<'a> {
    #[schema(format = "uuid")]
    key_uuid: &'a str,
    key_name: &'a str,
    #[schema(required, maximum = 65_535)]
    port: Option<u32>,
    created_at: Moment,
    #[schema(required)]
    last_activity: Option<Moment>,
    is_active: bool,
}

impl<'a> Identity<'a> {
    fn of(row: &KeyRow<'a>) -> Result<Self, Failure> {
        Ok(Self {
            key_uuid: &row.key.uuid,
            key_name: &row.key.name,
            port: row.key.port,
            created_at: Moment::of(row.key.created_at.as_ref(), "key.created_at")?,
            last_activity: Moment::optional(row.total.last_activity.as_ref(), "last_activity")?,
            is_active: row.is_connected,
        })
    }
}

/// Bytes, written out too.
#[derive(Serialize, ToSchema)]
#[schema(as = TrafficSizes)]
struct Sizes {
    total_formatted: Size2,
    rx_formatted: Size2,
    tx_formatted: Size2,
}

impl Sizes {
    fn of(tally: &Tally) -> Self {
        Self {
            total_formatted: Size2::new(total_bytes(tally)),
            rx_formatted: Size2::new(tally.rx_bytes),
            tx_formatted: Size2::new(tally.tx_bytes),
        }
    }
}

/// What was moved in a day or a longer time.
#[derive(Serialize, ToSchema)]
#[schema(as = TrafficFigures)]
struct Figures {
    total_bytes: u64,
    rx_bytes: u64,
    tx_bytes: u64,
    max_connections: u64,
    sessions: u64,
}

impl Figures {
    fn of(tally: &Tally) -> Self {
        Self {
            total_bytes: total_bytes(tally),
            rx_bytes: tally.rx_bytes,
            tx_bytes: tally.tx_bytes,
            max_connections: tally.max_connections,
            sessions: tally.sessions,
        }
    }
}

/// Days by their date, oldest first.
fn by_date(days: &[Period]) -> Result<Vec<(&str, Figures)>, Failure> {
    days.iter()
        .map(|day| Ok((day.start.as_str(), Figures::of(tally_of(day)?))))
        .collect()
}

/// What all keys of a list moved together: bytes and sessions add up, of connections the highest number stays.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    rx_bytes: u64,
    tx_bytes: u64,
    max_connections: u64,
    sessions: u64,
}

impl Sums {
    fn of<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Self {
        tallies.fold(Self::default(), |sums, tally| Self {
            rx_bytes: sums.rx_bytes.saturating_add(tally.rx_bytes),
            tx_bytes: sums.tx_bytes.saturating_add(tally.tx_bytes),
            max_connections: sums.max_connections.max(tally.max_connections),
            sessions: sums.sessions.saturating_add(tally.sessions),
        })
    }

    fn total_bytes(&self) -> u64 {
        self.rx_bytes.saturating_add(self.tx_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_sessions_add_up_and_connections_do_not() {
        let tally = |rx_bytes, max_connections, sessions| Tally {
            rx_bytes,
            tx_bytes: 1,
            max_connections,
            sessions,
            ..Tally::default()
        };
        let sums = Sums::of([tally(5, 271, 5), tally(u64::MAX, 252, 23)].iter());
        let expected = Sums {
            rx_bytes: u64::MAX,
            tx_bytes: 2,
            max_connections: 271,
            sessions: 28,
        };
        assert_eq!((sums.total_bytes(), sums), (u64::MAX, expected));
    }

    #[test]
    fn a_row_without_its_key_or_total_is_a_failure() {
        let whole = KeyHistory {
            key: Some(Key::default()),
            total: Some(Tally::default()),
            is_connected: true,
            activity: None,
        };
        assert!(KeyRow::of(&whole).is_ok());
        let no_total = KeyHistory {
            total: None,
            ..whole.clone()
        };
        let no_key = KeyHistory { key: None, ..whole };
        assert!(KeyRow::of(&no_key).is_err() && KeyRow::of(&no_total).is_err());
        assert!(by_date(&[Period::default()]).is_err());
    }
}
