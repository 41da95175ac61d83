//! How soon the product follows the network: one second after a command has changed it, packets are counted as if it
//! had always been so. Packets arrive all the time, so that the first one that is counted shows.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{Offloads, Pair, offloads, plug_in};
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::{exactness, needs, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_new_interface", a_new_interface),
    ("a_new_address", a_new_address),
    ("an_address_that_goes", an_address_that_goes),
    ("down_and_up_again", down_and_up_again),
    ("a_new_name", a_new_name),
    ("a_name_that_was_waited_for", a_name_that_was_waited_for),
    ("an_interface_that_goes", an_interface_that_goes),
    ("into_a_bridge", into_a_bridge),
    ("a_parent_gets_an_address", a_parent_gets_an_address),
];

const LIMIT: Duration = Duration::from_secs(1);

/// The second cable: addresses of both ends, and the server's hardware address.
const SERVER: [&str; 2] = ["10.79.0.1", "fd79::1"];
const CLIENT: [&str; 2] = ["10.79.0.2/24", "fd79::2/64"];
const HARDWARE: &str = "02:00:00:00:00:79";

/// A host with an agent, a key, and a second cable whose server end has no address yet.
struct Scene {
    pair: Pair,
}

impl Scene {
    fn new() -> Result<Self> {
        let pair = Pair::new()?;
        let peer = format!("peer name eth1 netns {}", pair.client.name());
        pair.server
            .run(&format!("ip link add eth1 address {HARDWARE} type veth {peer}"))?;
        pair.server.run("ip link set eth1 addrgenmode none")?;
        for host in [&pair.server, &pair.client] {
            offloads(host, "eth1", Offloads::Off)?;
        }
        plug_in(&pair.client, "eth1", &CLIENT)?;
        Ok(Self { pair })
    }

    fn server(&self) -> &Namespace {
        &self.pair.server
    }

    /// Datagrams to an address, whoever has it.
    fn flood(&self, interface: &str, hardware: &str, address: &str, port: u16) -> Result<Background> {
        let neighbour = format!("{address} lladdr {hardware} dev {interface} nud permanent");
        self.pair.client.run(&format!("ip neighbour replace {neighbour}"))?;
        Background::flood(&self.pair.client, SocketAddr::new(address.parse()?, port))
    }
}

/// From the moment its address is there.
fn a_new_interface() -> Result<()> {
    for address in SERVER {
        let scene = Scene::new()?;
        let agent = Agent::started(scene.server())?;
        let port = agent.rest().create_key("customer")?.port;
        scene.server().run("ip link set eth1 up")?;
        let flood = scene.flood("eth1", HARDWARE, address, port)?;
        flood.wait_for(1)?;
        plug_in(scene.server(), "eth1", &[&with_prefix(address)])?;
        counted_soon(&agent, port)?;
        flood.stop()?;
    }
    Ok(())
}

/// One more on an interface that has one.
fn a_new_address() -> Result<()> {
    for address in ["10.77.0.99", "fd77::99"] {
        let scene = Scene::new()?;
        let agent = Agent::started(scene.server())?;
        let port = agent.rest().create_key("customer")?.port;
        let flood = scene.flood("eth0", &hardware_address(scene.server())?, address, port)?;
        wait::until("packets arrive", || {
            Ok(agent.grpc()?.unattributed_packets("forwarded")? > 0)
        })?;
        ensure!(counted(&agent, port)?.is_zero(), "counted before the address was there");
        plug_in(scene.server(), "eth0", &[&with_prefix(address)])?;
        counted_soon(&agent, port)?;
        flood.stop()?;
    }
    Ok(())
}

/// What still arrives for it is no longer this host's.
fn an_address_that_goes() -> Result<()> {
    for address in ["10.77.0.99", "fd77::99"] {
        let scene = Scene::new()?;
        plug_in(scene.server(), "eth0", &[&with_prefix(address)])?;
        let agent = Agent::started(scene.server())?;
        let port = agent.rest().create_key("customer")?.port;
        let flood = scene.flood("eth0", &hardware_address(scene.server())?, address, port)?;
        counted_soon(&agent, port)?;
        scene
            .server()
            .run(&format!("ip address del {} dev eth0", with_prefix(address)))?;
        wait::within(LIMIT, "what arrives is no longer this host's", || {
            Ok(agent.grpc()?.unattributed_packets("forwarded")? > 0)
        })?;
        let at_the_end = counted(&agent, port)?;
        flood.wait_for(100)?;
        ensure!(
            counted(&agent, port)? == at_the_end,
            "still counted when the address had gone"
        );
        flood.stop()?;
    }
    Ok(())
}

