//! Every byte and every packet, offloads off: what the product shows is what a capture on the other host saw.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use anyhow::{Result, ensure};
use nix::net::if_::if_nametoindex;
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{CLIENT_V4, CLIENT_V6, Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6, plug_in};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::frames::{self, LinkEnd};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;
use portmeter_tests::{bpftool, count, exactness};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("tcp_bulk_on_ten_ports", tcp_bulk_on_ten_ports),
    ("udp_of_every_size", udp_of_every_size),
    ("single_bytes", single_bytes),
    ("padded_frames_and_options", padded_frames_and_options),
    ("through_clsact_filters", through_clsact_filters),
    ("over_a_link_local_address", over_a_link_local_address),
];

/// Ports beside the configured ones, on both sides of the range.
const UNTRACKED: [u16; 3] = [80, 10_000, 10_101];

fn tcp_bulk_on_ten_ports() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    bulk_is_exact(&pair, &agent)
}

/// The same with the other way to attach, which is the only one on kernels before 6.6.
fn through_clsact_filters() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_CAPTURE__HOOK", "clsact");
    agent.start()?;
    let shown = pair.server.run("tc filter show dev eth0 ingress")?;
    ensure!(shown.contains("portmeter_rx"), "no filter of ours: {shown}");
    bulk_is_exact(&pair, &agent)
}

/// IPv4 and IPv6, ten ports, both directions at once, beside connections to ports that are not tracked.
fn bulk_is_exact(pair: &Pair, agent: &Agent<'_>) -> Result<()> {
    let keys = agent.rest().create_keys(10)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let mut transfers = Vec::new();
    for (number, port) in ports(&keys).into_iter().chain(UNTRACKED).enumerate() {
        // A different amount for every port and direction, so that none can pass for another.
        let (upload, download) = (100_000 + number * 10_007, 400_000 - number * 20_011);
        transfers.push(Transfer::new(SERVER_V4, port, upload, download));
        transfers.push(Transfer::new(SERVER_V6, port, download, upload));
    }
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    let truth = capture.finish(SERVER_V4.into())?;

    exactness::all_faces_equal(agent, &truth, &ports(&keys))?;
    let counted = bpftool::counts(agent)?;
    for port in UNTRACKED {
        ensure!(!count::of(&truth, port).is_zero(), "nothing passed on {port}");
        ensure!(
            !counted.contains_key(&port),
            "port {port} is not tracked, and yet it is counted"
        );
    }
    let unattributed = agent.grpc()?.state()?.unattributed;
    ensure!(
        unattributed.iter().all(|row| row.packets == 0),
        "all of it was this host's: {unattributed:?}"
    );
    Ok(())
}

fn udp_of_every_size() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(2)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let sizes: Vec<usize> = (0..=udp::LARGEST_PAYLOAD)
        .step_by(11)
        .chain([1, 2, udp::LARGEST_PAYLOAD])
        .collect();
    for address in addresses(&keys) {
        udp::echoed(&pair.server, &pair.client, address, &sizes)?;
    }
    let truth = capture.finish(SERVER_V4.into())?;
    exactness::all_faces_equal(&agent, &truth, &ports(&keys))
}

/// The smallest packets that carry anything, where a mistake in a header's length weighs most.
fn single_bytes() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(2)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    for address in addresses(&keys) {
        tcp::single_bytes(&pair.server, &pair.client, address, 500)?;
        udp::echoed(&pair.server, &pair.client, address, &[1; 500])?;
    }
    let truth = capture.finish(SERVER_V4.into())?;
    exactness::all_faces_equal(&agent, &truth, &ports(&keys))
}

/// An address that every IPv6 interface has, and that needs the interface's number beside it.
fn over_a_link_local_address() -> Result<()> {
    let pair = Pair::new()?;
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
    plug_in(&pair.server, "eth0", &[&format!("{link_local}/64")])?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(1)?;
    let capture = Capture::start(&pair.client, "eth0", &[link_local.into()])?;
    let at = |host: &Namespace| {
        let number = host.enter(|| if_nametoindex("eth0"))?;
        Ok::<_, anyhow::Error>(SocketAddr::from(SocketAddrV6::new(link_local, keys[0].port, 0, number)))
    };
    let (at_server, at_client) = (at(&pair.server)?, at(&pair.client)?);
    udp::arriving(&pair.server, at_server, 1, || {
        pair.client
            .enter(|| UdpSocket::bind("[::]:0")?.send_to(b"x", at_client))?;
        Ok(())
    })?;
    let truth = capture.finish(SERVER_V4.into())?;
    ensure!(count::of(&truth, keys[0].port).rx_bytes == 49, "{truth:?}");
    exactness::all_faces_equal(&agent, &truth, &ports(&keys))
}

/// Frames that are longer than the packet in them, and packets with a longer header than usual, both ways.
fn padded_frames_and_options() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(2)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    for key in &keys {
        send_frames_both_ways(&pair, key.port)?;
    }
    let truth = capture.finish(SERVER_V4.into())?;
    let passed = count::of(&truth, keys[0].port);
    ensure!(
        passed.rx_packets == 3 && passed.tx_packets == 3,
        "six frames, and no more: {passed:?}"
    );
    // 29 (20 + 8 + 1) and 49 (40 + 8 + 1) bytes of padded frames, 33 with 4 bytes of options.
    ensure!(
        passed.rx_bytes == 29 + 49 + 33 && passed.tx_bytes == 29 + 49 + 33,
        "{passed:?}"
    );
    exactness::all_faces_equal(&agent, &truth, &ports(&keys))
}

fn send_frames_both_ways(pair: &Pair, port: u16) -> Result<()> {
    let server = LinkEnd::of(&pair.server, "eth0")?;
    let client = LinkEnd::of(&pair.client, "eth0")?;
    let client_port = 40_000;
    for (server_address, client_address) in [
        (SERVER_V4.into(), CLIENT_V4.into()),
        (SERVER_V6.into(), CLIENT_V6.into()),
    ] {
        let at_server = (&server, SocketAddr::new(server_address, port));
        let at_client = (&client, SocketAddr::new(client_address, client_port));
        let mut up = vec![frames::padded_udp(at_client, at_server, b"x")?];
        let mut down = vec![frames::padded_udp(at_server, at_client, b"x")?];
        if server_address.is_ipv4() {
            up.push(frames::udp_with_options(at_client, at_server, b"x")?);
            down.push(frames::udp_with_options(at_server, at_client, b"x")?);
        }
        udp::arriving(&pair.server, at_server.1, up.len(), || {
            frames::send(&pair.client, &client, &up)
        })?;
        udp::arriving(&pair.client, at_client.1, down.len(), || {
            frames::send(&pair.server, &server, &down)
        })?;
    }
    Ok(())
}

fn ports(keys: &[Key]) -> Vec<u16> {
    keys.iter().map(|key| key.port).collect()
}

/// Every key's port on every address of the server.
fn addresses(keys: &[Key]) -> Vec<SocketAddr> {
    keys.iter()
        .flat_map(|key| SERVER_ADDRESSES.map(|address| SocketAddr::new(address, key.port)))
        .collect()
}
