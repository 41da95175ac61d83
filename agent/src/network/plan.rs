//! Which interfaces are counted on: a decision over plain data.
//!
//! Every interface that owns an IP address is a candidate, because a packet of this host passes one of them on its way
//! in or out. Of those that see the same frames ([`super::stacking`]) one is chosen, so that it passes only one.

use std::collections::BTreeMap;

use super::stacking::Stacking;
use super::{HostNetwork, Interface, LinkLayer};
use crate::config::Interfaces;

/// What is to be done on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Interfaces to attach to.
    pub targets: Vec<Target>,
    /// Names of all others.
    pub left_out: Vec<String>,
    /// One sentence for each thing that was wanted and cannot be.
    pub warnings: Vec<String>,
}

/// One interface to attach to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The interface's index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether its packets begin with an Ethernet header.
    pub has_link_header: bool,
    /// Whether it is this host talking to itself.
    pub is_loopback: bool,
}

/// Decides where to count.
pub fn plan(network: &HostNetwork, wanted: &Interfaces) -> Plan {
    let mut plan = Plan::default();
    let candidates = readable(network, wanted, &mut plan.warnings);
    let stacking = Stacking::of(&network.interfaces);
    let counted = stacking.seeing_each_frame_once(&candidates.keys().copied().collect());
    for interface in &network.interfaces {
        match candidates.get(&interface.index) {
            Some(has_link_header) if counted.contains(&interface.index) => plan.targets.push(Target {
                index: interface.index,
                name: interface.name.clone(),
                has_link_header: *has_link_header,
                is_loopback: interface.link_layer == LinkLayer::Loopback,
            }),
            _ => plan.left_out.push(interface.name.clone()),
        }
    }
    for (upper, lower) in stacking.overlaps(&counted) {
        plan.warnings.push(format!(
            "what passes both {0} and {1} is counted twice: name the interfaces to count on, with {0} or {1} left out",
            upper.name, lower.name
        ));
    }
    for (port, master) in stacking.ports_with_addresses(&counted) {
        plan.warnings.push(format!(
            "{0} is a port of {1} and has an address of its own, and what it sends by itself is not counted: give the \
             address to {1}",
            port.name, master.name
        ));
    }
    if let Interfaces::Named(names) = wanted {
        let missing = names
            .iter()
            .filter(|name| !network.interfaces.iter().any(|one| one.name == **name));
        plan.warnings
            .extend(missing.map(|name| format!("there is no interface {name}; it is counted when it appears")));
    }
    plan
}

/// The interfaces that are wanted and that the programs can read, with whether their packets have a link header.
fn readable(network: &HostNetwork, wanted: &Interfaces, warnings: &mut Vec<String>) -> BTreeMap<u32, bool> {
    let mut readable = BTreeMap::new();
    for interface in network.interfaces.iter().filter(|one| is_wanted(one, wanted)) {
        match has_link_header(interface.link_layer) {
            Ok(has_link_header) => {
                readable.insert(interface.index, has_link_header);
            }
            Err(number) => warnings.push(format!(
                "{} is not counted: its link layer (type {number}) is neither Ethernet nor plain IP",
                interface.name
            )),
        }
    }
    readable
}

fn is_wanted(interface: &Interface, wanted: &Interfaces) -> bool {
    match wanted {
        Interfaces::Auto => interface.has_address,
        Interfaces::Named(names) => names.contains(&interface.name),
    }
}

fn has_link_header(layer: LinkLayer) -> Result<bool, u16> {
    match layer {
        LinkLayer::Ethernet | LinkLayer::Loopback => Ok(true),
        LinkLayer::None => Ok(false),
        LinkLayer::Unknown(number) => Err(number),
    }
}

#[cfg(test)]
mod tests;
