//! A configuration that is not in force: for the core to try.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use super::{FileError, folder_of, followed, make_folder};

/// How the name of a trial begins.
const BEGINNING: &str = ".trial-";

/// After this time nobody is trying it any more: the core takes a second, and is given a minute at most.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// A text beside the configuration file, for the core to try; gone when it is dropped.
#[derive(Debug)]
pub struct Trial {
    file: NamedTempFile,
}

impl Trial {
    /// Writes `text` where the configuration at `path` is, so that it is read as that would be.
    pub fn write(path: &Path, text: &str) -> Result<Self, FileError> {
        let written = || {
            let target = followed(path)?;
            let folder = folder_of(&target);
            make_folder(folder)?;
            // The core tells the format by the ending. The file is its owner's alone, as every temporary file.
            let named = tempfile::Builder::new()
                .prefix(BEGINNING)
                .suffix(".json")
                .tempfile_in(folder);
            let mut file = named?;
            file.write_all(text.as_bytes())?;
            Ok(Self { file })
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

/// Removes trials that a killed agent left behind. One that is going on is young.
pub(super) fn remove_forgotten(folder: &Path) {
    let now = SystemTime::now();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_forgotten = || {
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
            Some(now.duration_since(modified).is_ok_and(|age| age > FORGOTTEN_AFTER))
        };
        if entry.file_name().to_string_lossy().starts_with(BEGINNING) && is_forgotten() == Some(true) {
            // What cannot be removed takes room and harms nobody.
            let _ = fs::remove_file(entry.path());
        }
    }
}
