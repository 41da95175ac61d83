//! Devices on devices: a packet that passes several is counted once, whichever of them are counted on.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::bpftool;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Counts};
use portmeter_tests::exactness;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{
    Offloads, Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6, narrow_windows, offloads, plug_in,
};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;
use portmeter_tests::tun::TunCable;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_bridge_and_its_ports", a_bridge_and_its_ports),
    ("a_macvlan_on_a_counted_parent", a_macvlan_on_a_counted_parent),
    ("a_macvlan_on_a_silent_parent", a_macvlan_on_a_silent_parent),
    ("a_macvlan_of_somebody_elses", a_macvlan_of_somebody_elses),
    ("a_macvlan_on_a_bridge", a_macvlan_on_a_bridge),
    ("a_tun", a_tun),
    ("a_tunnel_on_a_counted_interface", a_tunnel_on_a_counted_interface),
];

/// The host's address is the bridge's; its cable is a port of the bridge. Ports own addresses too, as every device
/// that comes up does.
fn a_bridge_and_its_ports() -> Result<()> {
    let pair = Pair::new()?;
    let server = &pair.server;
    server.run("ip link add br0 type bridge")?;
    server.run("ip address flush dev eth0 scope global")?;
    server.run("ip link set eth0 master br0")?;
    offloads(server, "br0", Offloads::Off)?;
    plug_in(server, "br0", &[&format!("{SERVER_V4}/24"), &format!("{SERVER_V6}/64")])?;
    let shown = server.run("ip -6 address show dev eth0 scope link")?;
    ensure!(shown.contains("fe80::"), "the port has no address of its own: {shown}");

    let agent = Agent::started(server)?;
    counted_on(&agent, &["br0", "lo"])?;
    traffic_is_exact(&agent, &pair.client, &SERVER_ADDRESSES)
}

/// The parent sees the macvlan's frames too, although they are for another hardware address.
fn a_macvlan_on_a_counted_parent() -> Result<()> {
    let pair = Pair::new()?;
    let macvlan = add_macvlan(&pair.server, "eth0")?;
    let agent = Agent::started(&pair.server)?;
    counted_on(&agent, &["eth0", "lo"])?;
    let addresses: Vec<IpAddr> = SERVER_ADDRESSES.into_iter().chain(macvlan).collect();
    traffic_is_exact(&agent, &pair.client, &addresses)
}

/// Nobody counts on a parent without an address.
fn a_macvlan_on_a_silent_parent() -> Result<()> {
    let pair = Pair::new()?;
    let macvlan = add_macvlan(&pair.server, "eth0")?;
    pair.server.run("ip address flush dev eth0")?;
    let agent = Agent::started(&pair.server)?;
    counted_on(&agent, &["lo", "macvlan0"])?;
    traffic_is_exact(&agent, &pair.client, &macvlan)
}

/// A container's macvlan: counted by an agent in the container, for its parent lies elsewhere; and by nobody on the
/// parent's host, whose address it is not.
fn a_macvlan_of_somebody_elses() -> Result<()> {
    let pair = Pair::new()?;
    let container = Namespace::new("container")?;
    narrow_windows(&container)?;
    // Kernels before 6.5 look for the name in the parent's namespace, so it gets its own there.
    let link = format!("link eth0 name inside netns {}", container.name());
    pair.server
        .run(&format!("ip link add {link} type macvlan mode bridge"))?;
    container.run("ip link set inside name eth0")?;
    offloads(&container, "eth0", Offloads::Off)?;
    plug_in(&container, "eth0", &MACVLAN)?;

    let on_host = Agent::started(&pair.server)?;
    let key = on_host.rest().create_key("customer")?;
    let inside = Agent::started(&container)?;
    counted_on(&inside, &["eth0", "lo"])?;
    traffic_is_exact(&inside, &pair.client, &macvlan_addresses()?)?;
    let counted = count::of(&on_host.rest().counts()?, key.port);
    ensure!(counted.is_zero(), "somebody else's traffic was counted: {counted:?}");
    ensure!(
        on_host.grpc()?.unattributed_packets("forwarded")? > 0,
        "the parent saw nothing of the macvlan"
    );
    Ok(())
}

fn a_macvlan_on_a_bridge() -> Result<()> {
    let pair = Pair::new()?;
    let server = &pair.server;
    server.run("ip link add br0 type bridge")?;
    server.run("ip address flush dev eth0 scope global")?;
    server.run("ip link set eth0 master br0")?;
    offloads(server, "br0", Offloads::Off)?;
    plug_in(server, "br0", &[&format!("{SERVER_V4}/24"), &format!("{SERVER_V6}/64")])?;
    let macvlan = add_macvlan(server, "br0")?;
    let agent = Agent::started(server)?;
    counted_on(&agent, &["br0", "lo"])?;
    let addresses: Vec<IpAddr> = SERVER_ADDRESSES.into_iter().chain(macvlan).collect();
    traffic_is_exact(&agent, &pair.client, &addresses)
}

