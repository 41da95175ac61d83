//! Booking: what is new in each counter goes to the key that has the port, once, together with the checkpoint.

use std::collections::HashMap;

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::snapshot::KeyId;
use crate::counters::{Counter, MapLifeId};

/// What the maps say about where they come from.
#[derive(Debug, Clone)]
pub struct LifeOrigin {
    /// The ledger that books this life. Under another one its first reading is the checkpoint.
    pub ledger_id: Uuid,
    /// The boot in which the maps were made; they do not outlive it.
    pub boot_id: Uuid,
}

/// One port's step: what to book to whom, and the checkpoint that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Booking {
    pub(super) port: u16,
    pub(super) key: Option<KeyId>,
    pub(super) delta: Counter,
    pub(super) checkpoint: Counter,
}

/// What there is to book for a port; `None` when nothing is new. A counter that went down within one life is an
/// error of the machine, not traffic: nothing is booked and the checkpoint stays.
pub(super) fn booking(port: u16, key: Option<KeyId>, checkpoint: Counter, counter: Counter) -> Option<Booking> {
    match counter.since(checkpoint) {
        Some(delta) if delta == Counter::default() => None,
        Some(delta) => Some(Booking {
            port,
            key,
            delta,
            checkpoint: counter,
        }),
        None => {
            tracing::error!(
                port,
                ?counter,
                ?checkpoint,
                "a kernel counter went down; nothing is booked for this port"
            );
            None
        }
    }
}

/// Writes a booking; the caller's transaction makes it one with the others.
pub(super) fn write(connection: &Connection, life: MapLifeId, booking: &Booking) -> rusqlite::Result<()> {
    match booking.key {
        Some(id) => add_to_key(connection, id, booking.delta)?,
        None => add_to_port(connection, booking.port, booking.delta)?,
    }
    write_checkpoint(connection, life, booking.port, booking.checkpoint)
}

fn add_to_key(connection: &Connection, id: KeyId, delta: Counter) -> rusqlite::Result<()> {
    let sql = "UPDATE key_totals SET rx_bytes = rx_bytes + ?2, rx_packets = rx_packets + ?3,
                   tx_bytes = tx_bytes + ?4, tx_packets = tx_packets + ?5,
                   connections_opened = connections_opened + ?6 WHERE key_id = ?1";
    let figures = columns(delta);
    let changed = connection.prepare_cached(sql)?.execute(params![
        id.0.to_string(),
        figures[0],
        figures[1],
        figures[2],
        figures[3],
        figures[4]
    ])?;
    // A booking that found no row would be a byte lost in silence.
    if changed == 1 {
        Ok(())
    } else {
        Err(rusqlite::Error::StatementChangedRows(changed))
    }
}

fn add_to_port(connection: &Connection, port: u16, delta: Counter) -> rusqlite::Result<()> {
    let sql = "INSERT INTO port_totals (port, rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (port) DO UPDATE SET rx_bytes = rx_bytes + excluded.rx_bytes,
                   rx_packets = rx_packets + excluded.rx_packets, tx_bytes = tx_bytes + excluded.tx_bytes,
                   tx_packets = tx_packets + excluded.tx_packets,
                   connections_opened = connections_opened + excluded.connections_opened";
    let figures = columns(delta);
    connection.prepare_cached(sql)?.execute(params![
        port, figures[0], figures[1], figures[2], figures[3], figures[4]
    ])?;
    Ok(())
}

/// Stores the counter up to which a port is booked.
pub(super) fn write_checkpoint(
    connection: &Connection,
    life: MapLifeId,
    port: u16,
    checkpoint: Counter,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO checkpoints
                   (map_life, port, rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let figures = columns(checkpoint);
    connection.prepare_cached(sql)?.execute(params![
        life.0.to_string(),
        port,
        figures[0],
        figures[1],
        figures[2],
        figures[3],
        figures[4]
    ])?;
    Ok(())
}

/// Takes up a map life and drops those of earlier boots, whose maps are gone for certain.
pub(super) fn enter_life(connection: &Connection, life: MapLifeId, origin: &LifeOrigin) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM map_lives WHERE boot_id <> ?1",
        [origin.boot_id.to_string()],
    )?;
    connection.execute(
        "INSERT OR IGNORE INTO map_lives (id, boot_id) VALUES (?1, ?2)",
        [life.0.to_string(), origin.boot_id.to_string()],
    )?;
    Ok(())
}

/// The checkpoints of a life; a port without one stands at zero.
pub(super) fn checkpoints(connection: &Connection, life: MapLifeId) -> rusqlite::Result<HashMap<u16, Counter>> {
    let mut statement = connection.prepare(
        "SELECT port, rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened
         FROM checkpoints WHERE map_life = ?1",
    )?;
    statement
        .query_map([life.0.to_string()], |row| Ok((row.get(0)?, counter(row, 1)?)))?
        .collect()
}

/// Each key's booked total and the baseline of its current figures.
pub(super) fn totals_and_baselines(connection: &Connection) -> rusqlite::Result<HashMap<String, (Counter, Counter)>> {
    let mut statement = connection.prepare(
        "SELECT totals.key_id, totals.rx_bytes, totals.rx_packets, totals.tx_bytes, totals.tx_packets,
                totals.connections_opened,
                baselines.rx_bytes, baselines.rx_packets, baselines.tx_bytes, baselines.tx_packets,
                baselines.connections_opened
         FROM key_totals AS totals JOIN key_baselines AS baselines USING (key_id)",
    )?;
    statement
        .query_map([], |row| Ok((row.get(0)?, (counter(row, 1)?, counter(row, 6)?))))?
        .collect()
}

/// Makes the key's present total the zero of its current figures.
pub(super) fn set_baseline(connection: &Connection, id: KeyId) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE key_baselines SET (rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened) =
             (SELECT rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened
              FROM key_totals WHERE key_totals.key_id = ?1)
         WHERE key_id = ?1",
        [id.0.to_string()],
    )?;
    Ok(())
}

/// Keeps a key's total in the sum over deleted keys.
pub(super) fn retire_total(connection: &Connection, id: KeyId) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE deleted_key_totals SET
             rx_bytes = deleted_key_totals.rx_bytes + totals.rx_bytes,
             rx_packets = deleted_key_totals.rx_packets + totals.rx_packets,
             tx_bytes = deleted_key_totals.tx_bytes + totals.tx_bytes,
             tx_packets = deleted_key_totals.tx_packets + totals.tx_packets,
             connections_opened = deleted_key_totals.connections_opened + totals.connections_opened
         FROM key_totals AS totals WHERE totals.key_id = ?1",
        [id.0.to_string()],
    )?;
    Ok(())
}

/// SQLite's integers are signed; a counter that passed 2^63 bytes would need 90 years at 100 Gbit/s.
fn columns(counter: Counter) -> [i64; 5] {
    [
        counter.rx_bytes,
        counter.rx_packets,
        counter.tx_bytes,
        counter.tx_packets,
        counter.connections_opened,
    ]
    .map(u64::cast_signed)
}

fn counter(row: &Row<'_>, first: usize) -> rusqlite::Result<Counter> {
    let figure = |offset: usize| row.get::<_, i64>(first + offset).map(i64::cast_unsigned);
    Ok(Counter {
        rx_bytes: figure(0)?,
        rx_packets: figure(1)?,
        tx_bytes: figure(2)?,
        tx_packets: figure(3)?,
        connections_opened: figure(4)?,
    })
}
