//! Events: what happened, appended in the transaction of what it tells of.

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{Connection, params};

use crate::ledger::Gap;

/// One event.
pub(super) struct Event<'a> {
    pub(super) at: DateTime<Utc>,
    pub(super) kind: &'a str,
    pub(super) severity: &'a str,
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) message: &'a str,
    pub(super) actor: &'a str,
}

/// An event that is not part of another change.
#[derive(Debug, Clone, Default)]
pub struct NewEvent {
    /// What it is about, for example `xray`.
    pub kind: &'static str,
    /// `info`, `warning` or `error`.
    pub severity: &'static str,
    /// Whose doing it was: `agent`, `xray`.
    pub service: &'static str,
    /// What was done.
    pub action: &'static str,
    /// One sentence without a secret.
    pub message: String,
    /// Who asked for it: `operator` or `agent`.
    pub actor: &'static str,
}

impl NewEvent {
    pub(super) fn at(&self, at: DateTime<Utc>) -> Event<'_> {
        Event {
            at,
            kind: self.kind,
            severity: self.severity,
            service: self.service,
            action: self.action,
            message: &self.message,
            actor: self.actor,
        }
    }
}

pub(super) fn append(connection: &Connection, event: &Event<'_>) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO events (at_micros, type, severity, service, action, message, actor)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            event.at.timestamp_micros(),
            event.kind,
            event.severity,
            event.service,
            event.action,
            event.message,
            event.actor
        ])?;
    Ok(())
}

/// Tells that traffic passed while nobody read the counters: it is all there, but its minutes are not known.
pub(super) fn append_gap(connection: &Connection, gap: &Gap) -> rusqlite::Result<()> {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let message = format!(
        "{} bytes on {} ports passed between {} and {} while nobody read the counters; they are booked to the minute of \
         the later time",
        gap.total_bytes,
        gap.ports,
        time(gap.from),
        time(gap.to)
    );
    append(
        connection,
        &Event {
            at: gap.to,
            kind: "ledger",
            severity: "info",
            service: "agent",
            action: "gap",
            message: &message,
            actor: "agent",
        },
    )
}
