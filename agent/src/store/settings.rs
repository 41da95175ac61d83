//! Settings as rows: what differs from its default, by path, and what is kept for callers.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::events;
use super::writer::{Ports, Writer};
use super::{NewEvent, StoreError};
use crate::settings::{LEAVES, Stored, Tree, Value, find};

/// The path of what is kept for callers, which no setting has: those have a point.
const EXTRA: &str = "extra";

/// What is stored. A row that this version cannot read is left alone and counts as none.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Stored> {
    let mut statement = connection.prepare("SELECT path, value FROM settings WHERE path <> ?1")?;
    let rows = statement.query_map([EXTRA], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut values = BTreeMap::new();
    for row in rows {
        let (path, text) = row?;
        let leaf = find(&path);
        let value = leaf.and_then(|leaf| Some((leaf.path, leaf.kind.accept(Value::from_json(&text)?)?)));
        match value {
            Some((path, value)) => drop(values.insert(path, value)),
            None => tracing::warn!(path, "a stored setting is none that this version knows; it is not used"),
        }
    }
    let extra: Option<String> = connection
        .query_row("SELECT value FROM settings WHERE path = ?1", [EXTRA], |row| row.get(0))
        .optional()?;
    let extra = extra.map(|text| Tree::parse(&text)).transpose();
    Ok(Stored {
        values,
        extra: extra.ok().flatten().unwrap_or_default(),
        version: connection.query_row("SELECT version FROM settings_version", [], |row| row.get(0))?,
    })
}

/// Makes the rows say `after`, where they said `before`.
fn write(connection: &Connection, before: &Stored, after: &Stored) -> rusqlite::Result<()> {
    for leaf in &LEAVES {
        let (old, new) = (before.values.get(leaf.path), after.values.get(leaf.path));
        if old != new {
            set(connection, leaf.path, new.map(Value::to_json))?;
        }
    }
    if before.extra != after.extra {
        let text = after.extra.to_text();
        set(connection, EXTRA, Some(text).filter(|text| !text.is_empty()))?;
    }
    connection.execute("UPDATE settings_version SET version = ?1", [after.version])?;
    Ok(())
}

fn set(connection: &Connection, path: &str, value: Option<String>) -> rusqlite::Result<()> {
    match value {
        Some(value) => connection.execute("INSERT OR REPLACE INTO settings VALUES (?1, ?2)", params![path, value])?,
        None => connection.execute("DELETE FROM settings WHERE path = ?1", [path])?,
    };
    Ok(())
}

impl Writer {
    /// Stores settings and notes what was done, in one transaction. Where the collector pauses or goes on with it, what
    /// was counted until now is booked in the same one: the pause has exact edges.
    pub(super) fn save_settings(&mut self, stored: Stored, events: &[NewEvent]) -> Result<(), StoreError> {
        let before = self.published.load().settings.clone();
        let is_collecting = stored.is_collecting();
        let ports = match before.is_collecting() == is_collecting {
            true => Ports::These(&[]),
            false => Ports::All,
        };
        let now = self.with.clock.now();
        self.change(
            ports,
            Some(Box::new(|transaction, snapshot, _| {
                write(transaction, &before, &stored)?;
                for event in events {
                    events::append(transaction, now, event)?;
                }
                snapshot.settings = stored.into();
                Ok(())
            })),
        )?;
        self.samples.set_paused(!is_collecting);
        Ok(())
    }

    /// Reads every counter, books what is new, and notes that it was asked for. Gives the bytes that were booked.
    pub(super) fn run_collector(&mut self, event: impl FnOnce(u64) -> NewEvent) -> Result<u64, StoreError> {
        let now = self.with.clock.now();
        let mut booked_bytes = 0;
        self.change(
            Ports::All,
            Some(Box::new(|transaction, _, taken| {
                booked_bytes = taken.total_bytes();
                events::append(transaction, now, &event(booked_bytes))?;
                Ok(())
            })),
        )?;
        Ok(booked_bytes)
    }

    /// Books because it is time to; does nothing while the collector is paused.
    pub(super) fn book_by_clock(&mut self) -> Result<(), StoreError> {
        match self.published.load().settings.is_collecting() {
            true => self.book_all(),
            false => Ok(()),
        }
    }
}
