//! Clean-up: periods that have had their time are removed in small pieces, each its own commit, so that the writer is
//! never held for long. Months stay for ever; so do totals.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::series::{self, Granularity};
use super::writer::Writer;
use super::{Store, StoreError};
use crate::calendar::{Day, Hour, Minute};

/// Rows in one piece: some milliseconds.
const ROWS: usize = 1_000;

/// The first period of each kind that is kept; `None` removes none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FirstKept {
    /// Of minutes.
    pub minute: Option<Minute>,
    /// Of hours.
    pub hour: Option<Hour>,
    /// Of days.
    pub day: Option<Day>,
    /// Of commits, by the minute in which they were made; bookings after an earlier one cannot be followed any more.
    pub commit: Option<Minute>,
    /// Of events, by their time.
    pub event: Option<DateTime<Utc>>,
}

impl Store {
    /// Removes what is older, and events that are too many where older ones go; gives how many rows of minutes, hours and
    /// days there were.
    pub async fn clean_up(&self, first_kept: FirstKept) -> Result<u64, StoreError> {
        let mut removed = 0;
        let kinds = [
            (Granularity::Minute, first_kept.minute.map(|minute| minute.0)),
            (Granularity::Hour, first_kept.hour.map(|hour| hour.0)),
            (Granularity::Day, first_kept.day.map(|day| day.0.into())),
        ];
        if let Some(commit) = first_kept.commit {
            // Before their minutes go: what is followed is complete.
            self.call(move |writer| writer.forget_commits(commit)).await?;
        }
        if let Some(event) = first_kept.event {
            while self.call(move |writer| writer.remove_events(event)).await? == ROWS {}
        }
        for (granularity, first) in kinds {
            let Some(first) = first else { continue };
            loop {
                let piece = self
                    .call(move |writer| writer.remove_before(granularity, first))
                    .await?;
                removed += piece as u64;
                if piece < ROWS {
                    break;
                }
            }
        }
        Ok(removed)
    }
}

impl Writer {
    fn remove_before(&mut self, granularity: Granularity, first_kept: i64) -> Result<usize, StoreError> {
        let transaction = self.connection.transaction()?;
        let removed = series::remove_before(&transaction, granularity, first_kept, ROWS)?;
        // All keys together take little room, and live views look back as far as hours go.
        if granularity == Granularity::Hour {
            transaction.execute("DELETE FROM minute_totals WHERE minute < ?1", [first_kept / 60])?;
        }
        transaction.commit()?;
        Ok(removed)
    }

    /// Removes a piece of what is too old, and one of what is too much.
    fn remove_events(&mut self, first_kept: DateTime<Utc>) -> Result<usize, StoreError> {
        let surplus = remove_surplus_events(&self.connection, self.with.event_count_max)?;
        let removed = self
            .connection
            .prepare_cached(
                "DELETE FROM events WHERE id IN
                     (SELECT id FROM events WHERE at_micros < ?1 ORDER BY at_micros LIMIT ?2)",
            )?
            .execute([first_kept.timestamp_micros(), ROWS as i64])?;
        Ok(removed.max(surplus))
    }

    /// The newest commit stays: it is where the numbers go on.
    fn forget_commits(&mut self, first_kept: Minute) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "DELETE FROM commits WHERE committed_at_micros < ?1 AND sequence < (SELECT max(sequence) FROM commits)",
            params![first_kept.start().timestamp_micros()],
        )?;
        transaction.execute(
            "DELETE FROM deleted_keys WHERE sequence < (SELECT min(sequence) FROM commits)",
            [],
        )?;
        transaction.commit()?;
        Ok(())
    }
}

/// Removes a piece of the oldest events where there are more than `count_max`; gives how many. Ids go on after the last one
/// all the same.
pub(super) fn remove_surplus_events(connection: &Connection, count_max: u64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM events WHERE id IN
                 (SELECT id FROM events WHERE id <= (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?1)
                  ORDER BY id LIMIT ?2)",
        )?
        .execute([i64::try_from(count_max).unwrap_or(i64::MAX), ROWS as i64])
}
