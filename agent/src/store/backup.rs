//! A backup: one file that holds the whole ledger as it was at one moment, checked, and there only when it is complete.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use tempfile::TempPath;
use uuid::Uuid;

use super::copy::{CopyProgress, copy_ledger};
use super::inspect::{is_at_rest, last_written_at, open_read_only};
use super::open::{self, OpenError};

/// Why there is no backup; nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data folder holds no ledger.
    #[error("there is no ledger in {}: name the data folder with --data-dir", .0.display())]
    NoLedger(PathBuf),
    /// There is such a file.
    #[error("{} is there already: choose another name, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// The file would take the place of one that the agent works with.
    #[error("{} is a file of the agent itself: choose a name outside of the data folder", .0.display())]
    OfTheAgent(PathBuf),
    /// The ledger cannot be backed up.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The copy failed.
    #[error("the ledger {} cannot be copied: {source}", path.display())]
    Copy {
        /// The ledger.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The backup's place cannot be used.
    #[error("{} cannot be written: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody wanted it to end.
    #[error("interrupted; nothing is left of the backup")]
    Interrupted,
}

/// What a backup says about the ledger that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFacts {
    /// Names the ledger.
    pub ledger_id: Uuid,
    /// Its schema.
    pub schema_version: u32,
    /// How many keys it has.
    pub key_count: u32,
    /// The file's size.
    pub size_bytes: u64,
}

/// A backup that was made.
#[derive(Debug)]
pub struct Backup {
    /// Its file, with the whole path.
    pub path: PathBuf,
    /// What it holds.
    pub facts: BackupFacts,
    /// When the ledger was last written to before the copy began.
    pub booked_at: Option<DateTime<Utc>>,
}

/// Backs up the ledger in `folder` to `target`, whether an agent works on it or not. An earlier file is replaced only
/// where that is asked for.
pub fn back_up(
    folder: &Path,
    target: &Path,
    replaces: bool,
    each_step: &mut dyn FnMut(CopyProgress) -> ControlFlow<()>,
) -> Result<Backup, BackupError> {
    let ledger = folder.join(open::FILE_NAME);
    if matches!(ledger.try_exists(), Ok(false)) {
        return Err(BackupError::NoLedger(folder.to_owned()));
    }
    let target = place(folder, target)?;
    // Nobody is to wait for a large copy to learn this; what counts is what happens at the end.
    if !replaces && target.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(target));
    }
    open::check_header(&ledger)?;
    let booked_at = last_written_at(&ledger);

    let parent = target.parent().unwrap_or(Path::new("/"));
    // SQLite's own temporary files lie in it too, and go with it.
    let workshop = tempfile::Builder::new().prefix(".portmeter-backup-").tempdir_in(parent);
    let workshop = workshop.map_err(cannot_write(parent))?;
    let copy = workshop.path().join(open::FILE_NAME);
    copy_ledger(&ledger, &copy, each_step)?;
    let facts = examine(&copy, &ledger)?;
    let copy = TempPath::try_from_path(copy).map_err(cannot_write(parent))?;
    put_in_place(copy, &target, replaces)?;
    sync_folder(parent).map_err(cannot_write(parent))?;
    Ok(Backup {
        path: target,
        facts,
        booked_at,
    })
}

/// Where the backup goes, as a path that names its folder for certain.
fn place(folder: &Path, target: &Path) -> Result<PathBuf, BackupError> {
    let parent = match target.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    let Some(name) = target.file_name().filter(|_| !target.is_dir()) else {
        return Err(cannot_write(target)(ErrorKind::IsADirectory.into()));
    };
    let parent = parent.canonicalize().map_err(cannot_write(parent))?;
    let target = parent.join(name);
    // Whatever the agent has there now or may make at its next start.
    let is_of_the_agent = folder.canonicalize().is_ok_and(|folder| folder == parent)
        && crate::instance::DATA_ENTRIES.iter().any(|entry| name == *entry);
    match is_of_the_agent {
        true => Err(BackupError::OfTheAgent(target)),
        false => Ok(target),
    }
}

