//! Which devices see the same frames, so that no frame is counted at two of them.
//!
//! Two ways of stacking lead to the same frame passing the hooks of several devices:
//!
//! - A VLAN, macvlan or ipvlan device on a parent: the parent sees its frames too, in both directions.
//! - A port of a bridge, bond or team: what arrives at the port goes on to the master instead of into the IP stack, so
//!   the port's own addresses are nobody's. Ports have addresses all the same: Linux gives every device that comes up
//!   an IPv6 link-local one, a bridge's ports too.
//!
//! A device in a VRF is no such port: its packets enter the IP stack as from any other device, and the VRF device sees
//! only what the host says to itself.

use std::collections::{BTreeMap, BTreeSet};

use super::Interface;

/// Kinds of device whose frames pass their parent's hooks too.
const STACKED_KINDS: [&str; 5] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];

/// The kind of master that takes no frames from the devices it owns.
const ROUTING_MASTER_KIND: &str = "vrf";

/// A namespace's devices and how they lie on each other.
pub(super) struct Stacking<'a> {
    devices: BTreeMap<u32, &'a Interface>,
}

impl<'a> Stacking<'a> {
    /// From the facts about one namespace.
    pub(super) fn of(interfaces: &'a [Interface]) -> Self {
        Self {
            devices: interfaces.iter().map(|one| (one.index, one)).collect(),
        }
    }

    /// Those of `candidates` that together see every frame that any of them sees, and each frame once.
    pub(super) fn seeing_each_frame_once(&self, candidates: &BTreeSet<u32>) -> BTreeSet<u32> {
        let is_candidate = |index: &u32| candidates.contains(index);
        let without_ports: BTreeSet<u32> = candidates
            .iter()
            .copied()
            .filter(|port| !self.above_port(*port).iter().any(is_candidate))
            .collect();
        let is_seen_below = |index: &u32| self.below(*index).iter().any(|parent| without_ports.contains(parent));
        without_ports
            .iter()
            .copied()
            .filter(|index| !is_seen_below(index))
            .collect()
    }

    /// Ports that own an address beyond the link although a device above them counts their frames, each with its master.
    /// What they receive is counted there; what the host sends through them by itself, by that address's route, nowhere.
    pub(super) fn ports_with_addresses(&self, counted: &BTreeSet<u32>) -> Vec<(&'a Interface, &'a Interface)> {
        let ports = self.devices.values().filter(|port| {
            port.has_routable_address
                && !counted.contains(&port.index)
                && !self.above_port(port.index).is_disjoint(counted)
        });
        ports
            .filter_map(|port| Some((*port, *self.devices.get(&port.master_index?)?)))
            .collect()
    }

    /// Pairs of `counted` devices that see some frames both, the upper one first: a bridge or bond, and the parent of
    /// a VLAN, macvlan or ipvlan device that is its port. Neither can be left out, for each sees frames alone too.
    pub(super) fn overlaps(&self, counted: &BTreeSet<u32>) -> Vec<(&'a Interface, &'a Interface)> {
        let mut overlaps = Vec::new();
        for upper in counted {
            let ports = self.devices.values().filter(|one| self.master_of(one) == Some(*upper));
            let parents: BTreeSet<u32> = ports.flat_map(|port| self.below(port.index)).collect();
            for lower in parents.intersection(counted) {
                if let (Some(upper), Some(lower)) = (self.devices.get(upper), self.devices.get(lower)) {
                    overlaps.push((*upper, *lower));
                }
            }
        }
        overlaps
    }

    /// The devices whose hooks a stacked device's frames pass below it, nearest first.
    fn below(&self, index: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut present = self.devices.get(&index);
        while let Some(parent) = present.and_then(|one| stacked_on(one)) {
            // The kernel makes no rings, but two answers of different moments could.
            if found.contains(&parent) {
                break;
            }
            found.push(parent);
            present = self.devices.get(&parent);
        }
        found
    }

    /// The devices that see a port's frames above it: its master, and what lies on that. None for what is no port.
    fn above_port(&self, port: u32) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut unvisited: Vec<u32> = self
            .devices
            .get(&port)
            .and_then(|one| self.master_of(one))
            .into_iter()
            .collect();
        while let Some(index) = unvisited.pop() {
            if !found.insert(index) {
                continue;
            }
            unvisited.extend(self.devices.get(&index).and_then(|one| self.master_of(one)));
            let stacked = self.devices.values().filter(|one| stacked_on(one) == Some(index));
            unvisited.extend(stacked.map(|one| one.index));
        }
        found.remove(&port);
        found
    }

    /// The master that takes a device's frames.
    fn master_of(&self, device: &Interface) -> Option<u32> {
        let master = self.devices.get(&device.master_index?)?;
        (master.kind != ROUTING_MASTER_KIND).then_some(master.index)
    }
}

/// The parent of a device that is stacked on one.
fn stacked_on(device: &Interface) -> Option<u32> {
    STACKED_KINDS
        .contains(&device.kind.as_str())
        .then_some(device.parent_index)
        .flatten()
}
