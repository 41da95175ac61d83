//! `capture.hook = "xdp"`: what is received is counted in the driver, exactly, and nowhere else as well.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use portmeter_proto::v1::Hook;
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{CLIENT_V4, CLIENT_V6, Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;
use portmeter_tests::{command, exactness, needs, snapshot};
use serde_json::Value;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("everything_is_exact", || with_tcx(everything_is_exact)),
    ("fragments", || with_tcx(fragments)),
    ("packets_of_several_buffers", || with_tcx(packets_of_several_buffers)),
    ("loopback_and_tunnels_stay_with_tcx", || {
        with_tcx(loopback_and_tunnels_stay_with_tcx)
    }),
    ("a_device_without_driver_mode", || {
        with_tcx(a_device_without_driver_mode)
    }),
    ("a_refused_change_changes_nothing", || {
        with_tcx(a_refused_change_changes_nothing)
    }),
    ("to_xdp_and_back", || with_tcx(to_xdp_and_back)),
    ("killed_and_started_again", || with_tcx(killed_and_started_again)),
];

const HOOK: &str = "PORTMETER_CAPTURE__HOOK";

/// TCP both ways over both families, datagrams of every size, single bytes.
fn everything_is_exact() -> Result<()> {
    let pair = Pair::new()?;
    let agent = started(&pair.server)?;
    let keys = agent.rest().create_keys(4)?;
    let ports: Vec<u16> = keys.iter().map(|key| key.port).collect();
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let transfers = [
        Transfer::new(SERVER_V4, ports[0], 900_017, 300_029),
        Transfer::new(SERVER_V6, ports[0], 300_043, 500_009),
        Transfer::new(SERVER_V4, ports[1], 100_003, 700_001),
        Transfer::new(SERVER_V6, ports[1], 600_011, 0),
    ];
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    let sizes: Vec<usize> = (0..=udp::LARGEST_PAYLOAD).step_by(13).collect();
    for address in SERVER_ADDRESSES {
        udp::echoed(&pair.server, &pair.client, SocketAddr::new(address, ports[2]), &sizes)?;
    }
    let single = SocketAddr::new(SERVER_V4.into(), ports[3]);
    tcp::single_bytes(&pair.server, &pair.client, single, 300)?;
    exactness::all_faces_equal(&agent, &capture.finish(SERVER_V4.into())?, &ports)
}

/// Datagrams that travel in pieces, both ways. What is on the wire can be worked out by hand.
fn fragments() -> Result<()> {
    let pair = Pair::new()?;
    let agent = started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let mut expected = Count::default();
    for (server, client, header, piece) in [
        // A later IPv4 fragment has the IP header alone; an IPv6 one has eight bytes of fragment header more.
        (IpAddr::V4(SERVER_V4), IpAddr::V4(CLIENT_V4), 20, 1_480),
        (SERVER_V6.into(), CLIENT_V6.into(), 48, 1_448),
    ] {
        let (server, client) = (SocketAddr::new(server, key.port), SocketAddr::new(client, 40_000));
        for size in [4_000, 9_001, 30_000_u64] {
            let packets = (size + 8).div_ceil(piece);
            let bytes = size + 8 + packets * header;
            expected.rx_bytes += bytes;
            expected.rx_packets += packets;
            expected.tx_bytes += bytes;
            expected.tx_packets += packets;
            let size = usize::try_from(size)?;
            udp::one((&pair.client, client), (&pair.server, server), size)?;
            udp::one((&pair.server, server), (&pair.client, client), size)?;
        }
    }
    let shown = agent.rest().count_of(&key.id)?;
    ensure!(shown == expected, "{shown:?} is shown, {expected:?} passed");
    Ok(())
}

