//! Visited domains: how often each key asked for each, by day, where the operator has that recorded.
//!
//! What was read of the core's log and how far it was read are one transaction, so that a line counts once. A key has
//! so many domains a day and no more; what is beyond them counts as [`OTHER`], so that its share stays right.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use super::writer::Writer;
use super::{KeyId, Range, Store, StoreError};
use crate::calendar::Day;
use crate::xray::access_log::Place;

/// Most domains that a key has on a day: more than people visit, and few enough for a key that has been given away.
pub const DOMAINS_PER_DAY_MAX: usize = 1_000;

/// Stands for the domains beyond; no domain is written like this.
pub const OTHER: &str = "(other)";

/// Connections by day, key's VLESS uuid and domain.
pub type Visits = BTreeMap<(Day, Uuid, String), u64>;

/// How often a key asked for a domain on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRow {
    /// The ledger's day.
    pub day: Day,
    /// The key.
    pub key_id: KeyId,
    /// The domain, or [`OTHER`].
    pub domain: String,
    /// Connections.
    pub connections: u64,
}

impl Store {
    /// Adds what was read of the log up to `place`, and forgets days before `first_kept`. Uuids that no key has are
    /// left out.
    pub async fn book_domains(&self, visits: Visits, place: Place, first_kept: Day) -> Result<(), StoreError> {
        self.call(move |writer| writer.book_domains(&visits, place, first_kept))
            .await
    }

    /// Removes every record of what was visited, in the file itself, too; whether there was any.
    pub async fn forget_domains(&self) -> Result<bool, StoreError> {
        self.call(Writer::forget_domains).await
    }

    /// How far the log was read; `None` when none was.
    pub async fn domain_log_place(&self) -> Result<Option<Place>, StoreError> {
        self.call(|writer| Ok(place(&writer.connection)?)).await
    }

    /// The rows of a range of days, of one key or of all, by day.
    pub async fn domains(self: &Arc<Self>, days: Range, key_id: Option<KeyId>) -> Result<Vec<DomainRow>, StoreError> {
        let store = Arc::clone(self);
        let reading = move || store.readers.read(|transaction| Ok(rows(transaction, days, key_id)?));
        tokio::task::spawn_blocking(reading)
            .await
            .map_err(|_| StoreError::Closed)?
    }
}

impl Writer {
    fn book_domains(&mut self, visits: &Visits, place: Place, first_kept: Day) -> Result<(), StoreError> {
        let snapshot = self.published.load_full();
        let ids: BTreeMap<Uuid, KeyId> = snapshot
            .entries
            .iter()
            .map(|entry| (entry.key.uuid, entry.key.id))
            .collect();
        let transaction = self.connection.transaction()?;
        for ((day, uuid, domain), connections) in visits {
            if let Some(id) = ids.get(uuid).filter(|_| *day >= first_kept) {
                add(&transaction, *day, *id, domain, *connections)?;
            }
        }
        transaction
            .prepare_cached("DELETE FROM domain_rows WHERE day < ?1")?
            .execute([first_kept.0])?;
        transaction
            .prepare_cached(
                "INSERT INTO domain_log (only_row, inode, position_bytes) VALUES (1, ?1, ?2)
                 ON CONFLICT DO UPDATE SET inode = excluded.inode, position_bytes = excluded.position_bytes",
            )?
            .execute(params![place.inode.cast_signed(), place.position_bytes.cast_signed()])?;
        transaction.commit()?;
        Ok(())
    }

    fn forget_domains(&mut self) -> Result<bool, StoreError> {
        let is_empty: bool = self.connection.query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM domain_rows) AND NOT EXISTS (SELECT 1 FROM domain_log)",
            [],
            |row| row.get(0),
        )?;
        if is_empty {
            return Ok(false);
        }
        // What is removed is overwritten, and the log of changes begins anew.
        self.connection.pragma_update(None, "secure_delete", true)?;
        let removed = self
            .connection
            .execute_batch("BEGIN; DELETE FROM domain_rows; DELETE FROM domain_log; COMMIT;");
        self.connection.pragma_update(None, "secure_delete", false)?;
        removed?;
        let truncated = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        if !matches!(truncated, Ok(0)) {
            tracing::warn!(
                "what was recorded of visited domains stays in the ledger's write-ahead log until it is reused"
            );
        }
        Ok(true)
    }
}

fn add(connection: &Connection, day: Day, id: KeyId, domain: &str, connections: u64) -> rusqlite::Result<()> {
    let id = id.0.to_string();
    let add = |domain: &str, only_known: bool| {
        connection
            .prepare_cached(if only_known {
                "UPDATE domain_rows SET connections = connections + ?4 WHERE day = ?1 AND key_id = ?2 AND domain = ?3"
            } else {
                "INSERT INTO domain_rows (day, key_id, domain, connections) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET connections = connections + excluded.connections"
            })?
            .execute(params![day.0, id, domain, connections.cast_signed()])
    };
    if add(domain, true)? > 0 {
        return Ok(());
    }
    let present: u32 = connection
        .prepare_cached("SELECT count(*) FROM domain_rows WHERE day = ?1 AND key_id = ?2 AND domain <> ?3")?
        .query_row(params![day.0, id, OTHER], |row| row.get(0))?;
    let domain = if (present as usize) < DOMAINS_PER_DAY_MAX {
        domain
    } else {
        OTHER
    };
    add(domain, false).map(drop)
}

fn place(connection: &Connection) -> rusqlite::Result<Option<Place>> {
    connection
        .query_row("SELECT inode, position_bytes FROM domain_log", [], |row| {
            Ok(Place {
                inode: row.get::<_, i64>(0)?.cast_unsigned(),
                position_bytes: row.get::<_, i64>(1)?.cast_unsigned(),
            })
        })
        .optional()
}

fn rows(connection: &Connection, days: Range, key_id: Option<KeyId>) -> rusqlite::Result<Vec<DomainRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT day, key_id, domain, connections FROM domain_rows
         WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR key_id = ?3) ORDER BY day, key_id, domain",
    )?;
    let key_id = key_id.map(|id| id.0.to_string());
    let rows = statement.query_map(params![days.first, days.last, key_id], |row| {
        let key_id: String = row.get(1)?;
        Ok(DomainRow {
            day: Day(row.get(0)?),
            key_id: KeyId(Uuid::try_parse(&key_id).map_err(|_| rusqlite::Error::InvalidQuery)?),
            domain: row.get(2)?,
            connections: row.get::<_, i64>(3)?.cast_unsigned(),
        })
    })?;
    rows.collect()
}
