//! What makes this agent the only one on its data and its instance, and what a failed start takes back.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder of all instances' sockets and locks.
pub const RUN_ROOT: &str = "/run/portmeter";

/// The file in the data folder and in the run folder that an agent holds locked.
pub const LOCK_NAME: &str = "lock";

/// What an agent keeps in its data folder.
pub const DATA_ENTRIES: [&str; 9] = [
    LOCK_NAME,
    "ledger.db",
    "ledger.db-wal",
    "ledger.db-shm",
    "ledger.db-journal",
    "api.key",
    "api.key.new",
    "xray",
    "tls",
];

/// Why a lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent works on the data folder.
    #[error("another portmeter works on the data folder {}: stop it, or choose another --data-dir", .0.display())]
    DataInUse(PathBuf),
    /// Another agent runs under the instance's name.
    #[error("another portmeter runs as instance {0}: stop it, or choose another --instance")]
    InstanceInUse(String),
    /// The system refused.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Takes back what a start has made, unless it is kept: a failed start leaves no trace.
#[derive(Default)]
pub struct Undo {
    made: Vec<PathBuf>,
}

impl Undo {
    /// Makes a folder, with those above it, for its owner alone; notes the ones that were not there.
    pub fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        for folder in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if folder.as_os_str().is_empty() || folder.exists() {
                continue;
            }
            DirBuilder::new().mode(0o700).create(folder)?;
            self.made.push(folder.to_owned());
        }
        Ok(())
    }

    /// Notes a file about to be made, if it is not there yet.
    pub fn watch_file(&mut self, path: PathBuf) {
        if !path.exists() {
            self.made.push(path);
        }
    }

    /// Keeps everything: the start has succeeded.
    pub fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // Gone already, or in use by somebody else by now: either way there is nothing to take back.
            let _ = if path.is_dir() {
                std::fs::remove_dir(path)
            } else {
                std::fs::remove_file(path)
            };
        }
    }
}

/// The folder of an instance's socket and lock.
pub fn run_folder(instance: &str) -> PathBuf {
    Path::new(RUN_ROOT).join(instance)
}

/// An instance's gRPC socket.
pub fn socket_path(instance: &str) -> PathBuf {
    run_folder(instance).join("agent.sock")
}

/// Removes an instance's run folder, and that of all instances where it was the last one. What is not this user's to remove,
/// or is somebody else's, stays.
pub fn remove_run_folder(instance: &str) {
    let folder = run_folder(instance);
    for file in [socket_path(instance), folder.join(LOCK_NAME)] {
        let _ = std::fs::remove_file(file);
    }
    for folder in [folder.as_path(), Path::new(RUN_ROOT)] {
        let _ = std::fs::remove_dir(folder);
    }
}

/// Both locks; they go with the process, however it ends.
pub struct Locks {
    _data: File,
    _instance: File,
}

impl Locks {
    /// Locks the data folder and the instance, making their folders where needed.
    pub fn take(data_folder: &Path, instance: &str, undo: &mut Undo) -> Result<Self, LockError> {
        let DataLock { file: data } = DataLock::take(data_folder, undo)?;
        let folder = run_folder(instance);
        let instance = lock(&folder, undo)?.ok_or_else(|| LockError::InstanceInUse(instance.to_owned()))?;
        Ok(Self {
            _data: data,
            _instance: instance,
        })
    }
}

/// The data folder's lock alone, for who changes the data while no agent runs; it goes with the process.
pub struct DataLock {
    file: File,
}

impl DataLock {
    /// Locks the data folder, making it where needed.
    pub fn take(data_folder: &Path, undo: &mut Undo) -> Result<Self, LockError> {
        let file = lock(data_folder, undo)?.ok_or_else(|| LockError::DataInUse(data_folder.to_owned()))?;
        Ok(Self { file })
    }
}

/// Locks a folder through the file `lock` in it; `None` when somebody else has it.
fn lock(folder: &Path, undo: &mut Undo) -> Result<Option<File>, LockError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LockError::Io { path, source }
    };
    undo.create_folder(folder).map_err(failed(folder))?;
    let path = folder.join(LOCK_NAME);
    undo.watch_file(path.clone());
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&path);
    let file = file.map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_a_failed_start_leaves_no_trace() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("a/b");
        let mut undo = Undo::default();
        let held = lock(&data, &mut undo).unwrap();
        assert!(held.is_some());
        let mut second = Undo::default();
        assert!(lock(&data, &mut second).unwrap().is_none());
        drop(second);
        assert!(
            data.join("lock").exists(),
            "a refused start removed a running one's lock"
        );
        drop((held, undo));
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_kept_stays() {
        let root = tempfile::tempdir().unwrap();
        let mut undo = Undo::default();
        undo.create_folder(&root.path().join("x")).unwrap();
        undo.keep();
        assert!(root.path().join("x").exists());
    }
}
