//! Reading the periods' rows: of one key, of every key, of all together.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, params};

use super::columns::{TALLY_COLUMNS, tally, unsigned};
use super::snapshot::HistoryId;
use crate::ledger::Tally;

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Calendar days.
    Day,
    /// Calendar months.
    Month,
}

impl Granularity {
    /// Every granularity, finest first.
    pub const ALL: [Self; 4] = [Self::Minute, Self::Hour, Self::Day, Self::Month];

    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Minute => "minute_rows",
            Self::Hour => "hour_rows",
            Self::Day => "day_rows",
            Self::Month => "month_rows",
        }
    }

    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    fn sql(self, text: &str) -> String {
        text.replace("{rows}", self.table()).replace("{period}", self.column())
    }
}

/// Periods as numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

impl Range {
    /// Whether a period is in it.
    pub fn contains(self, period: i64) -> bool {
        (self.first..=self.last).contains(&period)
    }
}

/// A history's periods in a range, oldest first, at most `limit`. The periods that there are at all are walked through
/// one by one, each with one search for the history's row: a year of days takes two searches a day.
pub(super) fn of_history(
    connection: &Connection,
    granularity: Granularity,
    history: HistoryId,
    range: Range,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, Tally)>> {
    let sql = granularity.sql(
        "WITH RECURSIVE present (period) AS (
             SELECT min({period}) FROM {rows} WHERE {period} >= ?1
             UNION ALL
             SELECT (SELECT min({period}) FROM {rows} WHERE {period} > present.period) FROM present
             WHERE present.period < ?2
         )
         SELECT present.period, {figures} FROM present
         JOIN {rows} ON {rows}.{period} = present.period AND history_id = ?3
         WHERE present.period <= ?2 LIMIT ?4",
    );
    let mut statement = connection.prepare_cached(&sql.replace("{figures}", TALLY_COLUMNS))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    statement
        .query_map(params![range.first, range.last, history.0, limit], |row| {
            Ok((row.get(0)?, tally(row, 1)?))
        })?
        .collect()
}

/// Rows of every history in a range after a position, by period and history, at most `limit`.
pub(super) fn of_each(
    connection: &Connection,
    granularity: Granularity,
    range: Range,
    after: Option<(i64, HistoryId)>,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, HistoryId, Tally)>> {
    let sql = granularity.sql(
        "SELECT {period}, history_id, {figures} FROM {rows}
         WHERE ({period}, history_id) > (?1, ?2) AND {period} <= ?3 ORDER BY {period}, history_id LIMIT ?4",
    );
    let mut statement = connection.prepare_cached(&sql.replace("{figures}", TALLY_COLUMNS))?;
    // No history has a number below 1.
    let (period, history) = after.unwrap_or((range.first, HistoryId(0)));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    statement
        .query_map(params![period, history.0, range.last, limit], |row| {
            Ok((row.get(0)?, HistoryId(row.get(1)?), tally(row, 2)?))
        })?
        .collect()
}

/// All keys together, deleted ones and what was before resets included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Together {
    /// The sum; its `max_connections` is the highest of one key.
    pub tally: Tally,
    /// Keys with a session or a byte.
    pub active_keys: u64,
}