/// An interface that goes down loses its IPv6 addresses, and with the last address its place.
fn down_and_up_again() -> Result<()> {
    for (number, address) in SERVER.into_iter().enumerate() {
        let scene = Scene::new()?;
        plug_in(scene.server(), "eth1", &[&with_prefix(address)])?;
        let agent = Agent::started(scene.server())?;
        let port = agent.rest().create_key("customer")?.port;
        let flood = scene.flood("eth1", HARDWARE, address, port)?;
        for _ in 0..2 {
            counted_soon(&agent, port)?;
            scene.server().run("ip link set eth1 down")?;
            let is_ipv6 = number == 1;
            if is_ipv6 {
                wait::within(LIMIT, "eth1 is left", || Ok(!agent.grpc()?.is_attached("eth1")?))?;
            }
            scene.server().run("ip link set eth1 up")?;
            if is_ipv6 {
                plug_in(scene.server(), "eth1", &[&with_prefix(address)])?;
            }
        }
        counted_soon(&agent, port)?;
        flood.stop()?;
    }
    Ok(())
}

/// While traffic flows: not a packet is missed.
fn a_new_name() -> Result<()> {
    needs::kernel(6, 2, "new names for interfaces that are up")?;
    let scene = Scene::new()?;
    plug_in(
        scene.server(),
        "eth1",
        &SERVER.map(with_prefix).each_ref().map(String::as_str),
    )?;
    let agent = Agent::started(scene.server())?;
    let port = agent.rest().create_key("customer")?.port;
    let capture = Capture::start(&scene.pair.client, "eth1", &[SERVER[0].parse()?])?;
    let flood = scene.flood("eth1", HARDWARE, SERVER[0], port)?;
    counted_soon(&agent, port)?;
    for (from, to) in [("eth1", "wan0"), ("wan0", "eth1"), ("eth1", "uplink7")] {
        scene.server().run(&format!("ip link set {from} name {to}"))?;
        wait::within(LIMIT, "the new name is known", || {
            Ok(agent.grpc()?.is_attached(to)? && !agent.grpc()?.is_attached(from)?)
        })?;
        flood.wait_for(100)?;
    }
    flood.stop()?;
    let truth = capture.finish(SERVER[0].parse()?)?;
    exactness::all_faces_become_equal(&agent, &truth, &[port])
}

/// Interfaces that are named are counted for as long as they have that name.
fn a_name_that_was_waited_for() -> Result<()> {
    needs::kernel(6, 2, "new names for interfaces that are up")?;
    let scene = Scene::new()?;
    plug_in(scene.server(), "eth1", &[&with_prefix(SERVER[0])])?;
    let mut agent = Agent::new(scene.server())?.variable("PORTMETER_CAPTURE__INTERFACES", "eth0,wan0");
    agent.start()?;
    let port = agent.rest().create_key("customer")?.port;
    let flood = scene.flood("eth1", HARDWARE, SERVER[0], port)?;
    flood.wait_for(100)?;
    ensure!(counted(&agent, port)?.is_zero(), "eth1 was not asked for");
    scene.server().run("ip link set eth1 name wan0")?;
    counted_soon(&agent, port)?;
    scene.server().run("ip link set wan0 name eth1")?;
    wait::within(LIMIT, "eth1 is left", || {
        let grpc = agent.grpc()?;
        Ok(!grpc.is_attached("wan0")? && !grpc.is_attached("eth1")?)
    })?;
    let at_the_end = counted(&agent, port)?;
    flood.wait_for(100)?;
    ensure!(
        counted(&agent, port)? == at_the_end,
        "still counted when it had another name"
    );
    flood.stop()?;
    Ok(())
}