fn put_in_place(copy: TempPath, target: &Path, replaces: bool) -> Result<(), BackupError> {
    let placed = match replaces {
        true => copy.persist(target),
        false => copy.persist_noclobber(target),
    };
    placed.map_err(|failure| match failure.error.kind() {
        ErrorKind::AlreadyExists => BackupError::Exists(target.to_owned()),
        _ => cannot_write(target)(failure.error),
    })
}

/// Checks a file all through and reads what it says; in its errors it has the name `named`.
pub(super) fn examine(file: &Path, named: &Path) -> Result<BackupFacts, OpenError> {
    let io_error = |source| OpenError::Io {
        path: named.to_owned(),
        source,
    };
    let size_bytes = fs::metadata(file).map_err(io_error)?.len();
    let connection = open_read_only(file, is_at_rest(file))?;
    open::check_versions(&connection, named)?;
    open::check_integrity(&connection, named)?;
    let facts = read_facts(&connection, size_bytes).map_err(|error| open::damaged_or(error, named))?;
    facts.ok_or_else(|| OpenError::Foreign {
        path: named.to_owned(),
        why: "it holds no ledger",
    })
}

/// `None` for a database that no start of an agent has come to an end with.
fn read_facts(connection: &Connection, size_bytes: u64) -> rusqlite::Result<Option<BackupFacts>> {
    let schema_version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if schema_version == 0 {
        return Ok(None);
    }
    let id: String = match connection.query_row("SELECT id FROM ledger", [], |row| row.get(0)) {
        Err(rusqlite::Error::QueryReturnedNoRows) => return Ok(None),
        id => id?,
    };
    let key_count = connection.query_row("SELECT count(*) FROM keys", [], |row| row.get(0))?;
    Ok(Uuid::parse_str(&id).ok().map(|ledger_id| BackupFacts {
        ledger_id,
        schema_version,
        key_count,
        size_bytes,
    }))
}