/// The periods of all keys together in a range, oldest first, at most `limit`.
pub(super) fn of_all(
    connection: &Connection,
    granularity: Granularity,
    range: Range,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, Together)>> {
    let sql = granularity.sql(
        "SELECT {period}, sum(rows.rx_bytes), sum(rows.rx_packets), sum(rows.tx_bytes), sum(rows.tx_packets),
                sum(rows.connections_opened), max(max_connections), sum(rows.sessions), max(last_activity_seconds),
                count(DISTINCT CASE WHEN rows.sessions > 0 OR rows.rx_bytes + rows.tx_bytes > 0 THEN key_id END)
         FROM {rows} AS rows JOIN histories ON histories.id = history_id
         WHERE {period} BETWEEN ?1 AND ?2 GROUP BY {period} ORDER BY {period} LIMIT ?3",
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    statement
        .query_map(params![range.first, range.last, limit], |row| {
            let together = Together {
                tally: tally(row, 1)?,
                active_keys: unsigned(row, 9)?,
            };
            Ok((row.get(0)?, together))
        })?
        .collect()
}

/// The ids, as text, of keys with a session or a byte in a period.
pub(super) fn active_keys(
    connection: &Connection,
    granularity: Granularity,
    period: i64,
) -> rusqlite::Result<HashSet<String>> {
    let sql = granularity.sql(
        "SELECT DISTINCT key_id FROM {rows} AS rows JOIN histories ON histories.id = history_id
         WHERE {period} = ?1 AND (rows.sessions > 0 OR rows.rx_bytes + rows.tx_bytes > 0)",
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([period], |row| row.get(0))?.collect()
}

/// How many days of each history have a session or a byte, and the first of them.
pub(super) fn active_days(connection: &Connection) -> rusqlite::Result<HashMap<HistoryId, (u32, i64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT history_id, count(*), min(day) FROM day_rows WHERE sessions > 0 OR rx_bytes + tx_bytes > 0
         GROUP BY history_id",
    )?;
    statement
        .query_map([], |row| Ok((HistoryId(row.get(0)?), (row.get(1)?, row.get(2)?))))?
        .collect()
}

/// Which histories have a session or a byte on which of these days.
pub(super) fn active_on(connection: &Connection, days: Range) -> rusqlite::Result<HashSet<(HistoryId, i64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT history_id, day FROM day_rows
         WHERE day BETWEEN ?1 AND ?2 AND (sessions > 0 OR rx_bytes + tx_bytes > 0)",
    )?;
    statement
        .query_map(params![days.first, days.last], |row| {
            Ok((HistoryId(row.get(0)?), row.get(1)?))
        })?
        .collect()
}

/// Each history's bytes and highest number of connections over a range.
pub(super) fn by_history(
    connection: &Connection,
    granularity: Granularity,
    range: Range,
) -> rusqlite::Result<BTreeMap<HistoryId, Tally>> {
    let sql = granularity.sql(
        "SELECT history_id, sum(rx_bytes), sum(rx_packets), sum(tx_bytes), sum(tx_packets), sum(connections_opened),
                max(max_connections), sum(sessions), max(last_activity_seconds)
         FROM {rows} WHERE {period} BETWEEN ?1 AND ?2 GROUP BY history_id",
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_map(params![range.first, range.last], |row| {
            Ok((HistoryId(row.get(0)?), tally(row, 1)?))
        })?
        .collect()
}

/// All keys together by minute, for live views.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MinuteTotal {
    /// Bytes moved, both directions.
    pub total_bytes: u64,
    /// Most connections at one sample.
    pub max_connections: u64,
    /// Most keys with a connection at one sample.
    pub max_online_keys: u64,
}

/// The minutes of a range that have something.
pub(super) fn minute_totals(connection: &Connection, range: Range) -> rusqlite::Result<Vec<(i64, MinuteTotal)>> {
    let mut statement = connection.prepare_cached(
        "SELECT minute, total_bytes, max_connections, max_online_keys FROM minute_totals
         WHERE minute BETWEEN ?1 AND ?2 ORDER BY minute",
    )?;
    statement
        .query_map(params![range.first, range.last], |row| {
            let total = MinuteTotal {
                total_bytes: unsigned(row, 1)?,
                max_connections: unsigned(row, 2)?,
                max_online_keys: unsigned(row, 3)?,
            };
            Ok((row.get(0)?, total))
        })?
        .collect()
}

/// The oldest period that has a row; `None` when there is none.
pub(super) fn oldest(connection: &Connection, granularity: Granularity) -> rusqlite::Result<Option<i64>> {
    let sql = granularity.sql("SELECT min({period}) FROM {rows}");
    connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))
}

/// The newest period that has a row; `None` when there is none.
pub(super) fn newest(connection: &Connection, granularity: Granularity) -> rusqlite::Result<Option<i64>> {
    let sql = granularity.sql("SELECT max({period}) FROM {rows}");
    connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))
}

/// Removes up to `limit` rows of periods before `first_kept`, oldest first; gives how many.
pub(super) fn remove_before(
    connection: &Connection,
    granularity: Granularity,
    first_kept: i64,
    limit: usize,
) -> rusqlite::Result<usize> {
    let sql = granularity.sql(
        "DELETE FROM {rows} WHERE ({period}, history_id) IN
             (SELECT {period}, history_id FROM {rows} WHERE {period} < ?1 ORDER BY {period}, history_id LIMIT ?2)",
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection.prepare_cached(&sql)?.execute(params![first_kept, limit])
}
