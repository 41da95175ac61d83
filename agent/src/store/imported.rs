//! What imports have booked, and the keys they are about: looked up before a decision, noted after it.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, Transaction, params};
use uuid::Uuid;

use super::columns::unsigned;
use super::keys;
use super::snapshot::HistoryId;
use crate::calendar::{Day, Month};
use crate::transfer::import::{Booking, Figures, ImportPlan, Present, PresentImport, PresentKey};

/// What the ledger has of what a plan is about.
pub(super) fn present(connection: &Connection, plan: &ImportPlan) -> rusqlite::Result<Present> {
    let mut statement = connection.prepare(
        "SELECT keys.id, uuid, name, port, max(histories.id) FROM keys
         LEFT JOIN port_assignments ON port_assignments.key_id = keys.id
         LEFT JOIN histories ON histories.key_id = keys.id
         GROUP BY keys.id ORDER BY position",
    )?;
    let keys = statement.query_map([], |row| {
        Ok(PresentKey {
            id: keys::uuid_column(row, 0)?,
            uuid: keys::uuid_column(row, 1)?,
            name: row.get(2)?,
            port: row.get(3)?,
            history: HistoryId(row.get::<_, Option<i64>>(4)?.unwrap_or_default()),
        })
    })?;
    let mut present = Present {
        keys: keys.collect::<rusqlite::Result<_>>()?,
        imports: HashMap::new(),
    };
    let sources: BTreeSet<&str> = plan.histories.iter().map(|history| history.source.as_str()).collect();
    for source in sources {
        add_imports(connection, source, &mut present)?;
    }
    Ok(present)
}

fn add_imports(connection: &Connection, source: &str, present: &mut Present) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT id, granularity, period, history_id, rx_bytes, tx_bytes, max_connections, sessions
         FROM import_rows JOIN keys ON position = key_position WHERE source = ?1",
    )?;
    let mut rows = statement.query([source])?;
    while let Some(row) = rows.next()? {
        let place = (keys::uuid_column(row, 0)?, source.to_owned());
        let import: &mut PresentImport = present.imports.entry(place).or_default();
        let figures = Figures {
            rx_bytes: unsigned(row, 4)?,
            tx_bytes: unsigned(row, 5)?,
            max_connections: unsigned(row, 6)?,
            sessions: unsigned(row, 7)?,
        };
        match row.get_ref(1)?.as_str()? {
            "day" => {
                import.booked.days.insert(Day(row.get(2)?), figures);
            }
            "month" => {
                import.booked.months.insert(Month(row.get(2)?), figures);
            }
            _ => {
                import.booked.total = figures;
                import.history = HistoryId(row.get(3)?);
            }
        }
    }
    Ok(())
}

/// Notes what the source has booked now.
pub(super) fn note(
    transaction: &Transaction<'_>,
    booking: &Booking,
    key_uuid: Uuid,
    history: HistoryId,
) -> rusqlite::Result<()> {
    let (changes, booked) = (&booking.changes, &booking.booked);
    let days = changes
        .days
        .keys()
        .map(|day| ("day", i64::from(day.0), booked.days.get(day)));
    let months = changes
        .months
        .keys()
        .map(|month| ("month", i64::from(month.0), booked.months.get(month)));
    let total = std::iter::once(("total", 0, Some(&booked.total)));
    let mut statement = transaction.prepare_cached(
        "INSERT INTO import_rows (key_position, key_uuid, source, granularity, period, history_id, rx_bytes, tx_bytes,
                                  max_connections, sessions)
         VALUES ((SELECT position FROM keys WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (key_position, source, granularity, period) DO UPDATE SET rx_bytes = excluded.rx_bytes,
             tx_bytes = excluded.tx_bytes, max_connections = excluded.max_connections, sessions = excluded.sessions",
    )?;
    let (key_id, key_uuid) = (booking.key_id.to_string(), key_uuid.to_string());
    for (granularity, period, figures) in days.chain(months).chain(total) {
        let figures = figures.copied().unwrap_or_default();
        statement.execute(params![
            key_id,
            key_uuid,
            booking.source,
            granularity,
            period,
            history.0,
            figures.rx_bytes.cast_signed(),
            figures.tx_bytes.cast_signed(),
            figures.max_connections.cast_signed(),
            figures.sessions.cast_signed(),
        ])?;
    }
    Ok(())
}

/// Rows of deleted keys that had this uuid.
const DELETED: &str = "key_uuid = ?1 AND source = ?2 AND key_position NOT IN (SELECT position FROM keys)";

/// Takes back what the source has booked for deleted keys of this uuid: it comes to the key that is there now, and the
/// sums over all keys keep what deleted ones had.
pub(super) fn take_from_deleted(transaction: &Transaction<'_>, key_uuid: Uuid, source: &str) -> rusqlite::Result<()> {
    let of_whom = params![key_uuid.to_string(), source];
    for (table, period) in [("day_rows", "day"), ("month_rows", "month")] {
        let sql = format!(
            "UPDATE {table} SET rx_bytes = max({table}.rx_bytes - imported.rx_bytes, 0),
                 tx_bytes = max({table}.tx_bytes - imported.tx_bytes, 0),
                 sessions = max({table}.sessions - imported.sessions, 0)
             FROM (SELECT * FROM import_rows WHERE {DELETED} AND granularity = '{period}') AS imported
             WHERE {table}.{period} = imported.period AND {table}.history_id = imported.history_id"
        );
        transaction.prepare_cached(&sql)?.execute(of_whom)?;
    }
    let total = format!("SELECT ifnull(sum(COLUMN), 0) FROM import_rows WHERE {DELETED} AND granularity = 'total'");
    let (rx, tx) = (total.replace("COLUMN", "rx_bytes"), total.replace("COLUMN", "tx_bytes"));
    let sql = format!(
        "UPDATE deleted_key_totals SET rx_bytes = max(rx_bytes - ({rx}), 0), tx_bytes = max(tx_bytes - ({tx}), 0)"
    );
    transaction.prepare_cached(&sql)?.execute(of_whom)?;
    let sql = format!("DELETE FROM import_rows WHERE {DELETED}");
    transaction.prepare_cached(&sql)?.execute(of_whom)?;
    Ok(())
}