/// Sees a folder's entries on the disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::copy::{EachStep, PAGES_PER_STEP};
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A ledger with keys whose names fill a page each.
    fn ledger(folder: &Path, key_count: u32) -> Connection {
        let (connection, _) = open::open(&folder.join(open::FILE_NAME)).unwrap();
        add_keys(&connection, key_count);
        connection
    }

    fn add_keys(connection: &Connection, count: u32) {
        let sql = "INSERT INTO keys (id, uuid, name, is_active, created_at_micros)
                   WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
                   SELECT hex(randomblob(16)), hex(randomblob(16)), hex(randomblob(1900)), 1, 0 FROM number";
        connection.execute(sql, [count]).unwrap();
    }

    fn to_the_end(_: CopyProgress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn the_copy_is_of_one_moment_and_the_writer_goes_on() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let writer = ledger(folder.path(), 1_000);
        // Whoever waits for a lock fails at once.
        writer.busy_timeout(std::time::Duration::ZERO).unwrap();
        let mut seen = Vec::new();
        let target = elsewhere.path().join("backup");
        let made = back_up(folder.path(), &target, false, &mut |progress| {
            seen.push(progress);
            add_keys(&writer, 1);
            ControlFlow::Continue(())
        });
        let made = made.unwrap();
        assert_eq!(made.facts.key_count, 1_000);
        assert!(made.booked_at.is_some());
        // Begun anew with a commit, it would have taken more steps.
        let pages = seen[0].pages;
        assert_eq!(seen.len() as u64, pages.div_ceil(PAGES_PER_STEP as u64));
        assert!(seen.len() >= 4, "{seen:?}");
        assert_eq!(
            seen.last(),
            Some(&CopyProgress {
                copied_pages: pages,
                pages
            })
        );
        let left: u32 = writer
            .query_row("SELECT count(*) FROM keys", [], |row| row.get(0))
            .unwrap();
        assert_eq!(left as usize, 1_000 + seen.len());
        assert_eq!(names(elsewhere.path()), ["backup"]);
    }

    #[test]
    fn a_ledger_at_rest_stays_as_it_is() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(ledger(folder.path(), 3));
        let before = fs::read(folder.path().join(open::FILE_NAME)).unwrap();
        let target = elsewhere.path().join("odd?name#%");
        let made = back_up(folder.path(), &target, false, &mut to_the_end).unwrap();
        assert_eq!(made.facts.key_count, 3);
        assert_eq!(names(folder.path()), [open::FILE_NAME]);
        assert!(fs::read(folder.path().join(open::FILE_NAME)).unwrap() == before);
        let copied = fs::read(&target).unwrap();
        assert_eq!(made.facts.size_bytes, copied.len() as u64);
        // The file format's numbers for a database without a write-ahead log.
        assert_eq!(copied[18..20], [1, 1]);
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn a_ledger_that_somebody_begins_to_work_on_is_copied_again() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(ledger(folder.path(), 600));
        let mut writer = None;
        let target = elsewhere.path().join("backup");
        let made = back_up(folder.path(), &target, false, &mut |_| {
            writer.get_or_insert_with(|| ledger(folder.path(), 1));
            ControlFlow::Continue(())
        });
        assert_eq!(made.unwrap().facts.key_count, 601);
    }

    #[test]
    fn a_refused_or_failed_backup_leaves_everything_as_it_was() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = elsewhere.path().join("backup");
        let back_up = |target: &Path, replaces, each_step: EachStep<'_>| {
            super::back_up(folder.path(), target, replaces, each_step).unwrap_err()
        };
        let error = back_up(&target, false, &mut to_the_end);
        assert!(matches!(error, BackupError::NoLedger(_)), "{error}");

        drop(ledger(folder.path(), 600));
        let error = back_up(&target, false, &mut |_| ControlFlow::Break(()));
        assert!(matches!(error, BackupError::Interrupted), "{error}");
        assert!(names(elsewhere.path()).is_empty());

        fs::write(&target, "precious").unwrap();
        let error = back_up(&target, false, &mut to_the_end);
        assert!(matches!(error, BackupError::Exists(_)), "{error}");
        assert_eq!(fs::read(&target).unwrap(), b"precious");

        for name in ["ledger.db", "ledger.db-wal", "api.key"] {
            let error = back_up(&folder.path().join(name), true, &mut to_the_end);
            assert!(matches!(error, BackupError::OfTheAgent(_)), "{error}");
        }
        let error = back_up(&elsewhere.path().join("no/backup"), false, &mut to_the_end);
        assert!(matches!(error, BackupError::Io { .. }), "{error}");

        let path = folder.path().join(open::FILE_NAME);
        let mut bytes = fs::read(&path).unwrap();
        bytes[4_096..8_192].fill(0xff);
        fs::write(&path, bytes).unwrap();
        let error = back_up(&target, true, &mut to_the_end);
        assert!(
            matches!(&error, BackupError::Ledger(OpenError::Damaged { path: named, .. }) if *named == path),
            "{error}"
        );
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(names(elsewhere.path()), ["backup"]);
    }

    #[test]
    fn who_comes_between_with_a_file_of_that_name_keeps_it() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(ledger(folder.path(), 1));
        let target = elsewhere.path().join("backup");
        let mut come = |_| {
            fs::write(&target, "precious").unwrap();
            ControlFlow::Continue(())
        };
        let error = back_up(folder.path(), &target, false, &mut come).unwrap_err();
        assert!(matches!(error, BackupError::Exists(_)), "{error}");
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        let made = back_up(folder.path(), &target, true, &mut to_the_end).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().len(), made.facts.size_bytes);
        assert_eq!(names(elsewhere.path()), ["backup"]);
    }
}
