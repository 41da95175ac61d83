//! The `bpf` system call, for the commands that aya 0.14 does not offer. Constants and structures are those of
//! `include/uapi/linux/bpf.h`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// Does what `command` says. `attributes` is the `struct` of `union bpf_attr` that belongs to it.
///
/// Whatever the attributes point to must be valid for what the command reads and writes there, for as long as the call
/// takes; both the pointers and their lengths are the caller's to vouch for.
pub(super) fn call<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes at most `size_of::<T>()` bytes of the attributes, plain data that outlives
    // the call; for what they point to the caller vouches.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// `struct` of `union bpf_attr` for `BPF_MAP_LOOKUP_BATCH`.
#[repr(C)]
#[derive(Default)]
struct LookupBatch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    element_flags: u64,
    flags: u64,
}

/// The first `count` values of an array, in one call (Linux 5.6).
pub(super) fn array_values(map: BorrowedFd<'_>, count: u32) -> io::Result<Vec<i32>> {
    let (mut keys, mut values) = (vec![0_u32; count as usize], vec![0_i32; count as usize]);
    let found = look_up(map, count, &mut keys, &mut values)?;
    values.truncate(found as usize);
    Ok(values)
}

/// How many entries a hash has that has room for `capacity`, in one call (Linux 5.6). `K` and `V` are as long as the
/// map's keys and values.
pub(super) fn entry_count<K, V>(map: BorrowedFd<'_>, capacity: u32) -> io::Result<u32> {
    // Room that nothing is written to costs nothing.
    let room = |bytes: usize| vec![0_u8; bytes * capacity as usize];
    look_up(map, capacity, &mut room(size_of::<K>()), &mut room(size_of::<V>()))
}

/// Fills `keys` and `values`, which have room for `count` entries, with as many as there are.
fn look_up<K, V>(map: BorrowedFd<'_>, count: u32, keys: &mut [K], values: &mut [V]) -> io::Result<u32> {
    let mut next = 0_u32;
    let mut attributes = LookupBatch {
        out_batch: (&raw mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count,
        map_fd: map.as_raw_fd().cast_unsigned(),
        ..LookupBatch::default()
    };
    match call(BPF_MAP_LOOKUP_BATCH, &mut attributes) {
        Ok(_) => {}
        // The map ends with this batch.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(attributes.count)
}
