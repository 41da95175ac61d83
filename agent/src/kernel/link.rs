//! What aya 0.14 does not offer for pinned links: detaching one so that it is certain to count nothing any more, and
//! the links of sock_ops programs.
//!
//! Removing the pin alone is not enough: the kernel frees a link's last reference later, and until then the program
//! runs. `BPF_LINK_DETACH` returns when it has stopped (`tcx_link_detach` waits for running programs).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use aya::programs::ProgramFd;
use nix::libc;

use super::bpf;

/// `enum bpf_cmd` (`linux/bpf.h`).
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;

/// `enum bpf_link_type` (`linux/bpf.h`).
const BPF_LINK_TYPE_CGROUP: u32 = 3;

/// `struct` of `union bpf_attr` for `BPF_OBJ_GET`.
#[repr(C)]
struct ObjectGet {
    path_name: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `struct` of `union bpf_attr` for `BPF_LINK_DETACH`.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

/// `struct` of `union bpf_attr` for `BPF_LINK_UPDATE`.
#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_program_fd: u32,
    flags: u32,
    old_program_fd: u32,
}

/// `struct` of `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct GetInfo {
    bpf_fd: u32,
    info_length: u32,
    info: u64,
}

/// `struct bpf_link_info`, for a link to a cgroup.
#[derive(Default)]
#[repr(C)]
struct CgroupLinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    padding: u32,
    cgroup_id: u64,
    attach_type: u32,
    reserved: u32,
}

/// Detaches the link pinned at `path` and removes the pin; one that is not there is fine.
pub(super) fn detach_and_unpin(path: &Path) {
    if let Err(error) = open(path).and_then(|link| detach(link.as_raw_fd()))
        && error.kind() != io::ErrorKind::NotFound
    {
        // Gone with its device (ENOLINK, EINVAL), or a kernel before 5.9: the pin's removal has to do.
        tracing::debug!(path = %path.display(), %error, "a link could not be detached");
    }
    super::pins::remove(path);
}

/// Whether the link pinned at `path` is there and hangs on a cgroup.
pub(super) fn is_attached_to_cgroup(path: &Path) -> bool {
    let info = open(path).and_then(|link| cgroup_info(link.as_raw_fd()));
    info.is_ok_and(|info| info.kind == BPF_LINK_TYPE_CGROUP && info.cgroup_id != 0)
}

/// Replaces the program of the link pinned at `path`, atomically.
pub(super) fn update(path: &Path, program: &ProgramFd) -> io::Result<()> {
    let link = open(path)?;
    let mut attributes = LinkUpdate {
        link_fd: link.as_raw_fd().cast_unsigned(),
        new_program_fd: program.as_fd().as_raw_fd().cast_unsigned(),
        flags: 0,
        old_program_fd: 0,
    };
    bpf::call(BPF_LINK_UPDATE, &mut attributes).map(drop)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = ObjectGet {
        path_name: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    let result = bpf::call(BPF_OBJ_GET, &mut attributes)?;
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn detach(link: RawFd) -> io::Result<()> {
    bpf::call(
        BPF_LINK_DETACH,
        &mut LinkDetach {
            link_fd: link.cast_unsigned(),
        },
    )
    .map(drop)
}

fn cgroup_info(link: RawFd) -> io::Result<CgroupLinkInfo> {
    let mut info = CgroupLinkInfo::default();
    let mut attributes = GetInfo {
        bpf_fd: link.cast_unsigned(),
        info_length: size_of::<CgroupLinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    bpf::call(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
    Ok(info)
}

/// `enum membarrier_cmd` (`linux/membarrier.h`).
const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;

/// Longer than any program runs, and than the kernel takes to notice that it has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Waits until every program that was running when this was called has ended.
///
/// Programs run as readers of the kernel's read-copy-update, and this command waits for all of those
/// (`kernel/sched/membarrier.c`: `synchronize_rcu`). Kernels that keep some CPUs free of interrupts (`nohz_full`) do not
/// offer it; there, a time that is certainly enough has to do.
pub(super) fn wait_for_running_programs() {
    // SAFETY: the call takes plain numbers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result < 0 {
        let error = io::Error::last_os_error();
        tracing::debug!(%error, "no membarrier; waiting instead");
        std::thread::sleep(GRACE);
    }
}
