//! Periods for an export: what is committed, of the keys there are, each with the history that is shown.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use rusqlite::{Connection, params};

use super::columns::tally;
use super::open;
use super::outside::{OutsideReader, ReadError};
use super::series::{Granularity, Range};
use super::snapshot::HistoryId;
use crate::calendar::{Day, Hour, Minute, Month};
use crate::ledger::Tally;
use crate::transfer::export::Row;

/// Why an export did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no ledger.
    #[error("there is no ledger in {0}: name the agent's data folder with --data-dir")]
    NoLedger(String),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row could not be handed over.
    #[error("the rows cannot be written")]
    Write(#[source] io::Error),
}

/// A ledger that is exported from.
pub struct LedgerExport {
    reader: OutsideReader,
    path: std::path::PathBuf,
}

/// What is the same in every row of a key.
struct RowKey {
    id: String,
    uuid: String,
    name: String,
    port: Option<u16>,
}

impl LedgerExport {
    /// Opens the ledger in `folder`, beside an agent that may be writing to it.
    pub fn open(folder: &Path) -> Result<Self, ExportError> {
        let reader = OutsideReader::open(folder)?;
        Ok(Self {
            reader: reader.ok_or_else(|| ExportError::NoLedger(folder.display().to_string()))?,
            path: folder.join(open::FILE_NAME),
        })
    }

    /// Hands over every row of a range, by period, oldest first; `begin` hears before how many there are at most.
    pub fn rows(
        &mut self,
        granularity: Granularity,
        range: Range,
        begin: impl FnOnce(u64),
        mut each: impl FnMut(Row) -> io::Result<()>,
    ) -> Result<(), ExportError> {
        let path = self.path.clone();
        let unreadable = move |error| ExportError::Read(open::damaged_or(error, &path).into());
        self.reader.read(|transaction| {
            let keys = keys(transaction).map_err(&unreadable)?;
            begin(count(transaction, granularity, range).map_err(&unreadable)?);
            let sql = sql(
                granularity,
                "SELECT {period}, history_id, rx_bytes, rx_packets, tx_bytes, tx_packets, connections_opened,
                        max_connections, sessions, last_activity_seconds
                 FROM {rows} WHERE {period} BETWEEN ?1 AND ?2 ORDER BY {period}, history_id",
            );
            let mut statement = transaction.prepare(&sql).map_err(&unreadable)?;
            let mut rows = statement.query(params![range.first, range.last]).map_err(&unreadable)?;
            while let Some(row) = rows.next().map_err(&unreadable)? {
                let read = || Ok((row.get(0)?, HistoryId(row.get(1)?), tally(row, 2)?));
                let (period, history, tally) = read().map_err(&unreadable)?;
                if let Some(key) = keys.get(&history) {
                    each(export_row(granularity, period, key, &tally)).map_err(ExportError::Write)?;
                }
            }
            Ok(())
        })
    }
}

fn sql(granularity: Granularity, text: &str) -> String {
    text.replace("{rows}", granularity.table())
        .replace("{period}", granularity.column())
}

fn count(connection: &Connection, granularity: Granularity, range: Range) -> rusqlite::Result<u64> {
    let sql = sql(
        granularity,
        "SELECT count(*) FROM {rows} WHERE {period} BETWEEN ?1 AND ?2",
    );
    connection.query_row(&sql, params![range.first, range.last], |row| {
        row.get::<_, i64>(0).map(i64::cast_unsigned)
    })
}

/// The keys by the history that is shown of each.
fn keys(connection: &Connection) -> rusqlite::Result<HashMap<HistoryId, RowKey>> {
    let mut statement = connection.prepare(
        "SELECT max(histories.id), keys.id, uuid, name, port FROM keys
         JOIN histories ON histories.key_id = keys.id
         LEFT JOIN port_assignments ON port_assignments.key_id = keys.id
         GROUP BY keys.id",
    )?;
    let keys = statement.query_map([], |row| {
        let key = RowKey {
            id: row.get(1)?,
            uuid: row.get(2)?,
            name: row.get(3)?,
            port: row.get(4)?,
        };
        Ok((HistoryId(row.get(0)?), key))
    })?;
    keys.collect()
}

fn export_row(granularity: Granularity, period: i64, key: &RowKey, tally: &Tally) -> Row {
    let small = i32::try_from(period).unwrap_or_default();
    let period_start = match granularity {
        Granularity::Minute => Minute(period).to_string(),
        Granularity::Hour => Hour(period).to_string(),
        Granularity::Day => Day(small).to_string(),
        Granularity::Month => Month(small).to_string(),
    };
    Row {
        granularity: granularity.column(),
        period_start,
        key_id: key.id.clone(),
        key_uuid: key.uuid.clone(),
        key_name: key.name.clone(),
        port: key.port,
        rx_bytes: tally.traffic.rx_bytes,
        tx_bytes: tally.traffic.tx_bytes,
        rx_packets: tally.traffic.rx_packets,
        tx_packets: tally.traffic.tx_packets,
        connections_opened: tally.traffic.connections_opened,
        max_connections: tally.max_connections,
        sessions: tally.sessions,
        last_activity: tally.last_activity,
    }
}
