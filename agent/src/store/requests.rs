//! Creations that may be asked for again: the id that the caller gave, and the key that came of it.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::keys::{time_from, uuid_column};
use super::snapshot::KeyId;

/// How long a request id is remembered.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// What a request of this id has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) key_id: Uuid,
    /// The name that was asked for; the key may have another by now.
    pub(super) name: String,
}

/// What a request of this id has made, if there was one in the last 24 hours.
pub(super) fn find(connection: &Connection, request_id: &str, now: DateTime<Utc>) -> rusqlite::Result<Option<Made>> {
    let mut statement =
        connection.prepare_cached("SELECT key_id, name, at_micros FROM key_requests WHERE request_id = ?1")?;
    let found = statement.query_row([request_id], |row| {
        let made = Made {
            key_id: uuid_column(row, 0)?,
            name: row.get(1)?,
        };
        Ok((made, time_from(row.get(2)?)))
    });
    let found = found.optional()?;
    Ok(found.filter(|(_, at)| now - *at < KEPT).map(|(made, _)| made))
}

/// Remembers what a request has made, and forgets those of more than 24 hours ago.
pub(super) fn note(
    connection: &Connection,
    request_id: &str,
    key_id: KeyId,
    name: &str,
    now: DateTime<Utc>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM key_requests WHERE at_micros <= ?1")?
        .execute([(now - KEPT).timestamp_micros()])?;
    connection
        .prepare_cached("INSERT INTO key_requests (request_id, key_id, name, at_micros) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![request_id, key_id.0.to_string(), name, now.timestamp_micros()])?;
    Ok(())
}

/// Forgets the request that made a key, so that it can be asked for again.
pub(super) fn forget(connection: &Connection, key_id: KeyId) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM key_requests WHERE key_id = ?1", [key_id.0.to_string()])?;
    Ok(())
}
