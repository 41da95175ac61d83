//! Handing an instance to the user that the agent runs as: its pins, its run folder and its data.
//!
//! It works with all of root's rights in folders that may be somebody else's, so it trusts no name in them: every
//! folder and file is opened without following links and changed through what was opened. Asked again, it does
//! nothing.

mod folder;

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, has_cap};

use crate::config::AgentConfig;
use crate::instance::{DATA_ENTRIES, LOCK_NAME, RUN_ROOT, run_folder};
use crate::kernel::{KernelError, PIN_ROOT, Pins, bpffs};
use crate::rights::{Account, name_of};
use folder::Folder;

/// What handing over takes beside being root, which containers and units may have taken away.
const NEEDED: [Capability; 3] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
];

/// The mode of a folder that everybody may pass through.
const SHARED: u32 = 0o755;

/// The mode of a folder that is its owner's alone.
const PRIVATE: u32 = 0o700;

/// Why an instance cannot be handed over.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Not enough rights.
    #[error("preparing takes root's rights (missing {0}): run it as root, for example with sudo")]
    MissingRights(String),
    /// An agent of another user is running.
    #[error("an agent of {owner} holds {}: stop it first; the kernel goes on counting meanwhile", lock.display())]
    Running {
        /// Whose agent.
        owner: String,
        /// The lock that it holds.
        lock: PathBuf,
    },
    /// The data folder is something else.
    #[error(
        "{} holds other files ({found}) and no data of Portmeter, so it stays as it is: name an empty folder with \
         --data-dir",
        path.display()
    )]
    ForeignFolder {
        /// The folder.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// A link or a file where a folder is due.
    #[error("{} is no folder but a link or a file: remove it, or name the folder itself", .0.display())]
    NoFolder(PathBuf),
    /// The BPF file system cannot be used.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The system refused.
    #[error("{} cannot be handed over: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl PrepareError {
    fn io(path: &Path, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.to_owned(), source.into());
        match source.kind() {
            // What opening without following links says of a link (ELOOP) and of a file.
            io::ErrorKind::NotADirectory => Self::NoFolder(path),
            _ if source.raw_os_error() == Some(nix::libc::ELOOP) => Self::NoFolder(path),
            _ => Self::Io { path, source },
        }
    }
}

/// Makes and hands over everything that the agent needs as `account`; `say` is told each thing that was done.
pub fn run(agent: &AgentConfig, account: &Account, say: &mut dyn FnMut(String)) -> Result<(), PrepareError> {
    check_rights()?;
    let run_folder = run_folder(&agent.instance);
    check_data_folder(&agent.data_dir)?;
    let _data_lock = hold(&agent.data_dir, account)?;
    let _instance_lock = hold(&run_folder, account)?;

    prepare_bpffs(account, say)?;
    let root = Account::root();
    for shared in [PIN_ROOT, RUN_ROOT] {
        Folder::prepare(Path::new(shared), &root, SHARED, say)?;
    }
    make_folders_above(&agent.data_dir, &root, say)?;

    let pins = Pins::of(&agent.instance);
    let pin_folder = Folder::prepare(pins.folder(), account, PRIVATE, say)?;
    for name in ["maps", "links"] {
        Folder::prepare(&pins.folder().join(name), account, PRIVATE, say)?;
    }
    pin_folder.hand_over(account, &|_| true, say)?;
    Folder::prepare(&run_folder, account, PRIVATE, say)?.hand_over(account, &|_| true, say)?;
    let data = Folder::prepare(&agent.data_dir, account, PRIVATE, say)?;
    data.hand_over(account, &|name| DATA_ENTRIES.contains(&name), say)
}

fn check_rights() -> Result<(), PrepareError> {
    let missing: Vec<String> = NEEDED
        .into_iter()
        .filter(|capability| !has_cap(None, CapSet::Effective, *capability).unwrap_or(false))
        .map(|capability| capability.to_string())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PrepareError::MissingRights(missing.join(", ")))
    }
}

/// Whoever mistypes the data folder must not give away a folder of the system.
fn check_data_folder(path: &Path) -> Result<(), PrepareError> {
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_dir()) {
        return Err(PrepareError::NoFolder(path.to_owned()));
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PrepareError::io(path, error)),
    };
    let names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    match first_stranger(&names) {
        Some(found) => Err(PrepareError::ForeignFolder {
            path: path.to_owned(),
            found: found.to_owned(),
        }),
        None => Ok(()),
    }
}

/// A name that speaks against a data folder; none where the folder is empty or holds a ledger or a lock.
fn first_stranger(names: &[String]) -> Option<&str> {
    if names.iter().any(|name| name == "ledger.db" || name == LOCK_NAME) {
        return None;
    }
    names.iter().min().map(String::as_str)
}

/// Keeps agents from starting while their folder is handed over. An agent of the same user may go on running: for it
/// nothing changes.
fn hold(folder: &Path, account: &Account) -> Result<Option<File>, PrepareError> {
    let path = folder.join(LOCK_NAME);
    let opened = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(&path);
    let lock = match opened {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A link is nobody's lock; it is left alone later on.
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => return Ok(None),
        Err(error) => return Err(PrepareError::io(&path, error)),
    };
    let owner = lock.metadata().map_err(|error| PrepareError::io(&path, error))?.uid();
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) if owner == account.uid.as_raw() => Ok(None),
        Err(TryLockError::WouldBlock) => Err(PrepareError::Running {
            owner: name_of(owner),
            lock: path,
        }),
        Err(TryLockError::Error(error)) => Err(PrepareError::io(&path, error)),
    }
}

/// Mounts bpffs where it is missing and opens the way through its root, which systemd mounts for root alone.
fn prepare_bpffs(account: &Account, say: &mut dyn FnMut(String)) -> Result<(), PrepareError> {
    let root = Path::new(bpffs::MOUNT_POINT);
    if !bpffs::is_mounted() {
        bpffs::mount_with_mode("0755")?;
        say(format!("mounted the BPF file system at {}", root.display()));
    }
    bpffs::ensure_mounted(root)?;
    let metadata = std::fs::metadata(root).map_err(|error| PrepareError::io(root, error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o001 == 0 && metadata.uid() != account.uid.as_raw() {
        let passable = std::fs::Permissions::from_mode(mode | 0o001);
        std::fs::set_permissions(root, passable).map_err(|error| PrepareError::io(root, error))?;
        say(format!("let everybody pass through {}", root.display()));
    }
    Ok(())
}

/// Makes the folders above a path where they are missing; those that are there stay as they are.
fn make_folders_above(path: &Path, root: &Account, say: &mut dyn FnMut(String)) -> Result<(), PrepareError> {
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    for folder in above.into_iter().rev() {
        if !folder.exists() {
            Folder::prepare(folder, root, SHARED, say)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_or_one_with_a_ledger_is_a_data_folder() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(first_stranger(&names(&[])), None);
        assert_eq!(first_stranger(&names(&["notes.txt", "ledger.db"])), None);
        assert_eq!(first_stranger(&names(&["lock"])), None);
        assert_eq!(first_stranger(&names(&["shadow", "passwd"])), Some("passwd"));
    }
}
