//! The backups folder: names are checked before anything is touched, and nothing but plain files of such names exists
//! for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use nix::fcntl::OFlag;

use super::name::BackupName;
use super::{folder_of, make_folder, remove_unfinished, sync_folder, unfinished};

/// The folder's name, beside the configuration.
const FOLDER: &str = "backups";

/// Backups that are kept.
const BACKUP_COUNT_MAX: usize = 100;

/// What they may take together; the newest is kept whatever it takes.
const BACKUP_BYTES_MAX: u64 = 50 * 1024 * 1024;

/// A backup cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No backup can have such a name. It is not repeated: it may hold anything.
    #[error("the name cannot be a backup's; take one from the list of backups")]
    InvalidName,
    /// There is no such backup.
    #[error("there is no backup of this name; take one from the list of backups")]
    NotFound,
    /// The folder or the file refuses.
    #[error("cannot get at the backups of the core's configuration")]
    Io(#[from] io::Error),
}

/// A saved configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its name in the folder.
    pub name: String,
    /// When it was saved, to the second.
    pub created_at: DateTime<Utc>,
    /// Its size.
    pub size_bytes: u64,
}

/// The backups of the configuration at `path`, newest first.
pub fn list_backups(path: &Path) -> Result<Vec<Backup>, BackupError> {
    let found = found(path)?;
    Ok(found
        .into_iter()
        .map(|(name, size_bytes)| Backup {
            name: name.to_string(),
            created_at: name.created_at,
            size_bytes,
        })
        .collect())
}

/// The text of a backup of the configuration at `path`.
pub fn read_backup(path: &Path, name: &str) -> Result<String, BackupError> {
    let mut text = String::new();
    open(&place(path, name)?)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Removes a backup of the configuration at `path`.
pub fn delete_backup(path: &Path, name: &str) -> Result<(), BackupError> {
    let place = place(path, name)?;
    // A link of such a name is none of the backups; removing would take the link, but it is not ours to take.
    open(&place)?;
    fs::remove_file(&place).map_err(not_found_or_io)?;
    sync_folder(&folder(path))?;
    Ok(())
}

/// Saves a file's content as a backup and gives its name. It exists as a whole or not at all.
pub(super) fn save(path: &Path, content: &[u8], label: &str, now: DateTime<Utc>) -> io::Result<String> {
    let folder = folder(path);
    make_folder(&folder)?;
    remove_unfinished(&folder);
    let now = BackupName::new(now, label, 1);
    let of_this_second = names(&folder)?.filter(|name| name.created_at.timestamp() == now.created_at.timestamp());
    let number = of_this_second
        .map(|name| name.number)
        .max()
        .unwrap_or(0)
        .saturating_add(1);
    let name = BackupName::new(now.created_at, label, number).to_string();
    unfinished(&folder, content)?.persist_noclobber(folder.join(&name))?;
    sync_folder(&folder)?;
    Ok(name)
}

/// Removes the oldest backups that are too many.
pub(super) fn prune(path: &Path) -> io::Result<()> {
    let folder = folder(path);
    let mut total_bytes = 0_u64;
    for (index, (name, size_bytes)) in found(path)?.into_iter().enumerate() {
        total_bytes = total_bytes.saturating_add(size_bytes);
        let is_kept = index == 0 || (index < BACKUP_COUNT_MAX && total_bytes <= BACKUP_BYTES_MAX);
        if !is_kept {
            fs::remove_file(folder.join(name.to_string()))?;
        }
    }
    Ok(())
}

/// Names and sizes of all backups, newest first.
fn found(path: &Path) -> io::Result<Vec<(BackupName, u64)>> {
    let folder = folder(path);
    let mut found = Vec::new();
    for name in names(&folder)? {
        match fs::symlink_metadata(folder.join(name.to_string())) {
            Ok(metadata) if metadata.is_file() => found.push((name, metadata.len())),
            Ok(_) => {}
            // Gone in between.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by(|(first, _), (second, _)| second.cmp(first));
    Ok(found)
}

/// The names in a folder that are backups', in no order; none where there is no folder.
fn names(folder: &Path) -> io::Result<impl Iterator<Item = BackupName> + use<>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(entries
        .into_iter()
        .flatten()
        .filter_map(|entry| BackupName::parse(entry.ok()?.file_name().to_str()?)))
}

/// Where a backup of this name is, if it can be one's: a path into the folder and never out of it.
fn place(path: &Path, name: &str) -> Result<PathBuf, BackupError> {
    if name.is_empty() || name.contains("..") || name.contains(['/', '\\']) || name.contains(char::is_control) {
        return Err(BackupError::InvalidName);
    }
    // Nothing else in the folder is a backup, whatever it is.
    BackupName::parse(name).ok_or(BackupError::NotFound)?;
    Ok(folder(path).join(name))
}

fn folder(path: &Path) -> PathBuf {
    folder_of(path).join(FOLDER)
}

/// Opens a plain file and nothing else.
fn open(place: &Path) -> Result<File, BackupError> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(place)
        .map_err(not_found_or_io)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(BackupError::NotFound),
    }
}

fn not_found_or_io(error: io::Error) -> BackupError {
    // A link that is not followed answers with a loop.
    match error.kind() {
        ErrorKind::NotFound => BackupError::NotFound,
        _ if error.raw_os_error() == Some(nix::libc::ELOOP) => BackupError::NotFound,
        _ => BackupError::Io(error),
    }
}
