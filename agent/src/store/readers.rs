//! Readers beside the writer: connections that cannot write, each answer one transaction, so that it sees one state.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::{Connection, OpenFlags, Transaction};

use super::StoreError;

/// Idle connections that are kept; more are opened when more ask at once, and closed again.
const KEPT: usize = 4;

/// Connections that read.
pub(super) struct Readers {
    path: PathBuf,
    /// `None` once the store is closed: the last connection to go folds the write-ahead log into the ledger, and that
    /// is to be the writer's.
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            idle: Mutex::new(Some(Vec::new())),
        }
    }

    /// Lets go of every connection; those that are reading go when they are done.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    /// Reads within one transaction. Blocks: not to be called on a runtime's own threads.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.lock().as_mut().ok_or(StoreError::Closed)?.pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.open()?,
        };
        let transaction = connection.transaction()?;
        let result = work(&transaction)?;
        drop(transaction);
        if let Some(idle) = self.lock().as_mut().filter(|idle| idle.len() < KEPT) {
            idle.push(connection);
        }
        Ok(result)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(30))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Connection>>> {
        self.idle.lock().expect("nothing panics while it holds this lock")
    }
}
