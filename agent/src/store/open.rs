//! Opening the ledger's file: what it must be, how it is set up, and what is refused untouched.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use chrono::Utc;
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::events::{self, EventKind, NewEvent};
use super::schema;

/// The ledger's file within the data folder.
pub(super) const FILE_NAME: &str = "ledger.db";

/// A file that SQLite keeps beside a database, by its suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Why the ledger could not be opened; each text is one sentence with the way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file was written by a later version.
    #[error(
        "the ledger {} has schema {found}, this version knows {known}: run the newer version again, or restore a backup",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema this build knows.
        known: usize,
    },
    /// The file is something else.
    #[error("{} is not a Portmeter ledger ({why}): move it away or choose another data folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        why: &'static str,
    },
    /// The file is damaged.
    #[error("the ledger {} is damaged ({detail}): restore a backup, or move it away to begin a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's first finding.
        detail: String,
    },
    /// The system or SQLite refused.
    #[error("the ledger {} cannot be opened: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("the ledger cannot be opened: {0}")]
    Database(#[from] rusqlite::Error),
    /// A migration failed; the file is as it was.
    #[error("the ledger's schema cannot be brought up to date: {0}")]
    Migration(#[from] rusqlite_migration::Error),
}

/// Opens or makes the ledger; gives the connection and the ledger's id.
pub(super) fn open(path: &Path) -> Result<(Connection, Uuid), OpenError> {
    check_header(path)?;
    let mut connection = Connection::open(path)?;
    // Nobody else writes; a backup tool that reads may hold a lock for a moment.
    connection.busy_timeout(std::time::Duration::from_secs(30))?;
    check_versions(&connection, path)?;
    check_integrity(&connection, path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let before: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    schema::migrations().to_latest(&mut connection)?;
    if before > 0 && (before as usize) < schema::VERSION {
        events::append(&connection, Utc::now(), &migrated(before))?;
    }
    let id = ledger_id(&connection)?;
    Ok((connection, id))
}

fn migrated(before: u32) -> NewEvent {
    NewEvent {
        kind: EventKind::Update,
        action: "migrate",
        message: format!("the ledger was brought from schema {before} to {}", schema::VERSION),
        actor: "agent",
        ..NewEvent::default()
    }
}

/// Looks at the file's header (SQLite's file format, section 1.3) before SQLite touches anything.
pub(super) fn check_header(path: &Path) -> Result<(), OpenError> {
    let mut header = [0_u8; 100];
    let read = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened.and_then(|mut file| read_up_to(&mut file, &mut header)),
    };
    match read.map_err(|source| OpenError::Io {
        path: path.to_owned(),
        source,
    })? {
        0 => Ok(()),
        100 if header.starts_with(b"SQLite format 3\0") => {
            let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            check_numbers(path, number(60), number(68))
        }
        _ => Err(OpenError::Foreign {
            path: path.to_owned(),
            why: "it is no SQLite database",
        }),
    }
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// The same check through SQLite, which also sees what only the write-ahead log holds yet.
pub(super) fn check_versions(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    match (number("user_version"), number("application_id")) {
        (Ok(version), Ok(application)) => check_numbers(path, version, application),
        (Err(error), _) | (_, Err(error)) => Err(damaged_or(error, path)),
    }
}

fn check_numbers(path: &Path, user_version: u32, application_id: u32) -> Result<(), OpenError> {
    let ours = application_id == schema::APPLICATION_ID.cast_unsigned();
    if !ours && (user_version != 0 || application_id != 0) {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
            why: "another program wrote it",
        });
    }
    if user_version as usize > schema::VERSION {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found: user_version,
            known: schema::VERSION,
        });
    }
    Ok(())
}

pub(super) fn check_integrity(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let finding = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match finding {
        Ok(finding) if finding == "ok" => Ok(()),
        Ok(detail) => Err(OpenError::Damaged {
            path: path.to_owned(),
            detail,
        }),
        Err(error) => Err(damaged_or(error, path)),
    }
}

pub(super) fn damaged_or(error: rusqlite::Error, path: &Path) -> OpenError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => OpenError::Damaged {
            path: path.to_owned(),
            detail: error.to_string(),
        },
        _ => OpenError::Database(error),
    }
}

/// The ledger's id, made at its first opening.
fn ledger_id(connection: &Connection) -> Result<Uuid, OpenError> {
    let known: Option<String> = connection
        .query_row("SELECT id FROM ledger", [], |row| row.get(0))
        .optional()?;
    if let Some(id) = known.and_then(|text| Uuid::parse_str(&text).ok()) {
        return Ok(id);
    }
    let (id, now) = (Uuid::new_v4(), Utc::now().timestamp_micros());
    connection.execute(
        "INSERT INTO ledger (id, created_at_micros) VALUES (?1, ?2)",
        (id.to_string(), now),
    )?;
    connection.execute(
        "INSERT OR IGNORE INTO port_table (only_row, created_at_micros, last_updated_micros) VALUES (1, ?1, ?1)",
        [now],
    )?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> OpenError {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, bytes).unwrap();
        let error = open(&path).unwrap_err();
        assert!(std::fs::read(&path).unwrap() == bytes, "a refused file was touched");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "something was left beside a refused file"
        );
        error
    }

    fn fresh_bytes(change: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        open(&path).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(change).unwrap();
        connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
        drop(connection);
        std::fs::read(&path).unwrap()
    }

    #[test]
    fn keeps_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let (_, first) = open(&path).unwrap();
        let (_, second) = open(&path).unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn refuses_newer_foreign_and_damaged_files_untouched() {
        assert!(matches!(
            refused(&fresh_bytes("PRAGMA user_version = 99")),
            OpenError::Newer { found: 99, .. }
        ));
        assert!(matches!(
            refused(&fresh_bytes("PRAGMA application_id = 7")),
            OpenError::Foreign { .. }
        ));
        assert!(matches!(refused(b"hello"), OpenError::Foreign { .. }));
        let mut damaged = fresh_bytes("");
        for byte in &mut damaged[4096..8192] {
            *byte = 0xff;
        }
        let error = refused(&damaged);
        assert!(
            matches!(error, OpenError::Damaged { .. } | OpenError::Database(_)),
            "{error}"
        );
    }
}