/// Packets without a link header, carried from one tun device to the other by the story, which counts them.
fn a_tun() -> Result<()> {
    let server = Namespace::new("server")?;
    let client = Namespace::new("client")?;
    narrow_windows(&server)?;
    narrow_windows(&client)?;
    let cable = TunCable::new((&server, "tun0"), (&client, "tun0"), &SERVER_ADDRESSES)?;
    plug_in(
        &server,
        "tun0",
        &[&format!("{SERVER_V4}/24"), &format!("{SERVER_V6}/64")],
    )?;
    plug_in(&client, "tun0", &["10.77.0.2/24", "fd77::2/64"])?;
    let agent = Agent::started(&server)?;
    counted_on(&agent, &["lo", "tun0"])?;
    let keys = agent.rest().create_keys(2)?;
    exchange(&agent, &client, &keys, &SERVER_ADDRESSES)?;
    let truth = cable.counts();
    exactness::all_faces_equal(&agent, &truth, &ports(&keys))
}

/// VXLAN, whose packets pass the counted uplink too, within datagrams to another port: counted is what is within, and
/// the datagrams where their own port is tracked.
fn a_tunnel_on_a_counted_interface() -> Result<()> {
    let pair = Pair::new()?;
    let outer_port = 10_050;
    for (host, own, other) in [(&pair.server, 1, 2), (&pair.client, 2, 1)] {
        let ends = format!("local 10.77.0.{own} remote 10.77.0.{other} dstport {outer_port}");
        // Each datagram comes from the port that it goes to, so that the server's are its tracked port's.
        let ports = format!("srcport {outer_port} {}", outer_port + 1);
        host.run(&format!("ip link add tunnel0 type vxlan id 7 dev eth0 {ends} {ports}"))?;
        offloads(host, "tunnel0", Offloads::Off)?;
        plug_in(
            host,
            "tunnel0",
            &[&format!("10.79.0.{own}/24"), &format!("fd79::{own}/64")],
        )?;
    }
    let agent = Agent::started(&pair.server)?;
    counted_on(&agent, &["eth0", "lo", "tunnel0"])?;
    let keys = agent.rest().create_keys(2)?;
    let server = ["10.79.0.1".parse()?, "fd79::1".parse()?];
    let within = Capture::start(&pair.client, "tunnel0", &server)?;
    let outside = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    exchange(&agent, &pair.client, &keys, &server)?;
    let truth = within.finish(server[0])?;
    everything_passed(&truth, &keys)?;
    exactness::all_faces_equal(&agent, &truth, &ports(&keys))?;
    let outside = outside.finish(SERVER_V4.into())?;
    let (counted, passed) = (
        count::of(&bpftool::counts(&agent)?, outer_port),
        count::of(&outside, outer_port),
    );
    // The tunnel's own chatter began before the capture.
    ensure!(
        passed.rx_bytes > 400_000 && counted.covers(&passed),
        "on the tunnel's own port {counted:?} was counted, {passed:?} passed"
    );
    Ok(())
}

const MACVLAN: [&str; 2] = ["10.77.0.11/24", "fd77::11/64"];

/// A macvlan `macvlan0` with addresses of its own.
fn add_macvlan(host: &Namespace, parent: &str) -> Result<[IpAddr; 2]> {
    host.run(&format!("ip link add macvlan0 link {parent} type macvlan mode bridge"))?;
    offloads(host, "macvlan0", Offloads::Off)?;
    plug_in(host, "macvlan0", &MACVLAN)?;
    // Each address is answered for by its own device alone.
    host.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
    macvlan_addresses()
}

fn macvlan_addresses() -> Result<[IpAddr; 2]> {
    Ok(["10.77.0.11".parse()?, "fd77::11".parse()?])
}

/// Traffic of every kind to each of the agent's `addresses`, compared with what the client's cable saw.
fn traffic_is_exact(agent: &Agent<'_>, client: &Namespace, addresses: &[IpAddr]) -> Result<()> {
    let keys = agent.rest().create_keys(2)?;
    let capture = Capture::start(client, "eth0", addresses)?;
    exchange(agent, client, &keys, addresses)?;
    let truth = capture.finish(addresses[0])?;
    everything_passed(&truth, &keys)?;
    exactness::all_faces_equal(agent, &truth, &ports(&keys))
}

/// Connections and datagrams from `client` to each key's port at each address, both directions.
fn exchange(agent: &Agent<'_>, client: &Namespace, keys: &[Key], addresses: &[IpAddr]) -> Result<()> {
    let mut transfers = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        for key in keys {
            let (upload, download) = (100_003 + number * 10_007, 300_007 - number * 20_011);
            transfers.push(Transfer::new(*address, key.port, upload, download));
            let at_server = SocketAddr::new(*address, key.port);
            udp::echoed(agent.host(), client, at_server, &[1, 100, 1_000, 1_300])?;
        }
    }
    tcp::bulk(agent.host(), client, &transfers)
}

fn everything_passed(truth: &Counts, keys: &[Key]) -> Result<()> {
    for port in ports(keys) {
        let passed = count::of(truth, port);
        ensure!(
            passed.rx_bytes > 200_000 && passed.tx_bytes > 400_000,
            "too little passed on {port}: {passed:?}"
        );
    }
    Ok(())
}

/// Fails unless the agent counts on exactly these interfaces, named in order.
fn counted_on(agent: &Agent<'_>, expected: &[&str]) -> Result<()> {
    let state = agent.grpc()?.state()?;
    let mut names: Vec<&str> = state.interfaces.iter().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    ensure!(names == expected, "counted on {names:?}, not on {expected:?}");
    Ok(())
}

fn ports(keys: &[Key]) -> Vec<u16> {
    keys.iter().map(|key| key.port).collect()
}
