//! Imports: what is there is looked up, the plan decided, and the decision carried out in one transaction.
//!
//! Imported days and months go to the history that the key shows, and the total with them; billing cycles, minutes and
//! hours stay the agent's own, and so do the current figures, whose baseline moves along.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::{Transaction, params};
use uuid::Uuid;

use super::events::{self, EventKind, NewEvent};
use super::outside::{OutsideReader, ReadError};
use super::snapshot::{Entry, Figures, HistoryId, Key, KeyId, Snapshot};
use super::writer::{Writer, new_entry};
use super::{Store, StoreError, imported, keys, ledger};
use crate::transfer::import::{
    Booking, Change, DecidedKey, Decision, DecisionError, ImportPlan, Ports, Present, decide,
};
use crate::xray::subscription::SubscriptionToken;

/// Why an import did not happen. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailure {
    /// The plan does not go with the ledger.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<rusqlite::Error> for ImportFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(StoreError::Database(error))
    }
}

impl Store {
    /// Books what is there, then carries a plan out. `progress` hears how many histories of how many are booked.
    pub async fn import(
        &self,
        plan: ImportPlan,
        progress: impl FnMut(usize, usize) + Send + 'static,
    ) -> Result<Decision, ImportFailure> {
        let import = |writer: &mut Writer| match writer.import(plan, progress) {
            Err(ImportFailure::Store(error)) => Err(error),
            other => Ok(other),
        };
        self.call(import).await?
    }
}

/// What an import would do to the ledger in `folder`. Nothing is changed, and an agent may be working on it.
pub fn preview_import(folder: &Path, plan: ImportPlan, ports: &Ports) -> Result<Decision, ImportFailure> {
    let present = match OutsideReader::open(folder)? {
        None => Present::default(),
        Some(mut reader) => reader.read(|transaction| {
            imported::present(transaction, &plan).map_err(|error| ImportFailure::Store(StoreError::Database(error)))
        })?,
    };
    Ok(decide(plan, &present, ports, Uuid::new_v4)?)
}

impl Writer {
    fn import(&mut self, plan: ImportPlan, mut progress: impl FnMut(usize, usize)) -> Result<Decision, ImportFailure> {
        let present = imported::present(&self.connection, &plan)?;
        let ports = Ports {
            configured: self.with.ports.iter().copied().collect(),
            held: self.with.probe.held_ports().map_err(StoreError::PortProbe)?,
        };
        let decision = decide(plan, &present, &ports, Uuid::new_v4)?;
        if decision.changes_nothing() {
            return Ok(decision);
        }
        let now = self.with.clock.now();
        let new_ports: Vec<u16> = decision.new_keys.iter().map(|key| key.port).collect();
        self.edit(&new_ports, &new_ports, |transaction, snapshot| {
            for key in &decision.new_keys {
                snapshot.entries.push(make_key(transaction, key, now)?);
            }
            if !new_ports.is_empty() {
                keys::touch_port_table(transaction, now)?;
                snapshot.port_table.last_updated = now;
                snapshot.keys_changed();
            }
            for (done, booking) in decision.bookings.iter().enumerate() {
                progress(done, decision.bookings.len());
                book(transaction, snapshot, booking)?;
            }
            append_event(transaction, &decision, now)?;
            Ok(())
        })?;
        Ok(decision)
    }
}

fn make_key(transaction: &Transaction<'_>, decided: &DecidedKey, now: DateTime<Utc>) -> Result<Entry, StoreError> {
    let key = Key {
        id: KeyId(decided.id),
        uuid: decided.uuid,
        name: decided.name.clone(),
        alias: String::new(),
        is_active: decided.is_active,
        created_at: decided.created_at.unwrap_or(now),
        port: Some(decided.port),
        assigned_at: Some(now),
        cycle: None,
        subscription_token: decided.is_active.then(SubscriptionToken::generate),
        identity: decided.identity.clone().map(Arc::new),
    };
    // It may be one of this id that was deleted a while ago: then it is there again.
    transaction.execute("DELETE FROM deleted_keys WHERE key_id = ?1", [key.id.0.to_string()])?;
    new_entry(transaction, key, now)
}

