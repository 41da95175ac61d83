//! The bookings for an outside collector: every minute and total that commits have changed since a position.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;
use uuid::Uuid;

use super::columns::{counter, optional_time, tally, unsigned};
use super::history::Whose;
use super::snapshot::HistoryId;
use super::{Store, StoreError, commits, keys};
use crate::calendar::Minute;
use crate::ledger::Tally;

/// A minute of a key as it is after a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookedMinute {
    /// The minute.
    pub minute: Minute,
    /// The history that it belongs to.
    pub history: HistoryId,
    /// Its figures.
    pub tally: Tally,
}

/// A key as it is after a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedKey {
    /// The key.
    pub key_id: Uuid,
    /// What it moved in its life.
    pub total: Tally,
    /// The minutes that have changed.
    pub minutes: Vec<BookedMinute>,
    /// Whether it has been deleted.
    pub is_deleted: bool,
}

/// What commits have changed, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookings {
    /// The last commit at the time of reading.
    pub sequence: u64,
    /// When that was.
    pub committed_at: DateTime<Utc>,
    /// The keys, each once.
    pub keys: Vec<BookedKey>,
    /// Where the next part begins; `None` when this was the last.
    pub next: Option<PartStart>,
}

/// Where a part of the bookings begins: after this minute of this history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartStart {
    minute: Minute,
    history: HistoryId,
}

/// Minutes in one part: a few megabytes.
const PART_MINUTES: usize = 20_000;

impl Store {
    /// Tells of each commit as it is made.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// What changed after a commit, in parts. 0 stands for the oldest position that is kept. Figures are absolute, so
    /// commits that are made between reading two parts do no harm; who has read all parts stands at the first one's
    /// sequence.
    pub async fn bookings_after(self: &Arc<Self>, after: u64, part: Option<PartStart>) -> Result<Bookings, StoreError> {
        self.read(Whose::Nobody, move |transaction, _| {
            after_commit(transaction, after, part)
        })
        .await
    }

    /// Every key's lifetime total after the last commit.
    pub async fn booking_snapshot(self: &Arc<Self>) -> Result<Bookings, StoreError> {
        self.read(Whose::Nobody, |transaction, state| {
            let total = |entry: &super::Entry| BookedKey {
                key_id: entry.key.id.0,
                total: entry.figures.booked,
                minutes: Vec::new(),
                is_deleted: false,
            };
            Ok(Bookings {
                sequence: commits::last_sequence(transaction)?,
                committed_at: state.snapshot.booked_at,
                keys: state.snapshot.entries.iter().map(total).collect(),
                next: None,
            })
        })
        .await
    }
}

fn after_commit(connection: &Connection, after: u64, part: Option<PartStart>) -> Result<Bookings, StoreError> {
    let last = commits::last_sequence(connection)?;
    let after = checked_position(connection, after, last)?;
    let (booked, next) = minutes_after(connection, after, part)?;
    let mut booked_keys = Vec::with_capacity(booked.len());
    for (key_id, minutes) in booked {
        if let Some(total) = living_total(connection, &key_id)? {
            booked_keys.push(booked_key(&key_id, total, minutes, false)?);
        } else if let Some(total) = deleted_total(connection, &key_id)? {
            booked_keys.push(booked_key(&key_id, total, minutes, true)?);
        }
    }
    if next.is_none() {
        for (key_id, total) in deleted_after(connection, after)? {
            let deleted = booked_key(&key_id, total, Vec::new(), true)?;
            if !booked_keys.iter().any(|key| key.key_id == deleted.key_id) {
                booked_keys.push(deleted);
            }
        }
    }
    let committed_at = connection
        .query_row(
            "SELECT committed_at_micros FROM commits WHERE sequence = ?1",
            [last.cast_signed()],
            |row| row.get(0),
        )
        .optional()?
        .map_or(DateTime::UNIX_EPOCH, keys::time_from);
    Ok(Bookings {
        sequence: last,
        committed_at,
        keys: booked_keys,
        next,
    })
}