/// Packets larger than a page reach the program in pieces.
fn packets_of_several_buffers() -> Result<()> {
    let pair = Pair::new()?;
    for host in [&pair.server, &pair.client] {
        host.run("ip link set eth0 mtu 9000")?;
    }
    let agent = started(&pair.server)?;
    let ports: Vec<u16> = agent.rest().create_keys(2)?.iter().map(|key| key.port).collect();
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    tcp::bulk(
        &pair.server,
        &pair.client,
        &[Transfer::new(SERVER_V4, ports[0], 700_001, 300_007)],
    )?;
    for address in SERVER_ADDRESSES {
        let (server, client) = match address {
            IpAddr::V4(_) => (address, IpAddr::V4(CLIENT_V4)),
            IpAddr::V6(_) => (address, CLIENT_V6.into()),
        };
        let ends = (SocketAddr::new(client, 40_000), SocketAddr::new(server, ports[1]));
        udp::one((&pair.client, ends.0), (&pair.server, ends.1), 8_900)?;
        udp::one((&pair.server, ends.1), (&pair.client, ends.0), 8_900)?;
    }
    let truth = capture.finish(SERVER_V4.into())?;
    let passed = count::of(&truth, ports[1]);
    ensure!(
        passed.rx_packets == 2 && passed.rx_bytes > 17_800,
        "not in one piece: {passed:?}"
    );
    exactness::all_faces_equal(&agent, &truth, &ports)
}

fn loopback_and_tunnels_stay_with_tcx() -> Result<()> {
    let pair = Pair::new()?;
    pair.server.run("ip tuntap add dev tun0 mode tun")?;
    pair.server.run("ip link set tun0 up")?;
    pair.server.run("ip address add 10.81.0.1/24 dev tun0")?;
    let agent = started(&pair.server)?;
    let mut hooks: Vec<(String, Hook)> = agent
        .grpc()?
        .state()?
        .interfaces
        .iter()
        .map(|interface| (interface.name.clone(), interface.hook()))
        .collect();
    hooks.sort();
    let wanted = [("eth0", Hook::Xdp), ("lo", Hook::Tcx), ("tun0", Hook::Tcx)];
    ensure!(
        hooks.iter().map(|(name, hook)| (name.as_str(), *hook)).eq(wanted),
        "{hooks:?}"
    );
    let key = agent.rest().create_key("customer")?;
    let own = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), key.port);
    udp::echoed(&pair.server, &pair.server, own, &[72; 10])?;
    let shown = agent.rest().count_of(&key.id)?;
    let expected = Count {
        rx_bytes: 1_000,
        rx_packets: 10,
        tx_bytes: 1_000,
        tx_packets: 10,
    };
    ensure!(
        shown == expected,
        "over loopback {shown:?} is shown, {expected:?} passed"
    );
    Ok(())
}

