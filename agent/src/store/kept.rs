//! The ledger that a restore replaces: all of it in one file, kept under another name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::backup::sync_folder;
use super::open::{self, OpenError};
use super::restore::{RestoreError, cannot_change};

/// What the name of a ledger that was replaced begins with; the time follows.
pub(super) const KEPT_PREFIX: &str = "ledger.db.before-restore-";

/// What SQLite may have left beside a ledger that nobody works on.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Moves what the write-ahead log holds into the ledger, so that one file is all of it. `false` where the file is no
/// readable database, whose log nobody can read either.
pub(super) fn fold_log(ledger: &Path) -> Result<bool, RestoreError> {
    if !has_pages(ledger) {
        return Ok(false);
    }
    match try_to_fold(ledger) {
        Ok(true) if !has_companion(ledger) => Ok(true),
        Ok(_) => Err(RestoreError::InUse(ledger.to_owned())),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(false),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Err(RestoreError::InUse(ledger.to_owned())),
            _ => Err(RestoreError::Fold {
                path: ledger.to_owned(),
                source: error,
            }),
        },
    }
}

/// Whether SQLite would find pages in it; beside a file without any it deletes the log.
fn has_pages(ledger: &Path) -> bool {
    let is_foreign = matches!(open::check_header(ledger), Err(OpenError::Foreign { .. }));
    !is_foreign && fs::metadata(ledger).is_ok_and(|metadata| metadata.len() > 0)
}

/// Whether all of the log went in. The log itself goes when the last connection closes.
fn try_to_fold(ledger: &Path) -> rusqlite::Result<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(ledger, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let was_hindered: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(!was_hindered)
}

fn has_companion(ledger: &Path) -> bool {
    COMPANIONS.iter().any(|suffix| open::beside(ledger, suffix).exists())
}

/// Gives the present ledger a second name, under which it stays when the new one takes its place. What lies beside one
/// that could not be folded goes with it: beside the new ledger SQLite would take it for its own.
pub(super) fn keep(
    folder: &Path,
    ledger: &Path,
    is_folded: bool,
    now: DateTime<Utc>,
) -> Result<Option<PathBuf>, RestoreError> {
    if !ledger.exists() && !has_companion(ledger) {
        return Ok(None);
    }
    let kept = free_name(folder, now);
    if ledger.exists() {
        fs::hard_link(ledger, &kept).map_err(cannot_change(ledger))?;
    }
    if !is_folded {
        for suffix in COMPANIONS {
            let companion = open::beside(ledger, suffix);
            if companion.exists() {
                fs::rename(&companion, open::beside(&kept, suffix)).map_err(cannot_change(&companion))?;
            }
        }
    }
    // On the disk before the new ledger is: a power cut must not leave less than a kill.
    sync_folder(folder).map_err(cannot_change(folder))?;
    Ok(Some(kept))
}

/// A name that tells when the ledger was replaced, and that nothing has yet.
fn free_name(folder: &Path, now: DateTime<Utc>) -> PathBuf {
    let name = folder.join(format!("{KEPT_PREFIX}{}", now.format("%Y%m%dT%H%M%SZ")));
    let is_free = |name: &PathBuf| {
        let mut files = ["", "-wal", "-shm", "-journal"]
            .map(|suffix| open::beside(name, suffix))
            .into_iter();
        files.all(|file| file.symlink_metadata().is_err())
    };
    let numbered = (2..).map(|number: u32| open::beside(&name, &format!("-{number}")));
    std::iter::once(name.clone())
        .chain(numbered)
        .find(is_free)
        .unwrap_or(name)
}
