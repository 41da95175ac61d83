//! A group of its own in the version 2 cgroup tree, for sockets that are made elsewhere than at the tree's root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;

use anyhow::{Context, Result};

use crate::namespace;

/// A threaded group below this process's own: single threads can enter it. Removed when dropped.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// Makes one. `None` where this process may not: the tree is read-only in many containers.
    pub fn new() -> Result<Option<Self>> {
        let Some(own) = own_folder()? else {
            return Ok(None);
        };
        let folder = own.join(format!("portmeter-test-{}-{}", process::id(), namespace::next_number()));
        if fs::create_dir(&folder).is_err() {
            return Ok(None);
        }
        let group = Self { folder };
        fs::write(group.folder.join("cgroup.type"), "threaded").context("making a threaded cgroup")?;
        Ok(Some(group))
    }

    /// Does `work` on a thread in this group.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || {
            // 0 is the thread that writes.
            fs::write(self.folder.join("cgroup.threads"), "0").context("entering the cgroup")?;
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join()).expect("the thread in the cgroup")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("{} stays behind: {error}", self.folder.display());
        }
    }
}

/// The folder of this process's group in the version 2 tree; `None` where that tree is not mounted.
pub(crate) fn own_folder() -> Result<Option<PathBuf>> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let mounts = fs::read_to_string("/proc/mounts")?;
    let root = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find_map(|fields| (fields.get(2) == Some(&"cgroup2")).then(|| Path::new(fields[1]).to_owned()));
    Ok(root.zip(own).map(|(root, own)| root.join(own)))
}
