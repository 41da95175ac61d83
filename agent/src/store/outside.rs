//! The ledger read from outside, whether an agent works on it or not, over more time than a glance takes: nothing is
//! changed, locked or left behind, and what is read is one state of it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction};

use super::copy::AtRest;
use super::inspect::open_read_only;
use super::open::{self, OpenError};
use super::schema;

/// Why a ledger cannot be read; each text is one sentence with the way out.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is of an earlier version, and reading changes nothing.
    #[error(
        "the ledger {} has schema {found}, this version has {known}: start this version's agent once, which brings it up \
         to date",
        path.display()
    )]
    Earlier {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// This build's schema.
        known: usize,
    },
    /// An agent was started meanwhile.
    #[error("an agent has begun to work on the ledger {} while it was read: do this again", .0.display())]
    ChangedMeanwhile(PathBuf),
}

/// A ledger opened for reading.
pub(super) struct OutsideReader {
    connection: Connection,
    path: PathBuf,
    /// Of a ledger that nobody had open: what its file was like. Such a file is read without SQLite's locks.
    at_rest: Option<AtRest>,
}

impl OutsideReader {
    /// Opens the ledger in `folder`, which must have this build's schema; `None` where there is none.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, ReadError> {
        let path = folder.join(open::FILE_NAME);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Io { path, source }.into()),
            Ok(_) => {}
        }
        let at_rest = AtRest::look(&path);
        open::check_header(&path)?;
        let connection = open_read_only(&path, at_rest.is_some())?;
        open::check_versions(&connection, &path)?;
        let found: u32 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|error| open::damaged_or(error, &path))?;
        if (found as usize) < schema::VERSION {
            return Err(ReadError::Earlier {
                path,
                found,
                known: schema::VERSION,
            });
        }
        Ok(Some(Self {
            connection,
            path,
            at_rest,
        }))
    }

    /// Reads one state of the ledger.
    pub(super) fn read<T, E: From<ReadError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.connection.transaction().map_err(database)?;
        let result = work(&transaction);
        drop(transaction);
        // Whoever began to work on a ledger at rest may have changed it between two pages; even an error may come of that.
        if self.at_rest.is_some() && self.at_rest != AtRest::look(&self.path) {
            return Err(ReadError::ChangedMeanwhile(self.path.clone()).into());
        }
        result
    }
}

fn database(error: rusqlite::Error) -> ReadError {
    ReadError::Open(OpenError::Database(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_is_written_meanwhile_is_not_one_state() {
        let folder = tempfile::tempdir().unwrap();
        assert!(OutsideReader::open(folder.path()).unwrap().is_none());
        let path = folder.path().join(open::FILE_NAME);
        drop(open::open(&path).unwrap());
        let mut reader = OutsideReader::open(folder.path()).unwrap().unwrap();
        reader.read(|_| Ok::<_, ReadError>(())).unwrap();
        let writer = open::open(&path).unwrap();
        let read = reader.read(|_| Ok::<_, ReadError>(()));
        assert!(matches!(read, Err(ReadError::ChangedMeanwhile(_))), "{read:?}");
        // Beside a writer from the start, SQLite keeps the state.
        let mut reader = OutsideReader::open(folder.path()).unwrap().unwrap();
        let ids = "SELECT count(*) FROM port_totals";
        let read = reader.read(|transaction| {
            let count = || transaction.query_row(ids, [], |row| row.get::<_, i64>(0));
            let before = count().map_err(database)?;
            writer
                .0
                .execute("INSERT INTO port_totals (port) VALUES (1)", [])
                .unwrap();
            Ok::<_, ReadError>((before, count().map_err(database)?))
        });
        assert_eq!(read.unwrap(), (0, 0));
    }

    #[test]
    fn an_earlier_schema_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(open::FILE_NAME);
        let (connection, _) = open::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 2).unwrap();
        drop(connection);
        let error = OutsideReader::open(folder.path()).err().unwrap().to_string();
        assert!(
            error.contains("has schema 2") && error.contains("start this version"),
            "{error}"
        );
    }
}
