//! Booking: what is new goes to the key that has the port, into its minute, hour, day, month and cycle, once, together
//! with the checkpoint.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, params};
use uuid::Uuid;

use super::columns::{columns, counter, optional_time, unsigned};
use super::snapshot::{Figures, History, HistoryId, KeyId};
use super::{Entry, keys};
use crate::calendar::{Calendar, Minute};
use crate::counters::{Counter, MapLifeId};
use crate::ledger::{MinuteTally, Peak, Tally};

/// What the maps say about where they come from.
#[derive(Debug, Clone)]
pub struct LifeOrigin {
    /// The ledger that books this life. Under another one its first reading is the checkpoint.
    pub ledger_id: Uuid,
    /// The boot in which the maps were made; they do not outlive it.
    pub boot_id: Uuid,
}

/// Adds to a period's row; `:` stands for what the tables differ in.
macro_rules! add_to_period {
    ($table:literal, $period:literal $(, $column:literal, $parameter:literal)?) => {
        concat!(
            "INSERT INTO ", $table, " (", $period, ", history_id, rx_bytes, rx_packets, tx_bytes, tx_packets,
                 connections_opened, max_connections, sessions, last_activity_seconds" $(, ", ", $column)?, ")
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10" $(, ", ", $parameter)?, ")
             ON CONFLICT (", $period, ", history_id) DO UPDATE SET
                 rx_bytes = rx_bytes + excluded.rx_bytes, rx_packets = rx_packets + excluded.rx_packets,
                 tx_bytes = tx_bytes + excluded.tx_bytes, tx_packets = tx_packets + excluded.tx_packets,
                 connections_opened = connections_opened + excluded.connections_opened,
                 max_connections = max(max_connections, excluded.max_connections),
                 sessions = sessions + excluded.sessions,
                 last_activity_seconds = max(ifnull(last_activity_seconds, excluded.last_activity_seconds),
                                             excluded.last_activity_seconds)"
            $(, ", ", $column, " = excluded.", $column)?
        )
    };
}

const ADD_TO_MINUTE: &str = add_to_period!("minute_rows", "minute", "sequence", "?11");
const ADD_TO_HOUR: &str = add_to_period!("hour_rows", "hour");
const ADD_TO_DAY: &str = add_to_period!("day_rows", "day");
const ADD_TO_MONTH: &str = add_to_period!("month_rows", "month");

const ADD_TO_CYCLE: &str = "
    INSERT INTO cycle_rows (key_id, start, end, rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened,
        max_connections, sessions, last_activity_seconds)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (key_id, start) DO UPDATE SET end = excluded.end,
        rx_bytes = rx_bytes + excluded.rx_bytes, rx_packets = rx_packets + excluded.rx_packets,
        tx_bytes = tx_bytes + excluded.tx_bytes, tx_packets = tx_packets + excluded.tx_packets,
        connections_opened = connections_opened + excluded.connections_opened,
        max_connections = max(max_connections, excluded.max_connections), sessions = sessions + excluded.sessions,
        last_activity_seconds = max(ifnull(last_activity_seconds, excluded.last_activity_seconds),
                                    excluded.last_activity_seconds)";

/// As absolute figures: the snapshot has them, and they are written by nobody else.
const SET_TOTAL: &str = "
    UPDATE key_totals SET rx_bytes = ?2, rx_packets = ?3, tx_bytes = ?4, tx_packets = ?5, connections_opened = ?6,
        max_connections = ?7, sessions = ?8, last_activity_micros = ?9, is_connected = ifnull(?10, is_connected),
        history_max_connections = ?11, history_last_activity_micros = ?12
    WHERE key_id = ?1";