/// What the kernel would run in the driver's stead would not be exact, so there is no start, and no trace of one.
fn a_device_without_driver_mode() -> Result<()> {
    let pair = Pair::new()?;
    pair.server.run("ip link add bridge0 type bridge")?;
    pair.server.run("ip link set bridge0 up")?;
    pair.server.run("ip address add 10.82.0.1/24 dev bridge0")?;
    let agent = Agent::new(&pair.server)?.variable(HOOK, "xdp");
    let output = pair.server.enter(|| command::output_in_time(&mut agent.command()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let sentence = said.lines().last().unwrap_or_default();
    ensure!(
        !output.status.success() && sentence.contains("the driver of bridge0") && sentence.contains("\"auto\""),
        "{said}"
    );
    ensure!(!agent.pin_folder().exists(), "a failed start leaves pins");
    ensure!(!has_xdp(&pair.server, "eth0")?, "a failed start leaves its program");
    ensure!(
        !agent.data_folder().join("ledger.db").exists(),
        "a failed start leaves a ledger"
    );
    // Without that device it goes.
    pair.server.run("ip link del bridge0")?;
    let mut agent = agent;
    agent.start()?;
    ensure!(has_xdp(&pair.server, "eth0")?, "there is no XDP program");
    Ok(())
}

/// An agent is to change to XDP where a device cannot: what it left counting goes on as it was.
fn a_refused_change_changes_nothing() -> Result<()> {
    let pair = Pair::new()?;
    pair.server.run("ip link add bridge0 type bridge")?;
    pair.server.run("ip link set bridge0 up")?;
    pair.server.run("ip address add 10.82.0.1/24 dev bridge0")?;
    let mut agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    send(&pair, port)?;
    agent.stop()?;
    let left = snapshot::of(&agent.pin_folder().join("links"))?;
    agent.change_variable(HOOK, "xdp");
    let output = pair.server.enter(|| command::output_in_time(&mut agent.command()))?;
    ensure!(!output.status.success(), "it should have been refused");
    let found = snapshot::of(&agent.pin_folder().join("links"))?;
    ensure!(found == left, "links were {left:?}, are {found:?}");
    ensure!(!has_xdp(&pair.server, "eth0")?, "a refused start leaves its program");
    send(&pair, port)?;
    agent.change_variable(HOOK, "auto");
    agent.start()?;
    send(&pair, port)?;
    exactness::all_faces_equal(&agent, &capture.finish(SERVER_V4.into())?, &[port])
}

/// Exact before and after each change; in between, neither is promised.
fn to_xdp_and_back() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    send(&pair, port)?;
    for (hook, is_xdp) in [
        ("xdp", true),
        ("tcx", false),
        ("xdp", true),
        ("clsact", false),
        ("xdp", true),
    ] {
        agent.stop()?;
        send(&pair, port)?;
        agent.change_variable(HOOK, hook);
        agent.start()?;
        ensure!(has_xdp(&pair.server, "eth0")? == is_xdp, "with {hook}");
        let kinds = link_kinds(&agent, "eth0")?;
        let wanted: &[&str] = match hook {
            "xdp" => &["tx", "xdp"],
            "tcx" => &["rx", "tx"],
            _ => &[],
        };
        ensure!(kinds == wanted, "links with {hook}: {kinds:?}");
        send(&pair, port)?;
        exactness::all_faces_equal(&agent, &capture.counts(SERVER_V4.into())?, &[port])?;
    }
    capture.finish(SERVER_V4.into())?;
    agent.stop()?;
    agent.uninstall()?;
    ensure!(!has_xdp(&pair.server, "eth0")?, "an uninstall leaves the program");
    Ok(())
}

/// The driver's program goes on without an agent, and the next one replaces it in place.
fn killed_and_started_again() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    for _ in 0..3 {
        send(&pair, port)?;
        agent.kill()?;
        ensure!(has_xdp(&pair.server, "eth0")?, "the program went with the agent");
        send(&pair, port)?;
        agent.start()?;
    }
    send(&pair, port)?;
    exactness::all_faces_equal(&agent, &capture.finish(SERVER_V4.into())?, &[port])
}

/// XDP sees what is received; for what is sent there has to be TCX.
fn with_tcx(story: fn() -> Result<()>) -> Result<()> {
    needs::kernel(6, 6, "TCX")?;
    story()
}

fn started(host: &Namespace) -> Result<Agent<'_>> {
    let mut agent = Agent::new(host)?.variable(HOOK, "xdp");
    agent.start()?;
    Ok(agent)
}

fn send(pair: &Pair, port: u16) -> Result<()> {
    let transfer = Transfer::new(SERVER_V4, port, 40_000, 50_000);
    tcp::bulk(&pair.server, &pair.client, &[transfer])?;
    let address = SocketAddr::new(SERVER_V6.into(), port);
    udp::echoed(&pair.server, &pair.client, address, &[1, 1_000])
}

/// Whether a program runs in the interface's driver, as the kernel's list of interfaces has it.
fn has_xdp(host: &Namespace, interface: &str) -> Result<bool> {
    let shown: Value = serde_json::from_str(&host.run(&format!("ip -j -d link show dev {interface}"))?)?;
    let mode = shown[0]["xdp"]["mode"].as_u64();
    // 1: in the driver (XDP_ATTACHED_DRV).
    ensure!(mode.is_none_or(|mode| mode == 1), "not in the driver: {shown}");
    Ok(mode.is_some())
}

/// What the pins of an interface's links say of their kind, sorted.
fn link_kinds(agent: &Agent<'_>, interface: &str) -> Result<Vec<String>> {
    let folder: PathBuf = agent.pin_folder().join("links");
    let mut kinds = Vec::new();
    for entry in folder.read_dir().context("the folder of links")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some((_, kind)) = name.rsplit_once('_')
            && name.starts_with(&format!("{interface}_"))
        {
            kinds.push(kind.to_owned());
        }
    }
    kinds.sort();
    Ok(kinds)
}
