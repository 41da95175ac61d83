//! The ledger read from outside, whether an agent works on it or not, over more time than a glance takes: nothing is
//! changed, locked or left behind, and what is read is one state of it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, Transaction};

use super::inspect::open_read_only;
use super::open::{self, OpenError};
use super::schema;

/// A ledger opened for reading.
pub(super) struct OutsideReader {
    connection: Connection,
    path: PathBuf,
    /// Of a ledger that nobody had open: what its file was like. Such a file is read without SQLite's locks.
    at_rest: Option<FileState>,
}

type FileState = (u64, SystemTime);

impl OutsideReader {
    /// Opens the ledger in `folder`, which must have this build's schema; `None` where there is none.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, OpenError> {
        let path = folder.join(open::FILE_NAME);
        let at_rest = match file_state(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Io { path, source }),
            Ok(state) => Some(state).filter(|_| !has_log(&path)),
        };
        open::check_header(&path)?;
        let connection = open_read_only(&path)?;
        open::check_versions(&connection, &path)?;
        let found: u32 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|error| open::damaged_or(error, &path))?;
        if (found as usize) < schema::VERSION {
            return Err(OpenError::Earlier {
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
    pub(super) fn read<T, E: From<OpenError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.connection.transaction().map_err(OpenError::Database)?;
        let result = work(&transaction);
        drop(transaction);
        match self.at_rest {
            // Then even an error may be one of reading two states.
            Some(state) if has_log(&self.path) || file_state(&self.path).ok() != Some(state) => {
                Err(OpenError::ChangedMeanwhile(self.path.clone()).into())
            }
            _ => result,
        }
    }
}

fn has_log(path: &Path) -> bool {
    path.with_extension("db-wal").exists()
}

fn file_state(path: &Path) -> std::io::Result<FileState> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.len(), metadata.modified()?))
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
        reader.read(|_| Ok::<_, OpenError>(())).unwrap();
        let writer = open::open(&path).unwrap();
        let read = reader.read(|_| Ok::<_, OpenError>(()));
        assert!(matches!(read, Err(OpenError::ChangedMeanwhile(_))), "{read:?}");
        // Beside a writer from the start, SQLite keeps the state.
        let mut reader = OutsideReader::open(folder.path()).unwrap().unwrap();
        let ids = "SELECT count(*) FROM port_totals";
        let read = reader.read(|transaction| {
            let count = || transaction.query_row(ids, [], |row| row.get::<_, i64>(0));
            let before = count().map_err(OpenError::Database)?;
            writer
                .0
                .execute("INSERT INTO port_totals (port) VALUES (1)", [])
                .unwrap();
            Ok::<_, OpenError>((before, count().map_err(OpenError::Database)?))
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
