//! Taking a pinned link off its hook, so that it is certain to count nothing any more.
//!
//! Removing the pin alone is not enough: the kernel frees a link's last reference later, and until then the program
//! runs. `BPF_LINK_DETACH` returns when it has stopped (`tcx_link_detach` waits for running programs). aya 0.14 does
//! not offer it, hence the two system calls.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

/// `enum bpf_cmd` (`linux/bpf.h`).
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_DETACH: libc::c_long = 34;

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

/// Detaches the link pinned at `path` and removes the pin.
pub(super) fn detach_and_unpin(path: &Path) {
    if let Err(error) = open(path).and_then(|link| detach(link.as_raw_fd())) {
        // Gone with its device (ENOLINK, EINVAL), or a kernel before 5.9: the pin's removal has to do.
        tracing::debug!(path = %path.display(), %error, "a link could not be detached");
    }
    super::pins::remove(path);
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = ObjectGet {
        path_name: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    let result = bpf(BPF_OBJ_GET, &attributes)?;
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn detach(link: RawFd) -> io::Result<()> {
    bpf(
        BPF_LINK_DETACH,
        &LinkDetach {
            link_fd: link.cast_unsigned(),
        },
    )
    .map(drop)
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of the attributes, plain data that outlives the call, and the
    // path they may point to, which its owner keeps for as long.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
