//! One folder, held open: what is in it is looked at and changed through the handle, never through a path again.

use std::ffi::CStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat};
use nix::unistd::{fchown, fchownat};

use super::PrepareError;
use crate::rights::Account;

/// Opens a folder for reading and nothing but a folder.
const FOLDER: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Takes hold of anything, links included, without opening it.
const ANYTHING: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// An open folder.
pub(super) struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// Makes a folder, or what is there, this owner's with this mode.
    pub(super) fn prepare(
        path: &Path,
        owner: &Account,
        mode: u32,
        say: &mut dyn FnMut(String),
    ) -> Result<Self, PrepareError> {
        let folder = Self::open_or_make(path, say)?;
        folder.set(owner, mode, say)?;
        Ok(folder)
    }

    /// Opens the folder, making it where it is missing.
    fn open_or_make(path: &Path, say: &mut dyn FnMut(String)) -> Result<Self, PrepareError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => say(format!("made {}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(PrepareError::io(path, error)),
        }
        let opened = File::options().read(true).custom_flags(FOLDER.bits()).open(path);
        let handle = opened.map_err(|error| PrepareError::io(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            handle,
        })
    }

    /// Gives the folder itself an owner and a mode.
    fn set(&self, account: &Account, mode: u32, say: &mut dyn FnMut(String)) -> Result<(), PrepareError> {
        let failed = |error| PrepareError::io(&self.path, error);
        let metadata = self.handle.metadata().map_err(failed)?;
        if (metadata.uid(), metadata.gid()) != (account.uid.as_raw(), account.gid.as_raw()) {
            let done = fchown(&self.handle, Some(account.uid), Some(account.gid));
            done.map_err(|error| failed(error.into()))?;
            say(format!("gave {} to {}", self.path.display(), account.name));
        }
        if metadata.mode() & 0o7777 != mode {
            let done = fchmod(&self.handle, Mode::from_bits_truncate(mode));
            done.map_err(|error| failed(error.into()))?;
            say(format!("set the mode of {} to {mode:04o}", self.path.display()));
        }
        Ok(())
    }

    /// Gives what is in the folder to a user, as far as `is_ours` knows its name; all of what is in folders therein.
    pub(super) fn hand_over(
        &self,
        account: &Account,
        is_ours: &dyn Fn(&str) -> bool,
        say: &mut dyn FnMut(String),
    ) -> Result<(), PrepareError> {
        let failed = |error: nix::Error| PrepareError::io(&self.path, error);
        let device = fstat(&self.handle).map_err(failed)?.st_dev;
        let mut entries = Dir::openat(&self.handle, c".", FOLDER, Mode::empty()).map_err(failed)?;
        for entry in entries.iter() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) || !name.to_str().is_ok_and(is_ours) {
                continue;
            }
            self.hand_over_entry(name, device, account, say)?;
        }
        Ok(())
    }

    fn hand_over_entry(
        &self,
        name: &CStr,
        device: u64,
        account: &Account,
        say: &mut dyn FnMut(String),
    ) -> Result<(), PrepareError> {
        let path = self.path.join(name.to_string_lossy().as_ref());
        let failed = |error: nix::Error| PrepareError::io(&path, error);
        let entry = match openat(&self.handle, name, ANYTHING, Mode::empty()) {
            Ok(entry) => entry,
            // A running agent's files come and go.
            Err(nix::Error::ENOENT) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let facts = fstat(&entry).map_err(failed)?;
        if let Some(why) = reason_to_leave_alone(&facts, device) {
            say(format!("left {} alone: {why}", path.display()));
            return Ok(());
        }
        if (facts.st_uid, facts.st_gid) != (account.uid.as_raw(), account.gid.as_raw()) {
            let (user, group) = (Some(account.uid), Some(account.gid));
            fchownat(entry.as_fd(), c"", user, group, AtFlags::AT_EMPTY_PATH).map_err(failed)?;
            say(format!("gave {} to {}", path.display(), account.name));
        }
        if file_type(&facts) == SFlag::S_IFDIR {
            let handle = openat(&entry, c".", FOLDER, Mode::empty()).map_err(failed)?.into();
            return Self { path, handle }.hand_over(account, &|_| true, say);
        }
        Ok(())
    }
}

/// Why something is not handed over: it is, or may be, something of somebody else under one more name.
fn reason_to_leave_alone(facts: &FileStat, device: u64) -> Option<&'static str> {
    match file_type(facts) {
        SFlag::S_IFLNK => Some("it is a symbolic link"),
        _ if facts.st_dev != device => Some("another file system is mounted there"),
        SFlag::S_IFDIR => None,
        _ if facts.st_nlink > 1 => Some("it has more than one name"),
        _ => None,
    }
}

fn file_type(facts: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(facts.st_mode & SFlag::S_IFMT.bits())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn reason(path: &Path, device: u64) -> Option<&'static str> {
        reason_to_leave_alone(&nix::sys::stat::lstat(path).unwrap(), device)
    }

    #[test]
    fn links_of_both_kinds_and_other_file_systems_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let device = std::fs::metadata(folder.path()).unwrap().dev();
        let [file, second_name, link] = ["file", "second", "link"].map(|name| folder.path().join(name));
        std::fs::write(&file, "").unwrap();
        assert_eq!(reason(&file, device), None);
        assert_eq!(reason(folder.path(), device), None);
        assert_eq!(
            reason(folder.path(), device + 1),
            Some("another file system is mounted there")
        );
        symlink(&file, &link).unwrap();
        assert_eq!(reason(&link, device), Some("it is a symbolic link"));
        std::fs::hard_link(&file, &second_name).unwrap();
        assert_eq!(reason(&file, device), Some("it has more than one name"));
    }

    #[test]
    fn a_link_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        symlink(folder.path(), &link).unwrap();
        let opened = Folder::open_or_make(&link, &mut |line| panic!("{line}"));
        assert!(matches!(opened.err(), Some(PrepareError::NoFolder(path)) if path == link));
    }
}
