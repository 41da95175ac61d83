//! The plan of many a host: what is counted on, and what is left to others.

use super::*;

/// An interface with an address. An empty kind is hardware; `tun` has no link header.
fn interface(index: u32, name: &str, kind: &str) -> Interface {
    Interface {
        index,
        name: name.to_owned(),
        link_layer: match kind {
            "tun" => LinkLayer::None,
            "infiniband" => LinkLayer::Unknown(32),
            _ => LinkLayer::Ethernet,
        },
        kind: kind.to_owned(),
        parent_index: None,
        master_index: None,
        is_up: true,
        has_address: true,
        has_routable_address: true,
    }
}

impl Interface {
    fn without_address(self) -> Self {
        Self {
            has_address: false,
            has_routable_address: false,
            ..self
        }
    }

    /// As every device that comes up.
    fn with_link_local_address(self) -> Self {
        Self {
            has_routable_address: false,
            ..self
        }
    }

    fn on(self, parent: u32) -> Self {
        Self {
            parent_index: Some(parent),
            ..self
        }
    }

    fn port_of(self, master: u32) -> Self {
        Self {
            master_index: Some(master),
            ..self
        }
    }
}

fn plan_of(interfaces: &[Interface], wanted: &Interfaces) -> Plan {
    let network = HostNetwork {
        interfaces: interfaces.to_vec(),
        ..HostNetwork::default()
    };
    plan(&network, wanted)
}

/// Counted on are `targets`, without a warning.
fn check(interfaces: &[Interface], targets: &[&str]) {
    check_wanted(interfaces, &Interfaces::Auto, targets, 0);
}

fn check_wanted(interfaces: &[Interface], wanted: &Interfaces, targets: &[&str], warnings: usize) {
    let plan = plan_of(interfaces, wanted);
    let names: Vec<&str> = plan.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!((names.as_slice(), plan.warnings.len()), (targets, warnings), "{plan:?}");
}

fn named(names: &[&str]) -> Interfaces {
    Interfaces::Named(names.iter().map(|&name| name.to_owned()).collect())
}

#[test]
fn attaches_to_interfaces_that_own_an_address() {
    let interfaces = [
        interface(1, "lo", ""),
        interface(2, "eth0", ""),
        interface(3, "p", "veth").without_address(),
    ];
    check(&interfaces, &["lo", "eth0"]);
}

#[test]
fn every_interface_is_a_target_or_left_out() {
    let interfaces = [
        interface(1, "lo", ""),
        interface(2, "eth0", ""),
        interface(3, "eth0.7", "vlan").on(2),
        interface(4, "p", "veth").without_address(),
    ];
    assert_eq!(plan_of(&interfaces, &Interfaces::Auto).left_out, ["eth0.7", "p"]);
}

#[test]
fn leaves_out_what_the_parent_sees() {
    for kind in ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"] {
        let stacked = interface(3, "stacked", kind).on(2);
        check(&[interface(2, "eth0", ""), stacked.clone()], &["eth0"]);
        check(&[interface(2, "eth0", "").without_address(), stacked], &["stacked"]);
    }
}

#[test]
fn leaves_out_what_a_distant_parent_sees() {
    let eth0 = interface(2, "eth0", "");
    let outer = interface(3, "eth0.7", "vlan").on(2).without_address();
    let inner = interface(4, "eth0.7.8", "vlan").on(3);
    let mac = interface(5, "mac0", "macvlan").on(4);
    check(&[eth0.clone(), outer.clone(), inner.clone(), mac.clone()], &["eth0"]);
    let eth0 = eth0.without_address();
    check(
        &[eth0.clone(), outer.clone(), inner.clone(), mac.clone()],
        &["eth0.7.8"],
    );
    check(&[eth0, outer, inner.without_address(), mac], &["mac0"]);
}

#[test]
fn a_parent_in_another_namespace_sees_nothing_for_us() {
    // Its number may be that of another interface here; rtnetlink then gives no parent.
    check(
        &[interface(2, "eth0", ""), interface(3, "mac0", "macvlan")],
        &["eth0", "mac0"],
    );
}

#[test]
fn a_parent_that_cannot_be_read_sees_nothing() {
    let interfaces = [interface(2, "ib0", "infiniband"), interface(3, "ib0.7", "vlan").on(2)];
    check_wanted(&interfaces, &Interfaces::Auto, &["ib0.7"], 1);
}

#[test]
fn tunnels_are_never_left_out() {
    for kind in ["vxlan", "wireguard", "gre", "ipip", "veth", "macsec"] {
        check(
            &[interface(2, "eth0", ""), interface(3, "upper", kind).on(2)],
            &["eth0", "upper"],
        );
    }
}