/// Books a source's changes to a key, in the tables and in its entry of the next snapshot.
fn book(transaction: &Transaction<'_>, snapshot: &mut Snapshot, booking: &Booking) -> Result<(), StoreError> {
    let id = KeyId(booking.key_id);
    let position = snapshot.position(id).ok_or(StoreError::KeyNotFound)?;
    let Entry { key, figures, .. } = &mut snapshot.entries[position];
    imported::take_from_deleted(transaction, key.uuid, &booking.source)?;
    let history = figures.history.id;
    for (day, change) in &booking.changes.days {
        change_row(transaction, "day_rows", "day", day.0.into(), history, change)?;
    }
    for (month, change) in &booking.changes.months {
        change_row(transaction, "month_rows", "month", month.0.into(), history, change)?;
    }
    if let Some(change) = &booking.changes.total {
        change_total(transaction, id, figures, change, booking.last_activity)?;
    }
    Ok(imported::note(transaction, booking, key.uuid, history)?)
}

/// Changes a period's row. A day that was cleaned up is not brought back to be lowered.
fn change_row(
    transaction: &Transaction<'_>,
    table: &str,
    column: &str,
    period: i64,
    history: HistoryId,
    change: &Change,
) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO {table} ({column}, history_id, rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened,
                              max_connections, sessions)
         SELECT ?1, ?2, max(?3, 0), 0, max(?4, 0), 0, 0, ?5, max(?6, 0)
         WHERE ?7 OR EXISTS (SELECT 1 FROM {table} WHERE {column} = ?1 AND history_id = ?2)
         ON CONFLICT ({column}, history_id) DO UPDATE SET
             rx_bytes = max(rx_bytes + ?3, 0), tx_bytes = max(tx_bytes + ?4, 0),
             max_connections = max(max_connections, ?5), sessions = max(sessions + ?6, 0)"
    );
    transaction.prepare_cached(&sql)?.execute(params![
        period,
        history.0,
        change.rx_bytes,
        change.tx_bytes,
        change.max_connections.cast_signed(),
        change.sessions,
        !change.only_takes(),
    ])?;
    Ok(())
}

/// Moves the key's total, and the baseline of its current figures along with it.
fn change_total(
    transaction: &Transaction<'_>,
    id: KeyId,
    figures: &mut Figures,
    change: &Change,
    last_activity: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    for traffic in [&mut figures.booked.traffic, &mut figures.baseline] {
        traffic.rx_bytes = traffic.rx_bytes.saturating_add_signed(change.rx_bytes);
        traffic.tx_bytes = traffic.tx_bytes.saturating_add_signed(change.tx_bytes);
    }
    let booked = &mut figures.booked;
    booked.sessions = booked.sessions.saturating_add_signed(change.sessions);
    booked.max_connections = booked.max_connections.max(change.max_connections);
    booked.last_activity = booked.last_activity.max(last_activity);
    let history = &mut figures.history;
    history.max_connections = history.max_connections.max(change.max_connections);
    history.last_activity = history.last_activity.max(last_activity);

    ledger::set_baseline(transaction, id, figures.baseline)?;
    let mut statement = transaction.prepare_cached(
        "UPDATE key_totals SET rx_bytes = ?2, tx_bytes = ?3, sessions = ?4, max_connections = ?5,
             last_activity_micros = ?6, history_max_connections = ?7, history_last_activity_micros = ?8
         WHERE key_id = ?1",
    )?;
    let micros = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_micros());
    let changed = statement.execute(params![
        id.0.to_string(),
        figures.booked.traffic.rx_bytes.cast_signed(),
        figures.booked.traffic.tx_bytes.cast_signed(),
        figures.booked.sessions.cast_signed(),
        figures.booked.max_connections.cast_signed(),
        micros(figures.booked.last_activity),
        figures.history.max_connections.cast_signed(),
        micros(figures.history.last_activity),
    ])?;
    match changed {
        1 => Ok(()),
        _ => Err(rusqlite::Error::StatementChangedRows(changed).into()),
    }
}

fn append_event(transaction: &Transaction<'_>, decision: &Decision, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let sources: BTreeSet<&str> = decision
        .bookings
        .iter()
        .map(|booking| booking.source.as_str())
        .collect();
    let mut message = format!(
        "{} keys were made, {} histories booked",
        decision.new_keys.len(),
        decision.bookings.len()
    );
    for (place, source) in sources.into_iter().enumerate() {
        message.push_str(if place == 0 { " from " } else { ", " });
        message.push_str(source);
    }
    let event = NewEvent {
        kind: EventKind::Collector,
        action: "import",
        message,
        ..NewEvent::default()
    };
    events::append(transaction, now, &event)
}