const ADD_TO_PORT: &str = "
    INSERT INTO port_totals (port, rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (port) DO UPDATE SET rx_bytes = rx_bytes + excluded.rx_bytes,
        rx_packets = rx_packets + excluded.rx_packets, tx_bytes = tx_bytes + excluded.tx_bytes,
        tx_packets = tx_packets + excluded.tx_packets,
        connections_opened = connections_opened + excluded.connections_opened";

const SET_CHECKPOINT: &str = "
    INSERT OR REPLACE INTO checkpoints
        (map_life, port, rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const ADD_TO_MINUTE_TOTAL: &str = "
    INSERT INTO minute_totals (minute, total_bytes, max_connections, max_online_keys) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (minute) DO UPDATE SET total_bytes = total_bytes + excluded.total_bytes,
        max_connections = max(max_connections, excluded.max_connections),
        max_online_keys = max(max_online_keys, excluded.max_online_keys)";

/// Writes bookings within one transaction; every statement is prepared once.
pub(super) struct Booker<'a> {
    calendar: &'a Calendar,
    sequence: i64,
    minute: CachedStatement<'a>,
    hour: CachedStatement<'a>,
    day: CachedStatement<'a>,
    month: CachedStatement<'a>,
    cycle: CachedStatement<'a>,
    total: CachedStatement<'a>,
    port: CachedStatement<'a>,
    minute_total: CachedStatement<'a>,
    /// Bytes of keys by minute, for the minutes' totals.
    key_bytes: HashMap<Minute, u64>,
    /// Hour, day and month of the minutes met so far: the same few for every key.
    periods: HashMap<Minute, [i64; 3]>,
}

impl<'a> Booker<'a> {
    pub(super) fn new(connection: &'a Connection, calendar: &'a Calendar, sequence: u64) -> rusqlite::Result<Self> {
        Ok(Self {
            calendar,
            sequence: sequence.cast_signed(),
            minute: connection.prepare_cached(ADD_TO_MINUTE)?,
            hour: connection.prepare_cached(ADD_TO_HOUR)?,
            day: connection.prepare_cached(ADD_TO_DAY)?,
            month: connection.prepare_cached(ADD_TO_MONTH)?,
            cycle: connection.prepare_cached(ADD_TO_CYCLE)?,
            total: connection.prepare_cached(SET_TOTAL)?,
            port: connection.prepare_cached(ADD_TO_PORT)?,
            minute_total: connection.prepare_cached(ADD_TO_MINUTE_TOTAL)?,
            key_bytes: HashMap::new(),
            periods: HashMap::new(),
        })
    }

    /// Books minutes to a key, in the tables and in its entry of the next snapshot. `is_connected` is `None` where the
    /// caller does not know.
    pub(super) fn book_key(
        &mut self,
        entry: &mut Entry,
        minutes: &[MinuteTally],
        is_connected: Option<bool>,
    ) -> rusqlite::Result<()> {
        for one in minutes {
            self.book_minute(entry, one)?;
            entry.figures.book(&one.tally);
        }
        self.write_total(entry.key.id, &entry.figures, is_connected)
    }

    fn book_minute(&mut self, entry: &Entry, one: &MinuteTally) -> rusqlite::Result<()> {
        let MinuteTally { minute, tally } = one;
        let history = entry.figures.history.id.0;
        let [rx_bytes, rx_packets, tx_bytes, tx_packets, opened] = columns(tally.traffic);
        let (connections, sessions) = (tally.max_connections.cast_signed(), tally.sessions.cast_signed());
        let last = tally.last_activity.map(|at| at.timestamp());
        let calendar = self.calendar;
        let [hour, day, month] = *self
            .periods
            .entry(*minute)
            .or_insert_with(|| periods(calendar, *minute));
        self.minute.execute(params![
            minute.0,
            history,
            rx_bytes,
            rx_packets,
            tx_bytes,
            tx_packets,
            opened,
            connections,
            sessions,
            last,
            self.sequence
        ])?;
        for (statement, period) in [(&mut self.hour, hour), (&mut self.day, day), (&mut self.month, month)] {
            statement.execute(params![
                period,
                history,
                rx_bytes,
                rx_packets,
                tx_bytes,
                tx_packets,
                opened,
                connections,
                sessions,
                last
            ])?;
        }
        if let Some(cycle) = &entry.key.cycle {
            let span = cycle.cycle_at(minute.start());
            self.cycle.execute(params![
                entry.key.id.0.to_string(),
                span.start.timestamp(),
                span.end.timestamp(),
                rx_bytes,
                rx_packets,
                tx_bytes,
                tx_packets,
                opened,
                connections,
                sessions,
                last
            ])?;
        }
        *self.key_bytes.entry(*minute).or_default() += tally.traffic.total_bytes();
        Ok(())
    }

    fn write_total(&mut self, id: KeyId, figures: &Figures, is_connected: Option<bool>) -> rusqlite::Result<()> {
        let [rx_bytes, rx_packets, tx_bytes, tx_packets, opened] = columns(figures.booked.traffic);
        let changed = self.total.execute(params![
            id.0.to_string(),
            rx_bytes,
            rx_packets,
            tx_bytes,
            tx_packets,
            opened,
            figures.booked.max_connections.cast_signed(),
            figures.booked.sessions.cast_signed(),
            figures.booked.last_activity.map(|at| at.timestamp_micros()),
            is_connected,
            figures.history.max_connections.cast_signed(),
            figures.history.last_activity.map(|at| at.timestamp_micros()),
        ])?;
        // A booking that found no row would be a byte lost in silence.
        if changed == 1 {
            Ok(())
        } else {
            Err(rusqlite::Error::StatementChangedRows(changed))
        }
    }

    /// Books what a port carried while no key had it.
    pub(super) fn book_port(&mut self, port: u16, tally: &Tally) -> rusqlite::Result<()> {
        let figures = columns(tally.traffic);
        self.port.execute(params![
            port, figures[0], figures[1], figures[2], figures[3], figures[4]
        ])?;
        Ok(())
    }

    /// Writes the minutes' totals over all keys; gives the earliest minute that was booked.
    pub(super) fn finish(mut self, peaks: &[(Minute, Peak)]) -> rusqlite::Result<Option<Minute>> {
        let first = self.key_bytes.keys().min().copied();
        for (minute, peak) in peaks {
            let bytes = self.key_bytes.remove(minute).unwrap_or_default();
            self.minute_total.execute(params![
                minute.0,
                bytes.cast_signed(),
                peak.connections.cast_signed(),
                peak.online_keys.cast_signed()
            ])?;
        }
        for (minute, bytes) in self.key_bytes {
            self.minute_total
                .execute(params![minute.0, bytes.cast_signed(), 0, 0])?;
        }
        Ok(first)
    }
}

fn periods(calendar: &Calendar, minute: Minute) -> [i64; 3] {
    let at = minute.start();
    [
        calendar.hour(at).0,
        calendar.day(at).0.into(),
        calendar.month(at).0.into(),
    ]
}

/// Stores the counters up to which ports are booked.
pub(super) fn write_checkpoints(
    connection: &Connection,
    life: MapLifeId,
    checkpoints: impl Iterator<Item = (u16, Counter)>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(SET_CHECKPOINT)?;
    let life = life.0.to_string();
    for (port, checkpoint) in checkpoints {
        let figures = columns(checkpoint);
        statement.execute(params![
            life, port, figures[0], figures[1], figures[2], figures[3], figures[4]
        ])?;
    }
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

/// A key's figures as the tables have them, its checkpoint left open, and whether it had a connection.
pub(super) struct StoredFigures {
    pub(super) figures: Figures,
    pub(super) is_connected: bool,
}

/// Every key's figures, by its id as text.
pub(super) fn figures(connection: &Connection) -> rusqlite::Result<HashMap<String, StoredFigures>> {
    let mut statement = connection.prepare(
        "SELECT totals.key_id, totals.rx_bytes, totals.rx_packets, totals.tx_bytes, totals.tx_packets,
                totals.connections_opened, totals.max_connections, totals.sessions, totals.last_activity_micros,
                totals.is_connected, totals.history_max_connections, totals.history_last_activity_micros,
                baselines.rx_bytes, baselines.rx_packets, baselines.tx_bytes, baselines.tx_packets,
                baselines.connections_opened,
                histories.id, histories.began_at_micros, histories.rx_bytes, histories.rx_packets, histories.tx_bytes,
                histories.tx_packets, histories.connections_opened, histories.sessions
         FROM key_totals AS totals
         JOIN key_baselines AS baselines USING (key_id)
         JOIN (SELECT key_id, max(id) AS id FROM histories GROUP BY key_id) AS newest USING (key_id)
         JOIN histories ON histories.id = newest.id",
    )?;
    let stored = statement.query_map([], |row| {
        let figures = Figures {
            booked: Tally {
                traffic: counter(row, 1)?,
                max_connections: unsigned(row, 6)?,
                sessions: unsigned(row, 7)?,
                last_activity: optional_time(row, 8)?,
            },
            checkpoint: Counter::default(),
            baseline: counter(row, 12)?,
            history: History {
                id: HistoryId(row.get(17)?),
                began_at: keys::time_from(row.get(18)?),
                baseline: counter(row, 19)?,
                baseline_sessions: unsigned(row, 24)?,
                max_connections: unsigned(row, 10)?,
                last_activity: optional_time(row, 11)?,
            },
        };
        let is_connected = row.get(9)?;
        Ok((row.get(0)?, StoredFigures { figures, is_connected }))
    })?;
    stored.collect()
}

/// Makes the key's present total the zero of its current figures.
pub(super) fn set_baseline(connection: &Connection, id: KeyId, baseline: Counter) -> rusqlite::Result<()> {
    let figures = columns(baseline);
    connection.execute(
        "UPDATE key_baselines SET rx_bytes = ?2, rx_packets = ?3, tx_bytes = ?4, tx_packets = ?5, connections_opened = ?6
         WHERE key_id = ?1",
        params![id.0.to_string(), figures[0], figures[1], figures[2], figures[3], figures[4]],
    )?;
    Ok(())
}

/// Begins a history at the key's present figures; gives its name.
pub(super) fn begin_history(connection: &Connection, id: KeyId, history: &History) -> rusqlite::Result<HistoryId> {
    let figures = columns(history.baseline);
    connection.execute(
        "INSERT INTO histories (key_id, began_at_micros, rx_bytes, rx_packets, tx_bytes, tx_packets,
             connections_opened, sessions)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            id.0.to_string(),
            history.began_at.timestamp_micros(),
            figures[0],
            figures[1],
            figures[2],
            figures[3],
            figures[4],
            history.baseline_sessions.cast_signed()
        ],
    )?;
    let name = HistoryId(connection.last_insert_rowid());
    connection.execute(
        "UPDATE key_totals SET history_max_connections = 0, history_last_activity_micros = NULL WHERE key_id = ?1",
        [id.0.to_string()],
    )?;
    Ok(name)
}

/// Keeps a key's total in the sum over deleted keys, and by itself for who follows the bookings.
pub(super) fn retire_total(connection: &Connection, id: KeyId, sequence: u64) -> rusqlite::Result<()> {
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
    connection.execute(
        "INSERT INTO deleted_keys
             SELECT key_id, ?2, rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened, max_connections,
                    sessions, last_activity_micros
             FROM key_totals WHERE key_id = ?1",
        params![id.0.to_string(), sequence.cast_signed()],
    )?;
    Ok(())
}
