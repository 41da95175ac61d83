//! The pins of one instance: `/sys/fs/bpf/portmeter/<instance>/{maps,links}/…`, named so that a person can read them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use portmeter_ebpf::layout;

use super::KernelError;
use crate::rights::name_of;

/// The folder of all instances.
pub const ROOT: &str = "/sys/fs/bpf/portmeter";

/// Every map, all pinned.
pub(super) const MAPS: [&str; 6] = [
    layout::PORT_SLOTS,
    layout::PORT_COUNTERS,
    layout::LOCAL_ADDRESSES_V4,
    layout::LOCAL_ADDRESSES_V6,
    layout::UNATTRIBUTED,
    layout::MAP_LIFE,
];

/// The folder of one instance's pins.
#[derive(Debug, Clone)]
pub struct Pins(PathBuf);

/// One direction of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    /// Ingress.
    Rx,
    /// Egress.
    Tx,
}

impl Direction {
    pub(super) const BOTH: [Self; 2] = [Self::Rx, Self::Tx];

    const fn name(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
        }
    }
}

/// A pinned link, as its name tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkPin {
    pub(super) path: PathBuf,
    pub(super) index: u32,
    pub(super) direction: Direction,
}

impl Pins {
    /// The pins of `instance`, whether there are any or not.
    pub fn of(instance: &str) -> Self {
        Self(Path::new(ROOT).join(instance))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Whether a complete set of maps is pinned.
    pub fn exist(&self) -> bool {
        MAPS.iter().all(|name| self.map(name).exists())
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.0.join("maps").join(name)
    }

    /// `<interface>_<index>_<rx|tx>`; bpffs allows no dots in names, interfaces do.
    pub(super) fn link(&self, interface: &str, index: u32, direction: Direction) -> PathBuf {
        self.0
            .join("links")
            .join(format!("{}_{index}_{}", interface.replace('.', "-"), direction.name()))
    }

    /// Makes the folders and tells whether the maps have to be made: `true` when no complete set is pinned. An
    /// incomplete one is cleared away: counters that no `map_life` vouches for must not be booked.
    pub(super) fn prepare(&self) -> Result<bool, KernelError> {
        self.check_owner()?;
        for folder in [self.0.join("maps"), self.0.join("links")] {
            std::fs::create_dir_all(&folder).map_err(|source| KernelError::Pin { path: folder, source })?;
        }
        if self.exist() {
            return Ok(false);
        }
        self.remove_maps();
        Ok(true)
    }

    /// Refuses a folder of another user, whose maps could say anything, and one that another user could exchange: the
    /// folder of all instances is this user's or root's.
    fn check_owner(&self) -> Result<(), KernelError> {
        let me = geteuid().as_raw();
        check_owner(Path::new(ROOT), &[me, 0])?;
        check_owner(&self.0, &[me])
    }

    /// Every pinned link.
    pub(super) fn links(&self) -> Vec<LinkPin> {
        let Ok(entries) = std::fs::read_dir(self.0.join("links")) else {
            return Vec::new();
        };
        entries.flatten().filter_map(|entry| link_pin(entry.path())).collect()
    }

    pub(super) fn remove_maps(&self) {
        for name in MAPS {
            remove(&self.map(name));
        }
    }

    pub(super) fn remove_folder(&self) {
        for folder in [
            self.0.join("links"),
            self.0.join("maps"),
            self.0.clone(),
            PathBuf::from(ROOT),
        ] {
            // Not empty means that something is still in use, by us or by another instance.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Whether a folder belongs to one of `allowed`; one that is not there does. A symbolic link counts as its maker's.
fn check_owner(folder: &Path, allowed: &[u32]) -> Result<(), KernelError> {
    match std::fs::symlink_metadata(folder) {
        Ok(metadata) if !allowed.contains(&metadata.uid()) => Err(KernelError::ForeignPins {
            path: folder.to_owned(),
            owner: name_of(metadata.uid()),
            user: name_of(geteuid().as_raw()),
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(KernelError::Pin {
            path: folder.to_owned(),
            source,
        }),
    }
}

/// Removes a pin; one that is gone already is fine.
pub(super) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a pin cannot be removed");
    }
}

fn link_pin(path: PathBuf) -> Option<LinkPin> {
    let name = path.file_name()?.to_str()?;
    let (rest, direction) = name.rsplit_once('_')?;
    let (_, index) = rest.rsplit_once('_')?;
    let direction = Direction::BOTH.into_iter().find(|one| one.name() == direction)?;
    Some(LinkPin {
        index: index.parse().ok()?,
        direction,
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_pin_tells_its_interface() {
        let pins = Pins::of("default");
        let path = pins.link("eth0.7_x", 12, Direction::Tx);
        assert!(path.ends_with("default/links/eth0-7_x_12_tx"));
        assert_eq!(
            link_pin(path.clone()),
            Some(LinkPin {
                path,
                index: 12,
                direction: Direction::Tx
            })
        );
        assert_eq!(link_pin(PathBuf::from("/x/eth0")), None);
    }
}
