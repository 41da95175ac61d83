//! Billing cycles: a key's usage by cycle, booked with its minutes, whatever history it has.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{TALLY_COLUMNS, columns, tally};
use super::series::{self, Granularity};
use super::snapshot::KeyId;
use crate::calendar::{Calendar, CycleSpan, Day};
use crate::ledger::Tally;

/// A cycle and what was moved in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CycleUsage {
    /// When the cycle is.
    pub span: CycleSpan,
    /// What was moved.
    pub usage: Tally,
}

/// A key's cycles, newest first.
pub(super) fn of_key(connection: &Connection, id: KeyId, limit: usize) -> rusqlite::Result<Vec<CycleUsage>> {
    let sql =
        format!("SELECT start, end, {TALLY_COLUMNS} FROM cycle_rows WHERE key_id = ?1 ORDER BY start DESC LIMIT ?2");
    let time = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&sql)?
        .query_map(params![id.0.to_string(), limit], |row| {
            let span = CycleSpan {
                start: time(row.get(0)?),
                end: time(row.get(1)?),
            };
            Ok(CycleUsage {
                span,
                usage: tally(row, 2)?,
            })
        })?
        .collect()
}

/// Begins to book a cycle that has been running for a while: it starts with what the ledger still knows of that time. A
/// row that the cycle has already stays when it has more.
pub(super) fn begin(connection: &Connection, calendar: &Calendar, id: KeyId, span: &CycleSpan) -> rusqlite::Result<()> {
    let known = known_usage(connection, calendar, id, span)?;
    let sql = format!("SELECT {TALLY_COLUMNS} FROM cycle_rows WHERE key_id = ?1 AND start = ?2");
    let present = connection
        .query_row(&sql, params![id.0.to_string(), span.start.timestamp()], |row| {
            tally(row, 0)
        })
        .optional()?;
    if present.is_some_and(|present| present.traffic.total_bytes() >= known.traffic.total_bytes()) {
        return Ok(());
    }
    let figures = columns(known.traffic);
    connection.execute(
        &format!(
            "INSERT OR REPLACE INTO cycle_rows (key_id, start, end, {TALLY_COLUMNS})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        ),
        params![
            id.0.to_string(),
            span.start.timestamp(),
            span.end.timestamp(),
            figures[0],
            figures[1],
            figures[2],
            figures[3],
            figures[4],
            known.max_connections.cast_signed(),
            known.sessions.cast_signed(),
            known.last_activity.map(|at| at.timestamp())
        ],
    )?;
    Ok(())
}

/// What a key moved in a cycle so far: by the minute where there are minutes, by the hour before these, by the day before
/// those. A coarser period counts where all of it lies in the cycle.
fn known_usage(connection: &Connection, calendar: &Calendar, id: KeyId, span: &CycleSpan) -> rusqlite::Result<Tally> {
    let of_key = |granularity, first, last| sum(connection, granularity, id, first, last);
    let (first_day, last_day) = (
        first_whole_day(calendar, span.start),
        first_whole_day(calendar, span.end) - 1,
    );
    let Some(oldest_minute) = series::oldest(connection, Granularity::Minute)? else {
        return of_key(Granularity::Day, first_day, last_day);
    };
    // The oldest hour that has minutes, and the oldest day that has hours, may have lost some of them.
    let hour = calendar.hour(time(oldest_minute * 60)).0;
    let minutes = of_key(Granularity::Minute, hour / 60, hour / 60 + 59)?;
    let is_whole = minutes.traffic == of_key(Granularity::Hour, hour, hour)?.traffic;
    let minutes_from = if is_whole { hour } else { hour + 3_600 };

    let oldest_hour = series::oldest(connection, Granularity::Hour)?.unwrap_or(hour);
    let day = calendar.day(time(oldest_hour));
    let (start, end) = (calendar.day_start(day), calendar.day_start(Day(day.0 + 1)));
    let hours = of_key(Granularity::Hour, start.timestamp(), end.timestamp() - 1)?;
    let is_whole = hours.traffic == of_key(Granularity::Day, day.0.into(), day.0.into())?.traffic;
    let hours_from = if is_whole { start } else { end }.timestamp().min(minutes_from);

    let (start_second, end_second) = (span.start.timestamp(), span.end.timestamp());
    let mut usage = of_key(
        Granularity::Minute,
        div_up(minutes_from.max(start_second), 60),
        div_up(end_second, 60) - 1,
    )?;
    let last_hour = (minutes_from - 1).min(end_second - 1);
    usage.add(&of_key(Granularity::Hour, hours_from.max(start_second), last_hour)?);
    let last_day = last_day.min(i64::from(calendar.day(time(hours_from)).0) - 1);
    usage.add(&of_key(Granularity::Day, first_day, last_day)?);
    Ok(usage)
}

fn sum(connection: &Connection, granularity: Granularity, id: KeyId, first: i64, last: i64) -> rusqlite::Result<Tally> {
    let (rows, period) = (granularity.table(), granularity.column());
    let sql = format!(
        "SELECT ifnull(sum(rows.rx_bytes), 0), ifnull(sum(rows.rx_packets), 0), ifnull(sum(rows.tx_bytes), 0),
                ifnull(sum(rows.tx_packets), 0), ifnull(sum(rows.connections_opened), 0),
                ifnull(max(max_connections), 0), ifnull(sum(rows.sessions), 0), max(last_activity_seconds)
         FROM {rows} AS rows JOIN histories ON histories.id = history_id
         WHERE key_id = ?1 AND {period} BETWEEN ?2 AND ?3"
    );
    connection
        .prepare_cached(&sql)?
        .query_row(params![id.0.to_string(), first, last], |row| tally(row, 0))
}

fn time(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn div_up(number: i64, unit: i64) -> i64 {
    number.div_euclid(unit) + i64::from(number.rem_euclid(unit) > 0)
}

/// The first day that begins at `from` or later.
fn first_whole_day(calendar: &Calendar, from: DateTime<Utc>) -> i64 {
    let day = calendar.day(from);
    i64::from(day.0) + i64::from(calendar.day_start(day) < from)
}
