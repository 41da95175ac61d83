//! Why the kernel side failed: one sentence each, with the way out where there is one.

use std::fmt::Write;
use std::path::PathBuf;

use portmeter_ebpf::layout::LAYOUT_VERSION;

use super::takeover::Refusal;

/// Why the kernel side failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// bpffs is not there and cannot be mounted.
    #[error(
        "the BPF file system cannot be mounted at /sys/fs/bpf ({0}): run `portmeter prepare` as root, or mount it with \
         `mount -t bpf bpf /sys/fs/bpf`"
    )]
    Bpffs(String),
    /// bpffs is there, but nothing can be pinned in it.
    #[error(
        "the BPF file system at /sys/fs/bpf is mounted read-only: make it writable with \
         `mount -o remount,rw /sys/fs/bpf`"
    )]
    BpffsReadOnly,
    /// A folder of pins belongs to somebody else.
    #[error(
        "{} belongs to {owner}, and this is {user}: run as {owner}, hand it over with `portmeter prepare --user {user}`, \
         or choose another --instance",
        path.display()
    )]
    ForeignPins {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who this is.
        user: String,
    },
    /// The pinned maps are of another network namespace.
    #[error(
        "instance {instance} counts in another network namespace: choose another --instance, or run \
         `portmeter uninstall --instance {instance}` if that namespace is gone"
    )]
    OtherNamespace {
        /// The instance.
        instance: String,
    },
    /// The pinned maps have a layout that a later version made.
    #[error(
        "the pinned maps of instance {instance} have layout {found}, this version knows {known}: run the version that \
         made them, or let that one run `portmeter uninstall --instance {instance}` first"
    )]
    OtherLayout {
        /// The instance.
        instance: String,
        /// The layout found.
        found: u32,
        /// The layout this build reads.
        known: u32,
    },
    /// More ports than the maps of a move that is not finished have room for.
    #[error(
        "an earlier start was cut short while it moved to maps with room for {capacity} ports, and {needed} are needed: \
         start once with the ports of that time, or run `portmeter uninstall` (it books what was counted) and start again"
    )]
    TooManyPorts {
        /// Slots in the maps.
        capacity: u32,
        /// Slots needed.
        needed: usize,
    },
    /// There is no version 2 cgroup tree.
    #[error(
        "there is no cgroup2 file system to watch sockets from: mount one with `mount -t cgroup2 none /sys/fs/cgroup`"
    )]
    NoCgroupTree,
    /// A driver cannot run XDP programs.
    #[error(
        "the driver of {interface} cannot run the XDP program ({detail}), and what XDP sees without its driver's help is \
         not exact: use capture.hook = \"auto\", or name other interfaces"
    )]
    NoDriverXdp {
        /// The interface.
        interface: String,
        /// What the kernel said.
        detail: String,
    },
    /// TCX was asked for and the kernel has none.
    #[error("capture.hook is \"tcx\", but this kernel is older than 6.6: use \"auto\" or \"clsact\"")]
    NoTcx,
    /// The pins hold something else than they should.
    #[error("the pinned map {name} cannot be used: {detail}")]
    Map {
        /// The map.
        name: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The kernel refused the programs or maps.
    #[error("the kernel refused the BPF programs: {0}")]
    Load(String),
    /// A program could not be attached.
    #[error("{interface} cannot be counted: {detail}")]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel said.
        detail: String,
    },
    /// A pin could not be made or removed.
    #[error("{} cannot be changed: {source}", path.display())]
    Pin {
        /// The pin.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A fact about the running kernel could not be read.
    #[error("{what} cannot be read: {source}")]
    Environment {
        /// Which fact.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl KernelError {
    pub(super) fn refusal(refusal: Refusal, instance: &str) -> Self {
        let instance = instance.to_owned();
        match refusal {
            Refusal::NewerLayout(found) => Self::OtherLayout {
                instance,
                found,
                known: LAYOUT_VERSION,
            },
            Refusal::OtherNamespace => Self::OtherNamespace { instance },
        }
    }

    pub(super) fn load(error: &dyn std::error::Error) -> Self {
        Self::Load(chain(error))
    }

    pub(super) fn map(name: &'static str, error: &dyn std::error::Error) -> Self {
        Self::Map {
            name,
            detail: chain(error),
        }
    }

    pub(super) fn driver_xdp(interface: &str, error: &dyn std::error::Error) -> Self {
        Self::NoDriverXdp {
            interface: interface.to_owned(),
            detail: chain(error),
        }
    }

    pub(super) fn attach(interface: &str, error: &dyn std::error::Error) -> Self {
        Self::Attach {
            interface: interface.to_owned(),
            detail: chain(error),
        }
    }
}

/// An error with its causes on one line; aya says the part that matters in the last of them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = first_line(&error.to_string()).to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(first_line(&part)) {
            let _ = write!(text, ": {}", first_line(&part));
        }
        cause = error.source();
    }
    text
}

/// The verifier's log follows the first line.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
