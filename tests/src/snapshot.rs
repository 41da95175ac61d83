//! What a folder holds, to see that nothing in it has changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Every path below a folder with what can be told of it.
pub type Snapshot = BTreeMap<PathBuf, Entry>;

/// A file or folder as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    inode: u64,
    mode: u32,
    /// Contents of an ordinary file; empty for anything else.
    contents: Vec<u8>,
}

/// Everything below `folder`; nothing when there is no such folder.
pub fn of(folder: &Path) -> Result<Snapshot> {
    let mut snapshot = Snapshot::new();
    if folder.exists() {
        add(folder, &mut snapshot)?;
    }
    Ok(snapshot)
}

/// The paths alone, for folders whose files are being written.
pub fn paths_of(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(of(folder)?.into_keys().collect())
}

fn add(path: &Path, snapshot: &mut Snapshot) -> Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    // Pins of the BPF file system are ordinary files that cannot be read.
    let contents = if metadata.is_file() {
        fs::read(path).unwrap_or_default()
    } else {
        Vec::new()
    };
    snapshot.insert(
        path.to_path_buf(),
        Entry {
            inode: metadata.ino(),
            mode: metadata.mode(),
            contents,
        },
    );
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            add(&entry?.path(), snapshot)?;
        }
    }
    Ok(())
}
