//! A configuration that is not in force: for the core to try.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use tempfile::NamedTempFile;

use super::{FileError, folder_of, followed, lock, make_folder};

/// How the name of a trial begins.
const BEGINNING: &str = ".trial-";

/// A text beside the configuration file, for the core to try; gone when it is dropped.
#[derive(Debug)]
pub struct Trial {
    file: NamedTempFile,
    /// Held for as long as somebody is trying it; it goes with the process, however that ends.
    _held: Flock<File>,
}

impl Trial {
    /// Writes `text` where the configuration at `path` is, so that it is read as that would be.
    pub fn write(path: &Path, text: &str) -> Result<Self, FileError> {
        let written = || {
            let target = followed(path)?;
            let folder = folder_of(&target);
            make_folder(folder)?;
            // Whoever removes what is forgotten has this lock too, and never sees one that is not held yet.
            let _lock = lock(folder)?;
            // The core tells the format by the ending. The file is its owner's alone, as every temporary file.
            let named = tempfile::Builder::new()
                .prefix(BEGINNING)
                .suffix(".json")
                .tempfile_in(folder);
            let mut file = named?;
            let held = hold(file.as_file().try_clone()?)?;
            file.write_all(text.as_bytes())?;
            Ok(Self { file, _held: held })
        };
        written().map_err(|source| FileError {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

fn hold(file: File) -> io::Result<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
}

/// Removes trials that a killed agent left behind: those that nobody holds. It is called under the folder's lock.
pub(super) fn remove_forgotten(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_forgotten = || File::open(entry.path()).and_then(hold).is_ok();
        if entry.file_name().to_string_lossy().starts_with(BEGINNING) && is_forgotten() {
            // What cannot be removed takes room and harms nobody.
            let _ = fs::remove_file(entry.path());
        }
    }
}
