//! What this kernel and its BPF file system offer.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::util::KernelVersion;

use crate::config::HookChoice;
use crate::kernel::pins::Pins;
use crate::kernel::{Hook, attach, bpffs};

/// What the running kernel can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// Its version as `uname` has it.
    pub release: String,
    /// Major and minor number; `None` when they cannot be told.
    pub version: Option<(u8, u8)>,
    /// Whether it describes its own types (`/sys/kernel/btf/vmlinux`).
    pub has_btf: bool,
    /// How programs are attached here, or why not as configured.
    pub hook: Result<Hook, String>,
}

/// The BPF file system and this instance's folder in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BpfFs {
    /// Whether it is mounted where every tool looks for it.
    pub is_mounted: bool,
    /// Whether nothing can be pinned in it.
    pub is_read_only: bool,
    /// The instance's folder.
    pub folder: PathBuf,
    /// The user who owns that folder; `None` when there is none.
    pub owner: Option<u32>,
    /// What the system said when the folder could not be looked at.
    pub refusal: Option<String>,
}

/// What this kernel offers for counting with the configured hook.
pub fn features(choice: HookChoice) -> Features {
    let uname = nix::sys::utsname::uname();
    let release = uname.map(|names| names.release().to_string_lossy().into_owned());
    let current = KernelVersion::current().ok();
    // The version's numbers are private; the code holds them as the kernel's own KERNEL_VERSION does.
    let version = current.map(|version| {
        let [_, major, minor, _] = version.code().to_be_bytes();
        (major, minor)
    });
    Features {
        release: release.unwrap_or_else(|_| "unknown".to_owned()),
        version,
        has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        hook: attach::choose_hook(choice).map_err(|error| error.to_string()),
    }
}

/// Looks at the BPF file system and the instance's folder.
pub fn bpffs(instance: &str) -> BpfFs {
    let folder = Pins::of(instance).folder().to_owned();
    let (owner, refusal) = match std::fs::metadata(&folder) {
        Ok(metadata) => (Some(metadata.uid()), None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, None),
        Err(error) => (None, Some(error.to_string())),
    };
    BpfFs {
        is_mounted: bpffs::is_mounted(),
        is_read_only: bpffs::is_read_only(&folder),
        folder,
        owner,
        refusal,
    }
}
