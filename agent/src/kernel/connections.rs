//! Counting connections: the program at the sockets of this machine's whole cgroup tree, and the iterator that takes
//! over the connections that are older than it.
//!
//! The program's link is pinned, so it goes on counting while the agent is down, and the next start replaces it in
//! place. Where the link was gone for a while, closings were missed: then a new generation begins, in which what is
//! open is found anew and marks of earlier generations no longer count.

use std::fs::File;
use std::io::Read;

use aya::maps::Array;
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, Iter, SockOps};
use aya::{Btf, Ebpf};
use portmeter_ebpf::layout::{ADOPTION, Adoption, PROGRAM_ADOPT, PROGRAM_CONNECTIONS};

use super::{KernelError, Pins, cgroup, link, maps};

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
    let what = "the list of mounts";
    let root = cgroup::root().map_err(|source| KernelError::Environment { what, source })?;
    let cgroup = File::open(root.ok_or(KernelError::NoCgroupTree)?).map_err(|error| failed(&error))?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
