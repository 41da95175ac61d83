//! The BPF file system: where pins live.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::KernelError;

/// Where every tool looks for it.
const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Mounts bpffs where it is not mounted yet, if that is allowed here.
pub(super) fn ensure_mounted() -> Result<(), KernelError> {
    let is_mounted = |path: &Path| statfs(path).is_ok_and(|status| status.filesystem_type() == BPF_FS_MAGIC);
    if is_mounted(Path::new(MOUNT_POINT)) {
        return Ok(());
    }
    mount(
        Some("bpf"),
        MOUNT_POINT,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )
    .map_err(|error| KernelError::Bpffs(error.desc().to_lowercase()))
}
