//! Figures as columns, the same in every table: the five of a counter, then what a tally adds.

use chrono::{DateTime, Utc};
use rusqlite::Row;

use crate::counters::Counter;
use crate::ledger::Tally;

/// SQLite's integers are signed; a counter that passed 2^63 bytes would need 90 years at 100 Gbit/s.
pub(super) fn columns(counter: Counter) -> [i64; 5] {
    [
        counter.rx_bytes,
        counter.rx_packets,
        counter.tx_bytes,
        counter.tx_packets,
        counter.connections_opened,
    ]
    .map(u64::cast_signed)
}

/// Reads a counter from five columns.
pub(super) fn counter(row: &Row<'_>, first: usize) -> rusqlite::Result<Counter> {
    let figure = |offset: usize| unsigned(row, first + offset);
    Ok(Counter {
        rx_bytes: figure(0)?,
        rx_packets: figure(1)?,
        tx_bytes: figure(2)?,
        tx_packets: figure(3)?,
        connections_opened: figure(4)?,
    })
}

/// A tally's columns in the periods' tables, in the order of [`tally`].
pub(super) const TALLY_COLUMNS: &str = "rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened,
    max_connections, sessions, last_activity_seconds";

/// Reads a tally from eight columns, the last a time in seconds.
pub(super) fn tally(row: &Row<'_>, first: usize) -> rusqlite::Result<Tally> {
    let last_activity: Option<i64> = row.get(first + 7)?;
    Ok(Tally {
        traffic: counter(row, first)?,
        max_connections: unsigned(row, first + 5)?,
        sessions: unsigned(row, first + 6)?,
        last_activity: last_activity.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
    })
}

/// A figure.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// A time that may be missing, in microseconds.
pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<DateTime<Utc>>> {
    let micros: Option<i64> = row.get(column)?;
    Ok(micros.and_then(DateTime::from_timestamp_micros))
}
