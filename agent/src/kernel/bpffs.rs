//! The BPF file system: where pins live.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::KernelError;

/// Where every tool looks for it.
pub const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Mounts bpffs where it is not mounted yet, if that is allowed here; it is its owner's alone. One that is there has
/// to be writable where `pins` are, a folder that may still have to be made.
pub fn ensure_mounted(pins: &Path) -> Result<(), KernelError> {
    if !is_mounted() {
        return mount_with_mode("0700");
    }
    if is_read_only(pins) {
        return Err(KernelError::BpffsReadOnly);
    }
    Ok(())
}

/// Whether nothing can be pinned in a folder of it, or in what there is of the folders above. Asked there, since a service
/// manager may let a service write to its own folder alone. What cannot be asked is refused by whoever pins something.
pub fn is_read_only(folder: &Path) -> bool {
    let present = folder.ancestors().find(|folder| folder.exists());
    present.is_some_and(|folder| statvfs(folder).is_ok_and(|status| status.flags().contains(FsFlags::ST_RDONLY)))
}

/// Whether it is mounted.
pub fn is_mounted() -> bool {
    statfs(Path::new(MOUNT_POINT)).is_ok_and(|status| status.filesystem_type() == BPF_FS_MAGIC)
}

/// Mounts it; `mode` is that of its root folder, in octal.
pub fn mount_with_mode(mode: &str) -> Result<(), KernelError> {
    let options = format!("mode={mode}");
    mount(
        Some("bpf"),
        MOUNT_POINT,
        Some("bpf"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .map_err(|error| KernelError::Bpffs(error.desc().to_lowercase()))
}
