//! The version 2 cgroup tree, from whose root the sockets of all processes are watched.

use std::io;
use std::path::PathBuf;

/// Where this process sees the tree's root; `None` when it is not mounted.
pub fn root() -> io::Result<Option<PathBuf>> {
    Ok(mount_point(&std::fs::read_to_string("/proc/self/mountinfo")?))
}

/// The mount point of the first cgroup2 file system (`proc_pid_mountinfo(5)`).
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let is_cgroup2 = file_system.split(' ').next() == Some("cgroup2");
        is_cgroup2.then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn finds_the_mount_among_others() {
        let mounts = "24 1 0:22 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw\n\
                      35 24 0:29 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            mount_point(mounts).as_deref(),
            Some(Path::new("/sys/fs/cgroup/unified"))
        );
        assert_eq!(mount_point("24 1 0:22 / /sys rw - cgroup cgroup rw,cpu\n"), None);
    }
}
