//! Keys and port assignments as rows, and the rule that picks a port.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::identities;
use super::snapshot::{Key, KeyId, PortTableTimes};
use crate::calendar::BillingCycle;
use crate::xray::subscription::SubscriptionToken;

/// The lowest of `configured` that no key has and no program holds.
pub fn lowest_free_port(
    configured: impl IntoIterator<Item = u16>,
    assigned: &BTreeSet<u16>,
    held: &BTreeSet<u16>,
) -> Option<u16> {
    configured
        .into_iter()
        .find(|port| !assigned.contains(port) && !held.contains(port))
}

/// All keys in creation order.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Key>> {
    let mut statement = connection.prepare(&format!(
        "SELECT keys.id, uuid, name, is_active, created_at_micros, port, assigned_at_micros,
                cycle_rule, cycle_time_zone, subscription_token, alias, {}
         FROM keys LEFT JOIN port_assignments ON port_assignments.key_id = keys.id
                   LEFT JOIN reality_identities ON reality_identities.key_id = keys.id
         ORDER BY position",
        identities::COLUMNS
    ))?;
    statement.query_map([], key)?.collect()
}

/// Every key's place in the order of creation, which none has had before; in that order.
pub(super) fn positions(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare("SELECT position FROM keys ORDER BY position")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        id: KeyId(uuid_column(row, 0)?),
        uuid: uuid_column(row, 1)?,
        name: row.get(2)?,
        alias: row.get(10)?,
        is_active: row.get(3)?,
        created_at: time_from(row.get(4)?),
        port: row.get(5)?,
        assigned_at: row.get::<_, Option<i64>>(6)?.map(time_from),
        cycle: cycle(row)?,
        subscription_token: row.get::<_, Option<String>>(9)?.and_then(|text| text.parse().ok()),
        identity: identities::from_row(row, 11)?.map(Arc::new),
    })
}

fn cycle(row: &Row<'_>) -> rusqlite::Result<Option<BillingCycle>> {
    let (Some(rule), Some(zone)) = (row.get::<_, Option<String>>(7)?, row.get::<_, Option<String>>(8)?) else {
        return Ok(None);
    };
    let unreadable =
        |column, error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error);
    let rule = rule.parse().map_err(|error| unreadable(7, Box::from(error)))?;
    let zone = zone
        .parse::<chrono_tz::Tz>()
        .map_err(|error| unreadable(8, Box::from(error)))?;
    Ok(Some(BillingCycle { rule, zone }))
}

pub(super) fn uuid_column(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let text: String = row.get(column)?;
    Uuid::parse_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into()))
}

/// A time from its column; what no calendar holds is 1970.
pub(super) fn time_from(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// Makes a key's rows; gives its place in the order of creation.
pub(super) fn insert(connection: &Connection, key: &Key) -> rusqlite::Result<i64> {
    connection.execute(
        "INSERT INTO keys (id, uuid, name, is_active, created_at_micros, subscription_token, alias)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            key.id.0.to_string(),
            key.uuid.to_string(),
            key.name,
            key.is_active,
            key.created_at.timestamp_micros(),
            key.subscription_token.as_ref().map(SubscriptionToken::to_secret_text),
            key.alias,
        ],
    )?;
    let position = connection.last_insert_rowid();
    if let Some(identity) = &key.identity {
        identities::write(connection, Some(key.id), identity)?;
    }
    connection.execute("INSERT INTO key_totals (key_id) VALUES (?1)", [key.id.0.to_string()])?;
    connection.execute("INSERT INTO key_baselines (key_id) VALUES (?1)", [key.id.0.to_string()])?;
    Ok(position)
}

pub(super) fn update(connection: &Connection, key: &Key) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE keys SET uuid = ?2, name = ?3, is_active = ?4, subscription_token = ?5, alias = ?6 WHERE id = ?1",
        params![
            key.id.0.to_string(),
            key.uuid.to_string(),
            key.name,
            key.is_active,
            key.subscription_token.as_ref().map(SubscriptionToken::to_secret_text),
            key.alias,
        ],
    )?;
    Ok(())
}

pub(super) fn set_cycle(connection: &Connection, id: KeyId, cycle: Option<&BillingCycle>) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE keys SET cycle_rule = ?2, cycle_time_zone = ?3 WHERE id = ?1",
        params![
            id.0.to_string(),
            cycle.map(|cycle| cycle.rule.to_string()),
            cycle.map(|cycle| cycle.zone.name())
        ],
    )?;
    Ok(())
}

pub(super) fn delete(connection: &Connection, id: KeyId) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM keys WHERE id = ?1", [id.0.to_string()])?;
    Ok(())
}

pub(super) fn assign(connection: &Connection, id: KeyId, port: u16, at: DateTime<Utc>) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO port_assignments (port, key_id, assigned_at_micros) VALUES (?1, ?2, ?3)",
        params![port, id.0.to_string(), at.timestamp_micros()],
    )?;
    Ok(())
}

pub(super) fn clear_assignments(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM port_assignments", [])?;
    Ok(())
}

pub(super) fn touch_port_table(connection: &Connection, at: DateTime<Utc>) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE port_table SET last_updated_micros = ?1",
        [at.timestamp_micros()],
    )?;
    Ok(())
}

pub(super) fn port_table_times(connection: &Connection) -> rusqlite::Result<PortTableTimes> {
    connection.query_row(
        "SELECT created_at_micros, last_updated_micros FROM port_table",
        [],
        |row| {
            Ok(PortTableTimes {
                created_at: time_from(row.get(0)?),
                last_updated: time_from(row.get(1)?),
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_lowest_port_that_is_free() {
        let set = |ports: &[u16]| ports.iter().copied().collect::<BTreeSet<u16>>();
        let configured = [10, 11, 12, 20];
        assert_eq!(lowest_free_port(configured, &set(&[]), &set(&[])), Some(10));
        assert_eq!(lowest_free_port(configured, &set(&[10]), &set(&[11, 9])), Some(12));
        assert_eq!(lowest_free_port(configured, &set(&[10, 12]), &set(&[11, 20])), None);
    }
}