fn an_interface_that_goes() -> Result<()> {
    let scene = Scene::new()?;
    plug_in(scene.server(), "eth1", &[&with_prefix(SERVER[0])])?;
    let agent = Agent::started(scene.server())?;
    ensure!(agent.grpc()?.is_attached("eth1")?, "eth1 is not counted on");
    scene.server().run("ip link del eth1")?;
    wait::within(LIMIT, "eth1 is left", || Ok(!agent.grpc()?.is_attached("eth1")?))?;
    ensure!(agent.rest().is_ready(), "the agent is no longer ready");
    Ok(())
}

/// The port is left to the bridge, and what passes both is counted once.
fn into_a_bridge() -> Result<()> {
    let scene = Scene::new()?;
    let server = scene.server();
    plug_in(server, "eth1", &[&with_prefix(SERVER[0])])?;
    let agent = Agent::started(server)?;
    let port = agent.rest().create_key("customer")?.port;
    let flood = scene.flood("eth1", HARDWARE, SERVER[0], port)?;
    counted_soon(&agent, port)?;
    server.run(&format!("ip link add br1 address {HARDWARE} type bridge"))?;
    offloads(server, "br1", Offloads::Off)?;
    // The port has a link-local address, as any device that comes up unless it is told not to.
    server.run("ip address add fe80::79/64 dev eth1 nodad")?;
    server.run("ip link set eth1 master br1")?;
    server.run(&format!("ip address del {} dev eth1", with_prefix(SERVER[0])))?;
    plug_in(server, "br1", &[&with_prefix(SERVER[0])])?;
    wait::within(LIMIT, "br1 has taken over", || {
        let grpc = agent.grpc()?;
        Ok(grpc.is_attached("br1")? && !grpc.is_attached("eth1")?)
    })?;
    flood.stop()?;
    next_traffic_is_exact(&scene, &agent, SERVER[0].parse()?, port)
}

/// The macvlan is left to its parent.
fn a_parent_gets_an_address() -> Result<()> {
    let scene = Scene::new()?;
    let server = scene.server();
    server.run("ip link set eth1 up")?;
    server.run("ip link add macvlan0 link eth1 type macvlan mode bridge")?;
    offloads(server, "macvlan0", Offloads::Off)?;
    plug_in(server, "macvlan0", &[&with_prefix(SERVER[0])])?;
    let agent = Agent::started(server)?;
    let port = agent.rest().create_key("customer")?.port;
    ensure!(agent.grpc()?.is_attached("macvlan0")?, "macvlan0 is not counted on");
    plug_in(server, "eth1", &["10.79.0.3/24"])?;
    wait::within(LIMIT, "eth1 has taken over", || {
        let grpc = agent.grpc()?;
        Ok(grpc.is_attached("eth1")? && !grpc.is_attached("macvlan0")?)
    })?;
    next_traffic_is_exact(&scene, &agent, SERVER[0].parse()?, port)
}

/// What is counted from now on is what passes the client's end of the cable.
fn next_traffic_is_exact(scene: &Scene, agent: &Agent<'_>, address: IpAddr, port: u16) -> Result<()> {
    let client = &scene.pair.client;
    let capture = Capture::start(client, "eth1", &[address])?;
    let before = counted(agent, port)?;
    let transfer = Transfer::new(address, port, 200_003, 300_007);
    tcp::bulk(scene.server(), client, &[transfer])?;
    let passed = count::of(&capture.finish(address)?, port);
    let shown = counted(agent, port)?.since(&before);
    ensure!(shown == passed, "{shown:?} was counted, {passed:?} passed");
    Ok(())
}

/// From now on, not later than the limit.
fn counted_soon(agent: &Agent<'_>, port: u16) -> Result<()> {
    let before = counted(agent, port)?;
    wait::within(LIMIT, "a packet is counted", || {
        Ok(counted(agent, port)?.rx_packets > before.rx_packets)
    })
}

fn counted(agent: &Agent<'_>, port: u16) -> Result<Count> {
    Ok(count::of(&agent.rest().counts()?, port))
}

/// The hardware address of a host's `eth0`.
fn hardware_address(host: &Namespace) -> Result<String> {
    let shown = host.run("ip -brief link show dev eth0")?;
    Ok(shown.split_whitespace().nth(2).unwrap_or_default().to_owned())
}

fn with_prefix(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 64 } else { 24 })
}