/// The position to read from; an error when the ledger has not come so far, or does not keep what followed.
fn checked_position(connection: &Connection, after: u64, last: u64) -> Result<u64, StoreError> {
    let oldest: Option<i64> = connection.query_row("SELECT min(sequence) FROM commits", [], |row| row.get(0))?;
    match oldest.map(i64::cast_unsigned) {
        _ if after > last => Err(StoreError::NoSuchBooking(after)),
        Some(oldest) if after == 0 => Ok(oldest - 1),
        Some(oldest) if after + 1 < oldest => Err(StoreError::BookingsExpired(after)),
        _ => Ok(after),
    }
}

fn booked_key(key_id: &str, total: Tally, minutes: Vec<BookedMinute>, is_deleted: bool) -> rusqlite::Result<BookedKey> {
    Ok(BookedKey {
        key_id: parsed(key_id)?,
        total,
        minutes,
        is_deleted,
    })
}

fn parsed(key_id: &str) -> rusqlite::Result<Uuid> {
    Uuid::parse_str(key_id)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))
}

/// Minutes by key, and where the next part begins.
type Part = (BTreeMap<String, Vec<BookedMinute>>, Option<PartStart>);

/// The minutes that commits after this one have changed.
fn minutes_after(connection: &Connection, after: u64, part: Option<PartStart>) -> rusqlite::Result<Part> {
    let first: Option<i64> = connection
        .prepare_cached("SELECT min(first_minute) FROM commits WHERE sequence > ?1")?
        .query_row([after.cast_signed()], |row| row.get(0))?;
    let Some(first) = first else {
        return Ok(Part::default());
    };
    let mut statement = connection.prepare_cached(
        "SELECT key_id, minute, history_id, minute_rows.rx_bytes, minute_rows.rx_packets, minute_rows.tx_bytes,
                minute_rows.tx_packets, minute_rows.connections_opened, max_connections, minute_rows.sessions,
                last_activity_seconds
         FROM minute_rows JOIN histories ON histories.id = history_id
         WHERE (minute, history_id) > (?1, ?2) AND sequence > ?3 ORDER BY minute, history_id LIMIT ?4",
    )?;
    let (minute, history) = part.map_or((first, 0), |part| (part.minute.0, part.history.0));
    let limit = i64::try_from(PART_MINUTES).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![minute, history, after.cast_signed(), limit])?;
    let (mut by_key, mut last, mut count) = (BTreeMap::<String, Vec<BookedMinute>>::new(), None, 0);
    while let Some(row) = rows.next()? {
        let (minute, history) = (Minute(row.get(1)?), HistoryId(row.get(2)?));
        let tally = tally(row, 3)?;
        by_key
            .entry(row.get(0)?)
            .or_default()
            .push(BookedMinute { minute, history, tally });
        last = Some(PartStart { minute, history });
        count += 1;
    }
    Ok((by_key, last.filter(|_| count == PART_MINUTES)))
}

const TOTAL: &str = "rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened, max_connections, sessions,
    last_activity_micros";

fn living_total(connection: &Connection, key_id: &str) -> rusqlite::Result<Option<Tally>> {
    let sql = format!("SELECT {TOTAL} FROM key_totals WHERE key_id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row([key_id], |row| total(row, 0)).optional()
}

fn deleted_total(connection: &Connection, key_id: &str) -> rusqlite::Result<Option<Tally>> {
    let sql = format!("SELECT {TOTAL} FROM deleted_keys WHERE key_id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row([key_id], |row| total(row, 0)).optional()
}

fn deleted_after(connection: &Connection, after: u64) -> rusqlite::Result<HashMap<String, Tally>> {
    let sql = format!("SELECT key_id, {TOTAL} FROM deleted_keys WHERE sequence > ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_map([after.cast_signed()], |row| Ok((row.get(0)?, total(row, 1)?)))?
        .collect()
}

fn total(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Tally> {
    Ok(Tally {
        traffic: counter(row, first)?,
        max_connections: unsigned(row, first + 5)?,
        sessions: unsigned(row, first + 6)?,
        last_activity: optional_time(row, first + 7)?,
    })
}
