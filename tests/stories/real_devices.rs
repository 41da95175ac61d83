//! Devices that stand on other devices, or inside which a packet travels: VLANs, bonds, macvlan, ipvlan, WireGuard and
//! dummies. Whatever a packet passes on its way, it is counted once.
//!
//! The kernel has to have them; Debian's kernels do (`cargo xtask test --kernel 6.1`). The truth is captured on the
//! client, at the device that faces the server's.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::Counts;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{
    CLIENT_V4, CLIENT_V6, Offloads, Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6, cable, driver_packets, offloads,
    plug_in,
};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;
use portmeter_tests::{command, exactness, needs};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_vlan_on_a_counted_parent", a_vlan_on_a_counted_parent),
    ("a_vlan_in_a_vlan_on_a_counted_parent", a_vlan_in_a_vlan),
    ("a_vlan_on_a_parent_without_addresses", a_vlan_on_a_bare_parent),
    ("a_macvlan_on_a_counted_parent", || {
        on_a_counted_parent("macvlan mode bridge")
    }),
    ("a_macvlan_on_a_parent_without_addresses", || {
        on_a_bare_parent("macvlan mode bridge")
    }),
    ("an_ipvlan_on_a_counted_parent", || {
        on_a_counted_parent("ipvlan mode l2")
    }),
    ("an_ipvlan_on_a_parent_without_addresses", || {
        on_a_bare_parent("ipvlan mode l2")
    }),
    ("a_bond_of_two_cables", a_bond_of_two_cables),
    ("an_address_on_a_dummy", an_address_on_a_dummy),
    ("inside_a_wireguard_tunnel", || inside_a_wireguard_tunnel(Offloads::Off)),
    ("large_packets_inside_a_wireguard_tunnel", || {
        inside_a_wireguard_tunnel(Offloads::On)
    }),
];

/// The server's addresses on the device that a story is about.
const SERVER: [&str; 2] = ["10.79.0.1", "fd79::1"];
const SERVER_SUBNETS: [&str; 2] = ["10.79.0.1/24", "fd79::1/64"];
const CLIENT_SUBNETS: [&str; 2] = ["10.79.0.2/24", "fd79::2/64"];
const CLIENT_INSIDE: &str = "10.79.0.2";

/// Fits a tunnel's packet of 1420 bytes.
const DATAGRAMS: [usize; 4] = [0, 1, 500, 1_300];

/// Tagged frames, with the tag beside the packet or within it: whether a device puts tags in by itself decides.
fn a_vlan_on_a_counted_parent() -> Result<()> {
    needs::device("vlan")?;
    let pair = Pair::new()?;
    for host in [&pair.server, &pair.client] {
        host.run("ip link add link eth0 name eth0.7 type vlan id 7")?;
        offloads(host, "eth0.7", Offloads::Off)?;
    }
    plug_in(&pair.server, "eth0.7", &SERVER_SUBNETS)?;
    plug_in(&pair.client, "eth0.7", &CLIENT_SUBNETS)?;
    let agent = Agent::started(&pair.server)?;
    for tagging in ["on", "off"] {
        for host in [&pair.server, &pair.client] {
            host.run(&format!("ethtool -K eth0 txvlan {tagging} rxvlan {tagging}"))?;
        }
        is_exact(&pair, &agent, "eth0.7", "eth0.7", &addresses(SERVER)?)?;
    }
    counts_on(&agent, "eth0", "eth0.7")
}

/// A provider's tag around a customer's.
fn a_vlan_in_a_vlan() -> Result<()> {
    needs::device("vlan")?;
    let pair = Pair::new()?;
    for host in [&pair.server, &pair.client] {
        host.run("ip link add link eth0 name outer type vlan proto 802.1ad id 100")?;
        host.run("ip link set outer up")?;
        host.run("ip link add link outer name inner type vlan id 7")?;
        offloads(host, "inner", Offloads::Off)?;
    }
    plug_in(&pair.server, "inner", &SERVER_SUBNETS)?;
    plug_in(&pair.client, "inner", &CLIENT_SUBNETS)?;
    let agent = Agent::started(&pair.server)?;
    is_exact(&pair, &agent, "inner", "inner", &addresses(SERVER)?)?;
    counts_on(&agent, "eth0", "inner")
}

