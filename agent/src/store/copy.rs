//! A copy of a ledger, made beside an agent that may be booking.
//!
//! Nothing here writes to the ledger or holds up its writer. The copy is of one snapshot: without the read transaction
//! around it SQLite would begin anew with each of the writer's commits, and a large ledger's copy would never end.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use rusqlite::backup::StepResult;
use rusqlite::{Connection, OpenFlags};

use super::backup::{BackupError, cannot_write};
use super::inspect::{is_at_rest, open_read_only};
use super::open::{self, OpenError};

/// Pages of 4 KiB that are copied at once: 1 MiB, so that whoever waits for the disk waits for milliseconds.
pub(super) const PAGES_PER_STEP: i32 = 256;

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// Pages that are copied.
    pub copied_pages: u64,
    /// Pages in all.
    pub pages: u64,
}

/// Is told after each step of a copy how far it is; says whether to go on, and may take its time.
pub(super) type EachStep<'a> = &'a mut dyn FnMut(CopyProgress) -> ControlFlow<()>;

/// Copies a ledger, and what only its write-ahead log holds yet, to a new file that is its owner's alone, and sees it
/// on the disk.
pub(super) fn copy_ledger(source: &Path, copy: &Path, each_step: EachStep<'_>) -> Result<(), BackupError> {
    loop {
        let at_rest = AtRest::look(source);
        make_file(copy).map_err(cannot_write(copy))?;
        let from = open_read_only(source, at_rest.is_some())?;
        copy_snapshot(&from, source, copy, each_step)?;
        drop(from);
        // A ledger at rest is read without a lock. Who began to work on it meanwhile may have changed pages between
        // two steps; then the next copy is made beside them.
        if at_rest.is_none() || at_rest == AtRest::look(source) {
            break;
        }
        fs::remove_file(copy).map_err(cannot_write(copy))?;
    }
    File::open(copy)
        .and_then(|file| file.sync_all())
        .map_err(cannot_write(copy))
}

fn copy_snapshot(from: &Connection, source: &Path, copy: &Path, each_step: EachStep<'_>) -> Result<(), BackupError> {
    let failed = |error| BackupError::Copy {
        path: source.to_owned(),
        source: error,
    };
    let damaged_or_failed = |error| match open::damaged_or(error, source) {
        OpenError::Database(error) => failed(error),
        damaged => BackupError::Ledger(damaged),
    };
    from.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
        .map_err(damaged_or_failed)?;
    let mut to = open_copy(copy).map_err(failed)?;
    {
        let backup = rusqlite::backup::Backup::new(from, &mut to).map_err(failed)?;
        loop {
            let step = backup.step(PAGES_PER_STEP).map_err(damaged_or_failed)?;
            let (left, all) = (backup.progress().remaining, backup.progress().pagecount);
            let progress = CopyProgress {
                copied_pages: u64::try_from(all - left).unwrap_or_default(),
                pages: u64::try_from(all).unwrap_or_default(),
            };
            if each_step(progress).is_break() {
                return Err(BackupError::Interrupted);
            }
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                // The snapshot is ours already, and nobody else knows the copy.
                _ => return Err(failed(busy())),
            }
        }
    }
    to.close().map_err(|(_, error)| failed(error))?;
    make_self_contained(copy).map_err(failed)
}

fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)
}

/// A copy that fails is thrown away, so SQLite need not be able to take anything back; the disk is waited for once, at
/// the end.
fn open_copy(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    Ok(connection)
}

/// The ledger's write-ahead log is a property of its file. Without it other tools that look into a backup leave
/// nothing beside it; a start brings it back.
fn make_self_contained(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    connection.close().map_err(|(_, error)| error)
}

fn make_file(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop)
}

/// What a file at rest looks like; another look that is the same means that nobody has written to it in between.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AtRest {
    inode: u64,
    size_bytes: u64,
    modified_at: Option<SystemTime>,
}

impl AtRest {
    pub(super) fn look(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(|_| is_at_rest(path))?;
        Some(Self {
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            modified_at: metadata.modified().ok(),
        })
    }
}
