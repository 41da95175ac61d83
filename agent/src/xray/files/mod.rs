//! The core's configuration file and its backups on disk.
//!
//! The file is never written in place: at every moment, and after a kill or a power cut at any of them, it is the old
//! one or the new one as a whole, and what it was before each change lies in the folder `backups` beside it. Files hold
//! private keys and are for their owner alone.

mod backups;
mod name;
mod trial;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use nix::fcntl::{Flock, FlockArg};
use tempfile::NamedTempFile;

pub use backups::{Backup, BackupError, delete_backup, list_backups, read_backup};
pub use trial::Trial;

/// Mode of the configuration and its backups.
const FILE_MODE: u32 = 0o600;

/// Mode of the folders that are made for them.
const FOLDER_MODE: u32 = 0o700;

/// How the name of a file begins that is not finished yet.
const UNFINISHED: &str = ".portmeter-";

/// The configuration file or its folder refuses.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the core's configuration {}; see that its folder exists and may be written", path.display())]
pub struct FileError {
    /// `read` or `write`.
    action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// What [`replace`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// The file had this text already.
    Unchanged,
    /// The file was written.
    Written {
        /// The name of the backup of what was there before; `None` where there was no file.
        saved_as: Option<String>,
    },
}

/// The configuration file's text; `None` where there is no file.
pub fn read(path: &Path) -> Result<Option<String>, FileError> {
    let text = present(path).and_then(|bytes| bytes.map(String::from_utf8).transpose().map_err(io::Error::other));
    text.map_err(|source| FileError {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

/// Saves the present file under `label` and puts `text` in its place. A file that has this text already is left alone,
/// and nothing is saved. Of the backups the newest are kept.
pub fn replace(path: &Path, text: &str, label: &str, now: DateTime<Utc>) -> Result<Replaced, FileError> {
    try_replace(path, text, label, now).map_err(|source| FileError {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// Saves the present file under `label`; the backup's name, or `None` where there is no file.
pub fn save(path: &Path, label: &str, now: DateTime<Utc>) -> Result<Option<String>, BackupError> {
    let target = followed(path)?;
    let Some(present) = present(&target)? else {
        return Ok(None);
    };
    let _lock = lock(folder_of(&target))?;
    let name = backups::save(path, &present, label, now)?;
    backups::prune(path)?;
    Ok(Some(name))
}

/// Removes what a killed agent left beside the configuration file at `path`: files with private keys that nobody needs.
pub fn remove_left_behind(path: &Path) {
    let Ok(target) = followed(path) else { return };
    let folder = folder_of(&target);
    // Without a folder nothing was left in it.
    if let Ok(_lock) = lock(folder) {
        remove_unfinished(folder);
        trial::remove_forgotten(folder);
    }
}

fn try_replace(path: &Path, text: &str, label: &str, now: DateTime<Utc>) -> io::Result<Replaced> {
    let target = followed(path)?;
    let folder = folder_of(&target);
    make_folder(folder)?;
    let _lock = lock(folder)?;
    let present = present(&target)?;
    if present.as_deref() == Some(text.as_bytes()) {
        make_private(&target)?;
        return Ok(Replaced::Unchanged);
    }
    remove_unfinished(folder);
    trial::remove_forgotten(folder);
    // Saved and on disk before anything else: a kill from here on leaves the old file, perhaps with a backup too many.
    let saved_as = match present {
        Some(present) => Some(backups::save(path, &present, label, now)?),
        None => None,
    };
    put(&target, text)?;
    if let Err(error) = backups::prune(path) {
        tracing::warn!(error = %error, "cannot remove old backups of the core's configuration");
    }
    Ok(Replaced::Written { saved_as })
}

/// What is in the file, whatever it is: also what is no text is saved before it is replaced.
fn present(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The file that a link stands for: the path is the operator's, and a rename would put a file where the link is.
fn followed(path: &Path) -> io::Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => fs::canonicalize(path),
        _ => Ok(path.to_owned()),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)
}

/// One writer at a time, in this process or another.
fn lock(folder: &Path) -> io::Result<Flock<File>> {
    Flock::lock(File::open(folder)?, FlockArg::LockExclusive).map_err(|(_, error)| error.into())
}

/// Writes a file beside the target, sees it on the disk, and only then gives it the target's name.
fn put(target: &Path, text: &str) -> io::Result<()> {
    let file = unfinished(folder_of(target), text.as_bytes())?;
    keep_owner(target, file.as_file())?;
    file.persist(target)?;
    sync_folder(folder_of(target))
}

/// A core that runs as somebody else goes on being able to read what is that user's. Root reads everything anyway.
fn keep_owner(target: &Path, file: &File) -> io::Result<()> {
    let present = match fs::metadata(target) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if present.uid() == file.metadata()?.uid() {
        return Ok(());
    }
    match std::os::unix::fs::fchown(file, Some(present.uid()), Some(present.gid())) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied && present.uid() == 0 => Ok(()),
        changed => changed,
    }
}

/// A file that is complete and on the disk, but has no name yet that anybody looks for.
fn unfinished(folder: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Removes what a killed writer left behind. It is called under the lock, so nobody is writing.
fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            // What cannot be removed takes room and harms nobody.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    match mode == FILE_MODE {
        true => Ok(()),
        false => fs::set_permissions(path, Permissions::from_mode(FILE_MODE)),
    }
}

/// Sees a folder's entries on the disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
