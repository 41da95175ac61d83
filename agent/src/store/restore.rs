//! A backup becomes the ledger again. The ledger that was there is kept under another name, and whoever kills this at
//! any point leaves either of the two, complete.
//!
//! What is exact about it is decided when the agent starts next, by the checkpoints that came with the backup. The
//! kernel's counters have gone on since; where their map life is this ledger's, everything beyond the checkpoints is
//! booked again, which is right, because the ledger has forgotten it. Where the life is another ledger's, its first
//! reading becomes the checkpoint.
//!
//! A life that a backup does not know is taken to have begun with its ledger, at zero. So a backup that comes to a
//! machine where another ledger was must not go on under its own id: it would take that one's life over, and a second
//! restore of the same backup would book all of it. It goes on as a ledger of its own, which it is, for both may go on.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::backup::{BackupError, BackupFacts, examine, sync_folder};
use super::copy::{CopyProgress, copy_ledger};
use super::inspect::{is_at_rest, open_read_only};
use super::kept::{KEPT_PREFIX, fold_log, keep};
use super::open::{self, OpenError};

/// The folder within the data folder in which the new ledger is made ready; a killed restore leaves it to the next.
const WORKSHOP: &str = "ledger.db.restoring";

/// Why a backup was not restored; the ledger is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is the ledger that it would replace.
    #[error("{} is the ledger itself: name a backup of it", .0.display())]
    IsTheLedger(PathBuf),
    /// There is no such file, or it cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A later version made it.
    #[error(
        "the backup {} has schema {found}, this version knows {known}: restore it with the version that made it",
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
    #[error("{} is not a backup of a Portmeter ledger ({why}): name one that `portmeter backup` made", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        why: &'static str,
    },
    /// The file is damaged.
    #[error("the backup {} is damaged ({detail}): restore another one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's first finding.
        detail: String,
    },
    /// SQLite could not read it.
    #[error("the backup cannot be copied: {0}")]
    Copy(BackupError),
    /// The ledger that is there is open elsewhere.
    #[error("another program has the ledger {} open: end it, then restore again", .0.display())]
    InUse(PathBuf),
    /// What the present ledger's write-ahead log holds cannot be moved into it.
    #[error("the ledger {} cannot be put by: {source}", path.display())]
    Fold {
        /// The ledger.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The copy could not be given another id, or its commits other numbers.
    #[error("the restored ledger cannot be told from the one it was: {source}")]
    Rename {
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The data folder cannot be changed.
    #[error("{} cannot be changed: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a restore has done.
#[derive(Debug)]
pub struct Restored {
    /// What the ledger is now.
    pub facts: BackupFacts,
    /// Where the one that was there is kept.
    pub kept: Option<PathBuf>,
    /// Another ledger was there, so this one goes on under a new id.
    pub is_renamed: bool,
}

/// Checks that a backup can be restored, as a start checks a ledger, and changes nothing.
pub fn check_backup(file: &Path) -> Result<BackupFacts, RestoreError> {
    let unreadable = |source| RestoreError::Unreadable {
        path: file.to_owned(),
        source,
    };
    let file = &file.canonicalize().map_err(unreadable)?;
    if file.is_dir() {
        return Err(unreadable(ErrorKind::IsADirectory.into()));
    }
    let checked = open::check_header(file).and_then(|()| examine(file, file));
    checked.map_err(|error| refusal(error, file))
}

/// Makes `file` the ledger of `folder`, whose lock the caller holds. `each_step` is told how far the copy is.
pub fn restore(
    file: &Path,
    folder: &Path,
    now: DateTime<Utc>,
    each_step: &mut dyn FnMut(CopyProgress),
) -> Result<Restored, RestoreError> {
    let ledger = folder.join(open::FILE_NAME);
    if is_same_file(file, &ledger) {
        return Err(RestoreError::IsTheLedger(file.to_owned()));
    }
    check_backup(file)?;
    forget_unfinished(folder, &ledger)?;
    let workshop = Workshop::make(folder)?;
    let made = workshop.path.join(open::FILE_NAME);
    let go_on = &mut |progress| {
        each_step(progress);
        ControlFlow::Continue(())
    };
    copy_ledger(file, &made, go_on).map_err(|error| match error {
        BackupError::Ledger(error) => refusal(error, file),
        other => RestoreError::Copy(other),
    })?;
    // The file may have changed since it was looked at; this copy will not.
    let mut facts = examine(&made, file).map_err(|error| refusal(error, file))?;

    let is_folded = fold_log(&ledger)?;
    let present_id = is_folded.then(|| id_of(&ledger)).flatten();
    let is_renamed = !goes_on_as_itself(facts.ledger_id, present_id);
    if is_renamed {
        facts.ledger_id = rename(&made).map_err(|source| RestoreError::Rename { source })?;
    }
    number_anew(&made, now).map_err(|source| RestoreError::Rename { source })?;
    let kept = keep(folder, &ledger, is_folded, now)?;
    fs::rename(&made, &ledger).map_err(cannot_change(&ledger))?;
    sync_folder(folder).map_err(cannot_change(folder))?;
    Ok(Restored {
        facts,
        kept,
        is_renamed,
    })
}

/// Whether a backup keeps its ledger's id. Where nobody can tell what was there, a lost ledger comes back.
fn goes_on_as_itself(backup: Uuid, present: Option<Uuid>) -> bool {
    present.is_none_or(|present| present == backup)
}

fn id_of(ledger: &Path) -> Option<Uuid> {
    let connection = open_read_only(ledger, is_at_rest(ledger)).ok()?;
    let id = connection.query_row("SELECT id FROM ledger", [], |row| row.get::<_, String>(0));
    Uuid::parse_str(&id.ok()?).ok()
}

/// Gives a ledger another id, which is on the disk when this returns.
fn rename(ledger: &Path) -> rusqlite::Result<Uuid> {
    let id = Uuid::new_v4();
    let connection = Connection::open(ledger)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute("UPDATE ledger SET id = ?1", [id.to_string()])?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(id)
}

/// Lets commits go on with a number that none has had, and forgets the earlier ones: who followed the bookings of the
/// ledger that was there holds minutes that are booked again, and is told to start from a snapshot. Numbers count from
/// one at first and from the microsecond after a restore, which no ledger reaches by counting.
fn number_anew(ledger: &Path, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let connection = Connection::open(ledger)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Before there was a history there were no numbers either.
    if connection.table_exists(None, "commits")? {
        connection.execute_batch("DELETE FROM commits")?;
        let (sequence, at) = (now.timestamp_micros(), now.timestamp_micros());
        connection.execute(
            "INSERT INTO commits (sequence, committed_at_micros) VALUES (?1, ?2)",
            [sequence, at],
        )?;
    }
    if connection.table_exists(None, "events")? {
        note_restore(&connection, now)?;
    }
    connection.close().map_err(|(_, error)| error)
}

/// Tells of the restore in the restored ledger, under a number that no event has had. In words that the events of every
/// schema have: a backup may be of an earlier one.
fn note_restore(connection: &Connection, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let message = "the ledger was restored from a backup: what happened after that is not in it";
    connection.execute(
        "INSERT INTO events (id, at_micros, type, severity, service, action, message, actor)
         VALUES (max(?1, 1 + ifnull((SELECT max(id) FROM events), 0)), ?1, 'system', 'warning', 'agent', 'restore_ledger', ?2, 'operator')",
        params![now.timestamp_micros(), message],
    )?;
    Ok(())
}

/// What is wrong with the backup, said of a backup.
fn refusal(error: OpenError, file: &Path) -> RestoreError {
    let path = file.to_owned();
    match error {
        OpenError::Newer { found, known, .. } => RestoreError::Newer { path, found, known },
        OpenError::Foreign { why, .. } => RestoreError::Foreign { path, why },
        OpenError::Damaged { detail, .. } => RestoreError::Damaged { path, detail },
        OpenError::Io { source, .. } => RestoreError::Unreadable { path, source },
        // Ours by its mark, but without the tables of a ledger.
        OpenError::Database(_) | OpenError::Migration(_) => RestoreError::Foreign {
            path,
            why: "it holds no ledger",
        },
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// Takes away what a killed restore has left: the folder it worked in, and a second name that it gave to the ledger
/// that is still in place.
fn forget_unfinished(folder: &Path, ledger: &Path) -> Result<(), RestoreError> {
    let workshop = folder.join(WORKSHOP);
    if workshop.symlink_metadata().is_ok() {
        fs::remove_dir_all(&workshop).map_err(cannot_change(&workshop))?;
    }
    let entries = fs::read_dir(folder).map_err(cannot_change(folder))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(KEPT_PREFIX) && is_same_file(&path, ledger) {
            fs::remove_file(&path).map_err(cannot_change(&path))?;
        }
    }
    Ok(())
}

/// The folder in which the new ledger is made ready; goes with what is left in it.
struct Workshop {
    path: PathBuf,
}

impl Workshop {
    fn make(folder: &Path) -> Result<Self, RestoreError> {
        let path = folder.join(WORKSHOP);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(cannot_change(&path))?;
        Ok(Self { path })
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next restore.
        let _ = fs::remove_dir_all(&self.path);
    }
}

pub(super) fn cannot_change(path: &Path) -> impl FnOnce(io::Error) -> RestoreError + use<> {
    let path = path.to_owned();
    move |source| RestoreError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{backup, schema};
    use super::*;

    const NOON: &str = "2026-05-01T12:00:00Z";
    const KEPT_AT_NOON: &str = "ledger.db.before-restore-20260501T120000Z";

    /// Every file of a folder with its bytes.
    fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let with_bytes = |entry: fs::DirEntry| {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            (entry.file_name().into_string().unwrap(), bytes)
        };
        entries.map(with_bytes).collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        contents(folder).into_keys().collect()
    }

    /// A data folder with a ledger of this many keys.
    fn data(key_count: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        drop(open_with_keys(folder.path(), key_count));
        folder
    }

    fn open_with_keys(folder: &Path, key_count: u32) -> Connection {
        let (connection, _) = open::open(&folder.join(open::FILE_NAME)).unwrap();
        for number in 0..key_count {
            let sql = "INSERT INTO keys (id, uuid, name, is_active, created_at_micros) VALUES (?1, ?1, 'a', 1, 0)";
            connection.execute(sql, [number]).unwrap();
        }
        connection
    }

    fn backup_of(folder: &Path, file: &Path) -> PathBuf {
        let go_on = &mut |_| ControlFlow::Continue(());
        backup::back_up(folder, file, false, go_on).unwrap().path
    }

    fn restore_at_noon(file: &Path, folder: &Path) -> Result<Restored, RestoreError> {
        restore(file, folder, NOON.parse().unwrap(), &mut |_| {})
    }

    fn key_count(file: &Path) -> u32 {
        check_backup(file).unwrap().key_count
    }

    #[test]
    fn the_ledger_that_was_there_is_kept_with_what_only_its_log_held() {
        let (one, present, elsewhere) = (data(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = backup_of(one.path(), &elsewhere.path().join("backup"));
        // As a killed agent leaves it.
        let writer = open_with_keys(elsewhere.path(), 3);
        for name in ["ledger.db", "ledger.db-wal"] {
            fs::copy(elsewhere.path().join(name), present.path().join(name)).unwrap();
        }
        drop(writer);
        let restored = restore_at_noon(&file, present.path()).unwrap();
        assert_eq!(restored.facts.key_count, 1);
        assert_eq!(restored.kept, Some(present.path().join(KEPT_AT_NOON)));
        assert_eq!(names(present.path()), ["ledger.db", KEPT_AT_NOON]);
        assert_eq!(key_count(&present.path().join("ledger.db")), 1);
        assert_eq!(key_count(&present.path().join(KEPT_AT_NOON)), 3);
        let (_, id) = open::open(&present.path().join("ledger.db")).unwrap();
        assert_eq!(id, restored.facts.ledger_id);

        // And back again, in the same second.
        restore_at_noon(&present.path().join(KEPT_AT_NOON), present.path()).unwrap();
        assert_eq!(key_count(&present.path().join("ledger.db")), 3);
        assert_eq!(key_count(&present.path().join(format!("{KEPT_AT_NOON}-2"))), 1);
    }

    #[test]
    fn a_ledger_keeps_its_id_unless_another_was_there() {
        let (own, other, elsewhere) = (data(1), data(2), tempfile::tempdir().unwrap());
        let file = backup_of(own.path(), &elsewhere.path().join("backup"));
        let id = check_backup(&file).unwrap().ledger_id;
        let restored = |folder: &Path| {
            let restored = restore_at_noon(&file, folder).unwrap();
            let found = id_of(&folder.join("ledger.db"));
            assert_eq!(found, Some(restored.facts.ledger_id));
            assert_eq!(restored.is_renamed, found != Some(id));
            restored.facts.ledger_id
        };
        assert_eq!(restored(own.path()), id);
        let first = restored(other.path());
        let second = restored(other.path());
        assert!(first != id && second != id && first != second, "{id} {first} {second}");
        assert_eq!(check_backup(&file).unwrap().ledger_id, id);
        // Nobody knows what was there.
        fs::write(own.path().join("ledger.db"), "unreadable").unwrap();
        assert_eq!(restored(own.path()), id);
    }

    #[test]
    fn where_no_ledger_was_there_is_one_afterwards() {
        let (one, empty, elsewhere) = (data(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = backup_of(one.path(), &elsewhere.path().join("backup"));
        let restored = restore_at_noon(&file, empty.path()).unwrap();
        assert_eq!(
            (restored.kept, names(empty.path())),
            (None, vec!["ledger.db".to_owned()])
        );
    }

    #[test]
    fn a_ledger_that_nobody_can_read_is_moved_away_with_its_log() {
        let (one, elsewhere) = (data(1), tempfile::tempdir().unwrap());
        let file = backup_of(one.path(), &elsewhere.path().join("backup"));
        let cases: [&[(&str, &str)]; 3] = [
            &[("", "unreadable"), ("-wal", "more of it"), ("-journal", "and more")],
            &[("", ""), ("-wal", "its log")],
            &[("-wal", "a log without a ledger")],
        ];
        for files in cases {
            let folder = tempfile::tempdir().unwrap();
            let named = |name: &str, suffix: &str| folder.path().join(format!("{name}{suffix}"));
            for (suffix, text) in files {
                fs::write(named("ledger.db", suffix), text).unwrap();
            }
            restore_at_noon(&file, folder.path()).unwrap();
            for (suffix, text) in files {
                assert_eq!(fs::read_to_string(named(KEPT_AT_NOON, suffix)).unwrap(), *text);
            }
            assert_eq!(names(folder.path()).len(), files.len() + 1);
            open::open(&named("ledger.db", "")).unwrap();
        }
    }

    #[test]
    fn what_is_no_sound_backup_of_this_version_or_earlier_is_refused_and_nothing_is_touched() {
        let (one, present, elsewhere) = (data(1), data(2), tempfile::tempdir().unwrap());
        let good = fs::read(backup_of(one.path(), &elsewhere.path().join("good"))).unwrap();
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            bytes
        };
        // Places in the header, as the file format has them: user_version at 60, application_id at 68.
        let cases: [(Vec<u8>, &str); 7] = [
            (
                changed(&|bytes| bytes[60..64].copy_from_slice(&99_u32.to_be_bytes())),
                "has schema 99",
            ),
            (changed(&|bytes| bytes[68..72].fill(7)), "another program wrote it"),
            (changed(&|bytes| bytes[4_096..8_192].fill(0xff)), "is damaged"),
            (changed(&|bytes| bytes.truncate(8_192)), "is damaged"),
            (changed(&|bytes| bytes[60..64].fill(0)), "it holds no ledger"),
            (b"hello".to_vec(), "it is no SQLite database"),
            (Vec::new(), "it holds no ledger"),
        ];
        let before = contents(present.path());
        for (bytes, part) in cases {
            let file = elsewhere.path().join("backup");
            fs::write(&file, &bytes).unwrap();
            let error = restore_at_noon(&file, present.path()).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("backup"), "{error}");
            assert!(
                contents(present.path()) == before,
                "a refused restore has changed something: {error}"
            );
            assert_eq!(fs::read(&file).unwrap(), bytes);
            assert_eq!(names(elsewhere.path()), ["backup", "good"]);
        }
        let ledger = present.path().join("ledger.db");
        let error = restore_at_noon(&ledger, present.path()).unwrap_err();
        assert!(matches!(error, RestoreError::IsTheLedger(_)), "{error}");
        let error = restore_at_noon(&present.path().join("nothing"), present.path()).unwrap_err();
        assert!(matches!(error, RestoreError::Unreadable { .. }), "{error}");
        assert!(contents(present.path()) == before);
    }

    #[test]
    fn an_older_schema_is_restored_as_it_is_and_migrated_by_the_next_start() {
        let (older, present) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = older.path().join("backup");
        let mut connection = Connection::open(&file).unwrap();
        schema::migrations().to_version(&mut connection, 1).unwrap();
        let id = "6f2b3c1e-0d4a-4a57-9a70-0c5b1f1f2d11";
        connection
            .execute("INSERT INTO ledger (id, created_at_micros) VALUES (?1, 0)", [id])
            .unwrap();
        drop(connection);
        let restored = restore_at_noon(&file, present.path()).unwrap();
        assert_eq!(restored.facts.schema_version, 1);
        let (connection, found) = open::open(&present.path().join("ledger.db")).unwrap();
        assert_eq!((found.to_string().as_str(), restored.is_renamed), (id, false));
        let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
        assert_eq!(version.unwrap() as usize, schema::VERSION);
    }

    #[test]
    fn a_ledger_that_is_open_elsewhere_is_left_alone() {
        let (one, present, elsewhere) = (data(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = backup_of(one.path(), &elsewhere.path().join("backup"));
        let other = open_with_keys(present.path(), 2);
        let error = restore_at_noon(&file, present.path()).unwrap_err();
        assert!(matches!(error, RestoreError::InUse(_)), "{error}");
        drop(other);
        assert_eq!(names(present.path()), ["ledger.db"]);
        assert_eq!(key_count(&present.path().join("ledger.db")), 2);
    }

    #[test]
    fn what_a_killed_restore_left_is_taken_away() {
        let (one, present, elsewhere) = (data(1), data(2), tempfile::tempdir().unwrap());
        let file = backup_of(one.path(), &elsewhere.path().join("backup"));
        let ledger = present.path().join("ledger.db");
        fs::create_dir(present.path().join(WORKSHOP)).unwrap();
        fs::copy(&file, present.path().join(WORKSHOP).join("ledger.db")).unwrap();
        fs::hard_link(&ledger, present.path().join(KEPT_AT_NOON)).unwrap();
        fs::copy(&file, present.path().join("ledger.db.before-restore-20260430T120000Z")).unwrap();
        restore_at_noon(&file, present.path()).unwrap();
        let expected = ["ledger.db", "ledger.db.before-restore-20260430T120000Z", KEPT_AT_NOON];
        assert_eq!(names(present.path()), expected);
        assert_eq!(key_count(&present.path().join(KEPT_AT_NOON)), 2);
    }
}
