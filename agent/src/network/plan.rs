//! Which interfaces are counted on: a decision over plain data.
//!
//! Every interface that owns an IP address is a target, because a packet of this host passes exactly one of them on
//! its way in or out. A VLAN, macvlan or ipvlan device whose parent is a target is left out: the parent sees the
//! same frames.

use std::collections::BTreeSet;

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

/// Kinds of device whose frames pass their parent's hooks too.
const STACKED_KINDS: [&str; 5] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];

/// Decides where to count.
pub fn plan(network: &HostNetwork, wanted: &Interfaces) -> Plan {
    let mut plan = Plan::default();
    let candidates: Vec<&Interface> = network.interfaces.iter().filter(|one| is_wanted(one, wanted)).collect();
    let indexes: BTreeSet<u32> = candidates.iter().map(|one| one.index).collect();
    for interface in candidates {
        if is_seen_by_parent(interface, &indexes) {
            continue;
        }
        match has_link_header(interface.link_layer) {
            Ok(has_link_header) => plan.targets.push(Target {
                index: interface.index,
                name: interface.name.clone(),
                has_link_header,
                is_loopback: interface.link_layer == LinkLayer::Loopback,
            }),
            Err(number) => plan.warnings.push(format!(
                "{} is not counted: its link layer (type {number}) is neither Ethernet nor plain IP",
                interface.name
            )),
        }
    }
    if let Interfaces::Named(names) = wanted {
        let missing = names
            .iter()
            .filter(|name| !network.interfaces.iter().any(|one| one.name == **name));
        plan.warnings
            .extend(missing.map(|name| format!("there is no interface {name}; it is counted when it appears")));
    }
    let is_target = |one: &&Interface| plan.targets.iter().any(|target| target.index == one.index);
    let others = network.interfaces.iter().filter(|one| !is_target(one));
    plan.left_out = others.map(|one| one.name.clone()).collect();
    plan
}

fn is_wanted(interface: &Interface, wanted: &Interfaces) -> bool {
    match wanted {
        Interfaces::Auto => interface.has_address,
        Interfaces::Named(names) => names.contains(&interface.name),
    }
}

fn is_seen_by_parent(interface: &Interface, targets: &BTreeSet<u32>) -> bool {
    STACKED_KINDS.contains(&interface.kind.as_str())
        && interface.parent_index.is_some_and(|parent| targets.contains(&parent))
}

fn has_link_header(layer: LinkLayer) -> Result<bool, u16> {
    match layer {
        LinkLayer::Ethernet | LinkLayer::Loopback => Ok(true),
        LinkLayer::None => Ok(false),
        LinkLayer::Unknown(number) => Err(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::InterfaceStatistics;

    fn interface(index: u32, name: &str, kind: &str, parent: Option<u32>, has_address: bool) -> Interface {
        Interface {
            index,
            name: name.to_owned(),
            link_layer: if kind == "tun" {
                LinkLayer::None
            } else {
                LinkLayer::Ethernet
            },
            kind: kind.to_owned(),
            parent_index: parent,
            is_up: true,
            has_address,
            statistics: InterfaceStatistics::default(),
        }
    }

    fn check(interfaces: Vec<Interface>, wanted: &Interfaces, targets: &[&str], warnings: usize) {
        let plan = plan(
            &HostNetwork {
                interfaces,
                ..HostNetwork::default()
            },
            wanted,
        );
        let names: Vec<&str> = plan.targets.iter().map(|target| target.name.as_str()).collect();
        assert_eq!((names.as_slice(), plan.warnings.len()), (targets, warnings));
    }

    #[test]
    fn attaches_to_interfaces_that_own_an_address() {
        let interfaces = vec![
            interface(1, "lo", "", None, true),
            interface(2, "eth0", "", None, true),
            interface(3, "p", "veth", None, false),
        ];
        check(interfaces, &Interfaces::Auto, &["lo", "eth0"], 0);
    }

    #[test]
    fn leaves_out_what_the_parent_sees() {
        let stacked = |parent_has_address| {
            vec![
                interface(2, "eth0", "", None, parent_has_address),
                interface(3, "eth0.7", "vlan", Some(2), true),
                interface(4, "mac0", "macvlan", Some(2), true),
                interface(5, "br0", "bridge", None, true),
            ]
        };
        check(stacked(true), &Interfaces::Auto, &["eth0", "br0"], 0);
        check(stacked(false), &Interfaces::Auto, &["eth0.7", "mac0", "br0"], 0);
    }

    #[test]
    fn a_tunnel_has_no_link_header() {
        let network = HostNetwork {
            interfaces: vec![interface(9, "tun0", "tun", None, true)],
            ..HostNetwork::default()
        };
        assert!(!plan(&network, &Interfaces::Auto).targets[0].has_link_header);
    }

    #[test]
    fn every_interface_is_a_target_or_left_out() {
        let interfaces = vec![
            interface(1, "lo", "", None, true),
            interface(2, "eth0", "", None, true),
            interface(3, "eth0.7", "vlan", Some(2), true),
            interface(4, "p", "veth", None, false),
        ];
        let network = HostNetwork {
            interfaces,
            ..HostNetwork::default()
        };
        assert_eq!(plan(&network, &Interfaces::Auto).left_out, ["eth0.7", "p"]);
    }

    #[test]
    fn a_named_interface_needs_no_address_and_may_be_missing() {
        let wanted = Interfaces::Named(vec!["eth1".into(), "eth9".into()]);
        check(
            vec![
                interface(2, "eth0", "", None, true),
                interface(3, "eth1", "", None, false),
            ],
            &wanted,
            &["eth1"],
            1,
        );
    }
}