fn a_vlan_on_a_bare_parent() -> Result<()> {
    needs::device("vlan")?;
    let pair = Pair::new()?;
    bare(&pair.server)?;
    for host in [&pair.server, &pair.client] {
        host.run("ip link add link eth0 name eth0.7 type vlan id 7")?;
        offloads(host, "eth0.7", Offloads::Off)?;
    }
    plug_in(&pair.server, "eth0.7", &SERVER_SUBNETS)?;
    plug_in(&pair.client, "eth0.7", &CLIENT_SUBNETS)?;
    let agent = Agent::started(&pair.server)?;
    is_exact(&pair, &agent, "eth0.7", "eth0.7", &addresses(SERVER)?)?;
    counts_on(&agent, "eth0.7", "eth0")
}

/// A device of this type on the server's eth0; the client has nothing but its eth0.
fn on_a_counted_parent(device: &str) -> Result<()> {
    let pair = stacked(device)?;
    let agent = Agent::started(&pair.server)?;
    is_exact(&pair, &agent, "upper", "eth0", &addresses(SERVER)?)?;
    counts_on(&agent, "eth0", "upper")?;
    // The parent's own addresses are counted beside it as ever.
    is_exact(&pair, &agent, "eth0", "eth0", &SERVER_ADDRESSES)?;
    Ok(())
}

fn on_a_bare_parent(device: &str) -> Result<()> {
    let pair = stacked(device)?;
    bare(&pair.server)?;
    let agent = Agent::started(&pair.server)?;
    is_exact(&pair, &agent, "upper", "eth0", &addresses(SERVER)?)?;
    counts_on(&agent, "upper", "eth0")
}

fn stacked(device: &str) -> Result<Pair> {
    needs::device(device.split(' ').next().unwrap_or(device))?;
    let pair = Pair::new()?;
    // Otherwise eth0 answers for the other device's address, and the other device sees nothing.
    pair.server.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
    pair.server
        .run(&format!("ip link add link eth0 name upper type {device}"))?;
    offloads(&pair.server, "upper", Offloads::Off)?;
    plug_in(&pair.server, "upper", &SERVER_SUBNETS)?;
    plug_in(&pair.client, "eth0", &CLIENT_SUBNETS)?;
    Ok(pair)
}

/// Packets take turns on two cables and are counted where they come together.
fn a_bond_of_two_cables() -> Result<()> {
    needs::device("bond")?;
    let pair = Pair::new()?;
    cable((&pair.server, "eth1"), (&pair.client, "eth1"))?;
    for host in [&pair.server, &pair.client] {
        offloads(host, "eth1", Offloads::Off)?;
        host.run("ip link add bond0 type bond mode balance-rr")?;
        for port in ["eth0", "eth1"] {
            host.run(&format!("ip link set {port} down"))?;
            host.run(&format!("ip address flush dev {port}"))?;
            host.run(&format!("ip link set {port} master bond0"))?;
        }
        offloads(host, "bond0", Offloads::Off)?;
    }
    plug_in(
        &pair.server,
        "bond0",
        &[&format!("{SERVER_V4}/24"), &format!("{SERVER_V6}/64")],
    )?;
    plug_in(
        &pair.client,
        "bond0",
        &[&format!("{CLIENT_V4}/24"), &format!("{CLIENT_V6}/64")],
    )?;
    let agent = Agent::started(&pair.server)?;
    let before = driver_packets(&pair.server, "eth1")?;
    is_exact(&pair, &agent, "bond0", "bond0", &SERVER_ADDRESSES)?;
    let after = driver_packets(&pair.server, "eth1")?;
    ensure!(
        after.0 > before.0 + 50 && after.1 > before.1 + 50,
        "the second cable has carried nothing: {before:?}, {after:?}"
    );
    counts_on(&agent, "bond0", "eth0")?;
    counts_on(&agent, "bond0", "eth1")
}

/// A service's address that is on no cable: its packets come in over eth0.
fn an_address_on_a_dummy() -> Result<()> {
    needs::device("dummy")?;
    let pair = Pair::new()?;
    pair.server.run("ip link add service type dummy")?;
    plug_in(&pair.server, "service", &["10.79.0.1/32", "fd79::1/128"])?;
    pair.client.run(&format!("ip route add 10.79.0.1 via {SERVER_V4}"))?;
    pair.client.run(&format!("ip -6 route add fd79::1 via {SERVER_V6}"))?;
    let agent = Agent::started(&pair.server)?;
    is_exact(&pair, &agent, "eth0", "eth0", &addresses(SERVER)?)?;
    Ok(())
}

