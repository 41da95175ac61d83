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

/// Every map that is pinned, in the order in which a set is removed: one without the first is none any more.
pub(super) const MAPS: [&str; 10] = [
    layout::MAP_LIFE,
    layout::PORT_SLOTS,
    layout::PORT_COUNTERS,
    layout::LOCAL_ADDRESSES_V4,
    layout::LOCAL_ADDRESSES_V6,
    layout::UNATTRIBUTED,
    layout::FEW_ADDRESSES,
    layout::FRAGMENTS,
    layout::CONNECTION_MARKS,
    layout::CONNECTION_OFFSETS,
];

/// How many of [`MAPS`], from the first, each layout has; layouts count from 1.
const MAP_COUNTS: [usize; layout::LAYOUT_VERSION as usize] = [6, 10];

/// The folder of one instance's pins.
#[derive(Debug, Clone)]
pub struct Pins(PathBuf);

/// Where a set of maps is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where a set belongs.
    Maps,
    /// Where its successors are made.
    Successors,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Maps => "maps",
            Self::Successors => "maps_next",
        }
    }
}

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
}

/// Where on an interface a link's program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LinkKind {
    /// At TC, in one direction.
    Tc(Direction),
    /// In the driver, for rx.
    Xdp,
}

impl LinkKind {
    const ALL: [Self; 3] = [Self::Tc(Direction::Rx), Self::Tc(Direction::Tx), Self::Xdp];

    const fn name(self) -> &'static str {
        match self {
            Self::Tc(Direction::Rx) => "rx",
            Self::Tc(Direction::Tx) => "tx",
            Self::Xdp => "xdp",
        }
    }
}

/// A pinned link, as its name tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkPin {
    pub(super) path: PathBuf,
    pub(super) index: u32,
    pub(super) kind: LinkKind,
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

    /// Whether every map of a layout is pinned in a place.
    pub(super) fn is_complete(&self, place: Place, layout_version: u32) -> bool {
        // A later version's maps are its own business: that it is later decides.
        let count = MAP_COUNTS.get((layout_version as usize).wrapping_sub(1)).unwrap_or(&1);
        MAPS.iter().take(*count).all(|name| self.map(place, name).exists())
    }

    pub(super) fn map(&self, place: Place, name: &str) -> PathBuf {
        self.folder_of(place).join(name)
    }

    fn folder_of(&self, place: Place) -> PathBuf {
        self.0.join(place.name())
    }

    /// `<interface>_<index>_<rx|tx|xdp>`; bpffs allows no dots in names, interfaces do.
    pub(super) fn link(&self, interface: &str, index: u32, kind: LinkKind) -> PathBuf {
        self.0
            .join("links")
            .join(format!("{}_{index}_{}", interface.replace('.', "-"), kind.name()))
    }

    /// The link of the program at the sockets.
    pub(super) fn connections_link(&self) -> PathBuf {
        self.0.join("links").join("connections")
    }

    /// Makes the folders, once it is certain that they are this user's.
    pub(super) fn prepare(&self) -> Result<(), KernelError> {
        self.check_owner()?;
        [self.folder_of(Place::Maps), self.0.join("links")]
            .into_iter()
            .try_for_each(make_folder)
    }

    /// Makes the folder for successors.
    pub(super) fn prepare_successors(&self) -> Result<(), KernelError> {
        make_folder(self.folder_of(Place::Successors))
    }

    /// Gives the successors the place of the maps, which are gone.
    pub(super) fn promote_successors(&self) -> Result<(), KernelError> {
        let (from, to) = (self.folder_of(Place::Successors), self.folder_of(Place::Maps));
        self.remove_maps(Place::Maps);
        std::fs::rename(from, &to).map_err(|source| KernelError::Pin { path: to, source })
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

    /// Removes the maps of a place, and the folder of successors with them.
    pub(super) fn remove_maps(&self, place: Place) {
        for name in MAPS {
            remove(&self.map(place, name));
        }
        if place == Place::Successors {
            // It is there only during a move.
            let _ = std::fs::remove_dir(self.folder_of(place));
        }
    }

    pub(super) fn remove_folder(&self) {
        for folder in [
            self.0.join("links"),
            self.folder_of(Place::Successors),
            self.folder_of(Place::Maps),
            self.0.clone(),
            PathBuf::from(ROOT),
        ] {
            // Not empty means that something is still in use, by us or by another instance.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn make_folder(path: PathBuf) -> Result<(), KernelError> {
    std::fs::create_dir_all(&path).map_err(|source| KernelError::Pin { path, source })
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
    let (rest, kind) = name.rsplit_once('_')?;
    let (_, index) = rest.rsplit_once('_')?;
    let kind = LinkKind::ALL.into_iter().find(|one| one.name() == kind)?;
    Some(LinkPin {
        index: index.parse().ok()?,
        kind,
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_pin_tells_its_interface() {
        let pins = Pins::of("default");
        let path = pins.link("eth0.7_x", 12, LinkKind::Tc(Direction::Tx));
        assert!(path.ends_with("default/links/eth0-7_x_12_tx"));
        assert_eq!(
            link_pin(path.clone()),
            Some(LinkPin {
                path,
                index: 12,
                kind: LinkKind::Tc(Direction::Tx)
            })
        );
        assert_eq!(link_pin(PathBuf::from("/x/eth0")), None);
        assert_eq!(link_pin(pins.connections_link()), None);
    }
}
