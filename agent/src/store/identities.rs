//! REALITY identities as rows: the server's and what keys have of their own.

use chrono::{DateTime, Utc};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::keys::time_from;
use super::snapshot::KeyId;
use crate::xray::reality::{Identity, OldShortId, PrivateKey, ShortId};

/// The columns of an identity, in the order in which [`from_row`] reads them.
pub(super) const COLUMNS: &str = "private_key, short_id, old_short_id, old_until_micros, dest, server_names";

/// The server's identity; made at the first start.
pub(super) fn server(connection: &Connection) -> rusqlite::Result<Identity> {
    let sql = format!("SELECT {COLUMNS} FROM reality_identities WHERE key_id IS NULL");
    let kept = connection.query_row(&sql, [], |row| from_row(row, 0)).optional()?;
    if let Some(Some(identity)) = kept {
        return Ok(identity);
    }
    let identity = Identity::generate();
    write(connection, None, &identity)?;
    Ok(identity)
}

/// Makes `identity` the key's, or the server's.
pub(super) fn write(connection: &Connection, owner: Option<KeyId>, identity: &Identity) -> rusqlite::Result<()> {
    let owner = owner.map(|key| key.0.to_string());
    connection.execute("DELETE FROM reality_identities WHERE key_id IS ?1", [&owner])?;
    if *identity == Identity::default() {
        return Ok(());
    }
    let server_names = (!identity.server_names.is_empty())
        .then(|| serde_json::to_string(&identity.server_names).expect("texts are always JSON"));
    connection.execute(
        &format!("INSERT INTO reality_identities (key_id, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
        params![
            owner,
            identity.private_key.map(|key| key.bytes().to_vec()),
            identity.short_id.as_ref().map(ShortId::as_str),
            identity.old_short_id.as_ref().map(|old| old.short_id.as_str()),
            identity.old_short_id.as_ref().map(|old| old.until.timestamp_micros()),
            identity.dest,
            server_names,
        ],
    )?;
    Ok(())
}

/// An identity from its columns, the first of which is number `first`; `None` where none of them holds anything.
pub(super) fn from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Identity>> {
    let short_id = |column| -> rusqlite::Result<Option<ShortId>> {
        let text: Option<String> = row.get(column)?;
        text.map(|text| text.parse().map_err(|error| unreadable(column, Type::Text, error)))
            .transpose()
    };
    let private_key = match row.get::<_, Option<Vec<u8>>>(first)? {
        None => None,
        Some(bytes) => {
            let bytes: [u8; 32] = bytes
                .try_into()
                .map_err(|_| unreadable(first, Type::Blob, crate::xray::reality::InvalidIdentity::Key))?;
            Some(PrivateKey::from(bytes))
        }
    };
    let until: Option<DateTime<Utc>> = row.get::<_, Option<i64>>(first + 3)?.map(time_from);
    let old_short_id = short_id(first + 2)?
        .zip(until)
        .map(|(short_id, until)| OldShortId { short_id, until });
    let server_names = match row.get::<_, Option<String>>(first + 5)? {
        None => Vec::new(),
        Some(text) => serde_json::from_str(&text).map_err(|error| unreadable(first + 5, Type::Text, error))?,
    };
    let identity = Identity {
        private_key,
        short_id: short_id(first + 1)?,
        old_short_id,
        dest: row.get(first + 4)?,
        server_names,
    };
    Ok((identity != Identity::default()).then_some(identity))
}

fn unreadable(column: usize, kind: Type, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}