/// Inside the tunnel there is no link header; outside, the same bytes are somebody else's UDP.
fn inside_a_wireguard_tunnel(at_server: Offloads) -> Result<()> {
    let pair = tunnel()?;
    offloads(&pair.server, "wg0", at_server)?;
    let agent = Agent::started(&pair.server)?;
    let server = addresses(SERVER)?;
    let seen_by_server = Capture::start(&pair.server, "wg0", &server)?;
    let truth = is_exact(&pair, &agent, "wg0", "wg0", &server)?;
    let seen_by_server = seen_by_server.finish(CLIENT_INSIDE.parse()?)?;
    let sent = |counts: &Counts| counts.values().map(|count| count.tx_packets).sum::<u64>();
    ensure!(
        at_server == Offloads::Off || sent(&seen_by_server) + 50 < sent(&truth),
        "sent in {} packets, {} in the tunnel: not aggregated",
        sent(&seen_by_server),
        sent(&truth)
    );
    ensure!(agent.grpc()?.is_attached("wg0")?, "wg0 is not counted on");
    ensure!(agent.grpc()?.is_attached("eth0")?, "eth0 is not counted on");
    Ok(())
}

/// Server and client joined by a tunnel of their own.
fn tunnel() -> Result<Pair> {
    needs::device("wireguard")?;
    needs::program("wg", "wireguard-tools")?;
    let pair = Pair::new()?;
    let folder = tempfile::tempdir()?;
    let mut public_keys = Vec::new();
    for (host, role) in [(&pair.server, "server"), (&pair.client, "client")] {
        let key = folder.path().join(role);
        let key = key.to_str().context("the path of a key")?;
        let make_key = format!("umask 077; wg genkey > {key}; wg pubkey < {key}");
        public_keys.push(command::output(Command::new("bash").args(["-c", &make_key]))?);
        host.run("ip link add wg0 type wireguard")?;
        host.run(&format!("wg set wg0 listen-port 51820 private-key {key}"))?;
    }
    for (host, peer, endpoint) in [
        (&pair.server, &public_keys[1], CLIENT_V4),
        (&pair.client, &public_keys[0], SERVER_V4),
    ] {
        host.run(&format!(
            "wg set wg0 peer {} endpoint {endpoint}:51820 allowed-ips 10.79.0.0/24,fd79::/64",
            peer.trim()
        ))?;
    }
    offloads(&pair.client, "wg0", Offloads::Off)?;
    plug_in(&pair.server, "wg0", &SERVER_SUBNETS)?;
    plug_in(&pair.client, "wg0", &CLIENT_SUBNETS)?;
    Ok(pair)
}

/// TCP both ways and datagrams to two keys of their own, over every address: all faces show what the client's
/// `facing` captured, it passed the server's `device`, and nothing is left unattributed.
fn is_exact(pair: &Pair, agent: &Agent<'_>, device: &str, facing: &str, server: &[IpAddr; 2]) -> Result<Counts> {
    let ports = agent
        .rest()
        .create_keys(2)?
        .iter()
        .map(|key| key.port)
        .collect::<Vec<_>>();
    let capture = Capture::start(&pair.client, facing, server)?;
    let before = driver_packets(&pair.server, device)?;
    let transfers = [
        Transfer::new(server[0], ports[0], 150_007, 250_013),
        Transfer::new(server[1], ports[0], 200_003, 100_019),
    ];
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    for address in server {
        let address = SocketAddr::new(*address, ports[1]);
        udp::echoed(&pair.server, &pair.client, address, &DATAGRAMS)?;
    }
    let after = driver_packets(&pair.server, device)?;
    let truth = capture.finish(server[0])?;
    exactness::all_faces_equal(agent, &truth, &ports)?;
    let least = (server.len() * DATAGRAMS.len()) as u64;
    ensure!(
        after.0 >= before.0 + least && after.1 >= before.1 + least,
        "the packets did not pass {device}: {before:?}, {after:?}"
    );
    let unattributed = agent.grpc()?.state()?.unattributed;
    ensure!(
        unattributed.iter().all(|row| row.packets == 0),
        "all of it was this host's: {unattributed:?}"
    );
    Ok(truth)
}

/// One of two devices that see the same packets is counted on, the other is not.
fn counts_on(agent: &Agent<'_>, counted: &str, other: &str) -> Result<()> {
    let grpc = agent.grpc()?;
    ensure!(grpc.is_attached(counted)?, "{counted} is not counted on");
    ensure!(!grpc.is_attached(other)?, "{other} is counted on beside {counted}");
    Ok(())
}

/// Takes every address from the host's eth0, the one that IPv6 gives it too.
fn bare(host: &Namespace) -> Result<()> {
    host.run("ip link set eth0 addrgenmode none")?;
    host.run("ip address flush dev eth0")?;
    Ok(())
}

fn addresses(texts: [&str; 2]) -> Result<[IpAddr; 2]> {
    Ok([texts[0].parse()?, texts[1].parse()?])
}