#[test]
fn a_bridge_is_counted_and_its_ports_are_not() {
    for kind in ["bridge", "bond", "team", "openvswitch"] {
        let interfaces = [
            interface(2, "eth0", "").with_link_local_address().port_of(4),
            interface(3, "veth0", "veth").with_link_local_address().port_of(4),
            interface(4, "master", kind),
        ];
        check(&interfaces, &["master"]);
    }
}

#[test]
fn warns_of_a_port_with_an_address_of_its_own() {
    let interfaces = [
        interface(2, "eth0", "").port_of(4),
        interface(4, "br0", "bridge").with_link_local_address(),
    ];
    check_wanted(&interfaces, &Interfaces::Auto, &["br0"], 1);
}

#[test]
fn ports_of_a_bridge_without_address_are_counted_for_what_they_are() {
    let bridge = interface(4, "br0", "bridge").without_address();
    let port = interface(2, "eth0", "").with_link_local_address().port_of(4);
    check(&[port.clone(), bridge.clone()], &["eth0"]);
    let vlan = interface(5, "br0.7", "vlan").on(4);
    check(&[port, bridge, vlan], &["br0.7"]);
}

#[test]
fn devices_on_a_bridge_are_seen_by_the_bridge() {
    let interfaces = [
        interface(2, "eth0", "").with_link_local_address().port_of(4),
        interface(4, "br0", "bridge"),
        interface(5, "mac0", "macvlan").on(4),
        interface(6, "br0.7", "vlan").on(4),
    ];
    check(&interfaces, &["br0"]);
}

#[test]
fn a_vlan_on_a_port_is_not_seen_by_the_bridge() {
    // Tagged frames leave the port for the VLAN before the bridge takes the others.
    let interfaces = [
        interface(2, "eth0", "").with_link_local_address().port_of(4),
        interface(3, "eth0.7", "vlan").on(2),
        interface(4, "br0", "bridge"),
    ];
    check(&interfaces, &["eth0.7", "br0"]);
}

#[test]
fn a_bond_under_vlan_and_bridge() {
    let bond = interface(4, "bond0", "bond").without_address();
    let interfaces = [
        interface(2, "eth0", "").with_link_local_address().port_of(4),
        interface(3, "eth1", "").with_link_local_address().port_of(4),
        bond,
        interface(5, "bond0.7", "vlan").on(4).port_of(6).without_address(),
        interface(6, "br7", "bridge"),
        interface(7, "bond0.8", "vlan").on(4),
    ];
    check(&interfaces, &["br7", "bond0.8"]);
}

#[test]
fn warns_of_a_bridge_over_a_vlan_of_a_counted_parent() {
    let interfaces = [
        interface(2, "eth0", ""),
        interface(3, "eth0.7", "vlan").on(2).port_of(4).without_address(),
        interface(4, "br7", "bridge"),
    ];
    check_wanted(&interfaces, &Interfaces::Auto, &["eth0", "br7"], 1);
    check_wanted(&interfaces, &named(&["eth0"]), &["eth0"], 0);
    check_wanted(&interfaces, &named(&["br7"]), &["br7"], 0);
}

#[test]
fn a_vrf_and_its_devices_are_all_counted() {
    let interfaces = [
        interface(2, "eth0", "").port_of(3),
        interface(3, "red", "vrf"),
        interface(4, "eth0.7", "vlan").on(2).port_of(3),
    ];
    check(&interfaces, &["eth0", "red"]);
}

#[test]
fn a_ring_of_devices_does_no_harm() {
    let interfaces = [
        interface(2, "a", "vlan").on(3),
        interface(3, "b", "macvlan").on(2),
        interface(4, "c", "bridge").with_link_local_address().port_of(5),
        interface(5, "d", "bridge").with_link_local_address().port_of(4),
    ];
    plan_of(&interfaces, &Interfaces::Auto);
}

#[test]
fn a_tunnel_has_no_link_header() {
    let plan = plan_of(&[interface(9, "tun0", "tun")], &Interfaces::Auto);
    assert!(!plan.targets[0].has_link_header);
}

#[test]
fn a_named_interface_needs_no_address_and_may_be_missing() {
    let interfaces = [interface(2, "eth0", ""), interface(3, "eth1", "").without_address()];
    check_wanted(&interfaces, &named(&["eth1", "eth9"]), &["eth1"], 1);
}

#[test]
fn only_named_interfaces_see_for_others() {
    let interfaces = [
        interface(2, "eth0", "").with_link_local_address().port_of(4),
        interface(3, "eth0.7", "vlan").on(2),
        interface(4, "br0", "bridge"),
    ];
    check_wanted(&interfaces, &named(&["eth0.7"]), &["eth0.7"], 0);
    check_wanted(&interfaces, &named(&["eth0", "eth0.7"]), &["eth0"], 0);
    check_wanted(&interfaces, &named(&["eth0", "br0"]), &["br0"], 0);
    check_wanted(&interfaces, &named(&["eth0"]), &["eth0"], 0);
}
