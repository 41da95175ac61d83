//! Counting connections: the program at the sockets of this machine's whole cgroup tree, and the iterator that takes
//! over the connections that are older than it.
//!
//! The program's link is pinned, so it goes on counting while the agent is down, and the next start replaces it in
//! place. Where the link was gone for a while, closings were missed: then a new generation begins, in which what is
//! open is found anew and marks of earlier generations no longer count.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use aya::maps::Array;
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, Iter, SockOps};
use aya::{Btf, Ebpf};
use portmeter_ebpf::layout::{ADOPTION, Adoption, PROGRAM_ADOPT, PROGRAM_CONNECTIONS};

use super::{KernelError, Pins, link, maps};

/// How completely connections are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionWatch {
    /// The programs have seen each one that is open.
    Complete,
    /// They have not, for the reason given in one sentence: how many are open has to be asked of the socket tables.
    Incomplete(String),
}

/// [`Adoption`] as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PlainAdoption(Adoption);

// SAFETY: `Adoption` is `repr(C)`, two `u64` without padding, valid for every bit pattern.
unsafe impl aya::Pod for PlainAdoption {}

/// Makes the program run at the sockets, in place of the one of an earlier start where there is one.
pub(super) fn attach(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), KernelError> {
    let program: &mut SockOps = maps::program_mut(ebpf, PROGRAM_CONNECTIONS)?;
    program.load().map_err(|error| KernelError::load(&error))?;
    let pin = pins.connections_link();
    if is_attached(pins) {
        let fd = program.fd().map_err(|error| KernelError::load(&error))?;
        return link::update(&pin, fd).map_err(|source| KernelError::Pin { path: pin, source });
    }
    // One that hangs on nothing any more.
    link::detach_and_unpin(&pin);
    let failed = |error: &dyn std::error::Error| KernelError::attach("the cgroup tree", error);
    let root = cgroup_root()?;
    let cgroup = File::open(&root).map_err(|error| failed(&error))?;
    let id = program
        .attach(cgroup, CgroupAttachMode::Single)
        .map_err(|error| failed(&error))?;
    let link = program.take_link(id).map_err(|error| failed(&error))?;
    let link = FdLink::try_from(link).map_err(|error| failed(&error))?;
    link.pin(&pin).map_err(|error| failed(&error))?;
    Ok(())
}

/// Whether the program of an earlier start is still running at the sockets.
pub(super) fn is_attached(pins: &Pins) -> bool {
    link::is_attached_to_cgroup(&pins.connections_link())
}

/// Takes over the connections that are older than the program. Asked again, it takes over none twice.
pub(super) fn adopt(ebpf: &mut Ebpf) -> Result<Adoption, KernelError> {
    let failed = |error: &dyn std::error::Error| KernelError::load(error);
    let types = Btf::from_sys_fs().map_err(|error| failed(&error))?;
    let program: &mut Iter = maps::program_mut(ebpf, PROGRAM_ADOPT)?;
    program.load("tcp", &types).map_err(|error| failed(&error))?;
    let id = program.attach().map_err(|error| failed(&error))?;
    let link = program.take_link(id).map_err(|error| failed(&error))?;
    let mut sockets = link.into_file().map_err(|error| failed(&error))?;
    // The program runs once for each socket while this is read; it writes nothing.
    sockets
        .read_to_end(&mut Vec::new())
        .map_err(|source| KernelError::Environment {
            what: "the table of TCP sockets",
            source,
        })?;
    let outcome: Array<_, PlainAdoption> = maps::find_mut(ebpf, ADOPTION)?
        .try_into()
        .map_err(|error| KernelError::map(ADOPTION, &error))?;
    let outcome = outcome.get(&0, 0).map_err(|error| KernelError::map(ADOPTION, &error))?;
    Ok(outcome.0)
}

/// What the two steps come to.
pub(super) fn watch(attached: &Result<(), KernelError>, adoption: &Result<Adoption, KernelError>) -> ConnectionWatch {
    match (attached, adoption) {
        (Err(error), _) => ConnectionWatch::Incomplete(format!("connections cannot be watched: {error}")),
        (Ok(()), Err(error)) => ConnectionWatch::Incomplete(format!("older connections cannot be taken over: {error}")),
        (Ok(()), Ok(Adoption { failed: 0, .. })) => ConnectionWatch::Complete,
        (Ok(()), Ok(Adoption { failed, .. })) => ConnectionWatch::Incomplete(format!(
            "{failed} connections are older than the programs, and this kernel (before about 6.12) does not let them \
             be taken over"
        )),
    }
}

/// The root of the version 2 cgroup tree, wherever it is mounted.
pub(super) fn cgroup_root() -> Result<PathBuf, KernelError> {
    let what = "/proc/self/mountinfo";
    let mounts = std::fs::read_to_string(what).map_err(|source| KernelError::Environment { what, source })?;
    find_cgroup_root(&mounts).ok_or(KernelError::NoCgroupTree)
}

/// The first mount of a cgroup2 file system in the form of `proc_pid_mountinfo(5)`: the mount point is the fifth
/// field, the type the first one behind the lone dash.
fn find_cgroup_root(mounts: &str) -> Option<PathBuf> {
    mounts
        .lines()
        .find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let is_cgroup2 = after.split(' ').next() == Some("cgroup2");
            is_cgroup2.then(|| before.split(' ').nth(4)).flatten().map(Path::new)
        })
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_cgroup_tree_wherever_it_is() {
        let hybrid = "24 1 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
                      30 24 0:26 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(find_cgroup_root(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(find_cgroup_root("24 1 0:22 / /sys rw - sysfs sysfs rw\n"), None);
    }

    #[test]
    fn connections_are_watched_completely_where_everything_was_seen() {
        let adopted = |failed| Ok(Adoption { adopted: 3, failed });
        assert_eq!(watch(&Ok(()), &adopted(0)), ConnectionWatch::Complete);
        for (attached, adoption) in [
            (Ok(()), adopted(1)),
            (Ok(()), Err(KernelError::NoTcx)),
            (Err(KernelError::NoCgroupTree), adopted(0)),
        ] {
            let watch = watch(&attached, &adoption);
            assert!(matches!(watch, ConnectionWatch::Incomplete(_)), "{watch:?}");
        }
    }
}
