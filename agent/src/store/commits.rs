//! Commits by number: what ties an answer's parts together, and where a follower of the bookings stands.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{optional_time, unsigned};
use crate::calendar::Minute;

/// The number of the last commit; 0 before the first.
pub(super) fn last_sequence(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT ifnull(max(sequence), 0) FROM commits")?;
    statement.query_row([], |row| unsigned(row, 0))
}

/// Notes a commit; `first_minute` is the earliest that it touched.
pub(super) fn note(
    connection: &Connection,
    sequence: u64,
    at: DateTime<Utc>,
    first_minute: Option<Minute>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO commits (sequence, committed_at_micros, first_minute) VALUES (?1, ?2, ?3)")?
        .execute(params![
            sequence.cast_signed(),
            at.timestamp_micros(),
            first_minute.map(|minute| minute.0)
        ])?;
    Ok(())
}

/// When the counters were last read for a booking; `None` for a ledger that has not booked yet.
pub(super) fn read_at(connection: &Connection) -> rusqlite::Result<Option<DateTime<Utc>>> {
    let read_at = connection
        .query_row("SELECT read_at_micros FROM ledger", [], |row| optional_time(row, 0))
        .optional()?;
    Ok(read_at.flatten())
}

/// Notes when the counters were read.
pub(super) fn set_read_at(connection: &Connection, at: DateTime<Utc>) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE ledger SET read_at_micros = ?1")?
        .execute([at.timestamp_micros()])?;
    Ok(())
}
