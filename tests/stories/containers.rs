//! A host with containers behind a bridge: a packet passes the container's cable, the bridge and the uplink, and is
//! counted once where it is this host's, and nowhere where it is somebody else's.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::container::{BRIDGE_ADDRESSES, Container};
use portmeter_tests::count;
use portmeter_tests::exactness;
use portmeter_tests::network::{CLIENT_ADDRESSES, Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;
use portmeter_tests::wait;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_published_port", a_published_port),
    ("from_a_container_to_its_host", from_a_container_to_its_host),
    ("a_remote_port_of_the_same_number", a_remote_port_of_the_same_number),
];

/// A published port is the host's, whatever the container calls it: one has a number that nobody tracks, the other
/// the number of another tracked port.
fn a_published_port() -> Result<()> {
    let pair = Pair::new()?;
    let container = Container::behind_bridge(&pair.server)?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    let ports: Vec<u16> = keys.iter().map(|key| key.port).collect();
    let published = [(ports[0], 443), (ports[1], ports[2])];
    for (port, own_port) in published {
        container.publish(&pair.server, port, own_port)?;
    }
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let mut transfers = Vec::new();
    for (port, own_port) in published {
        let own = [IpAddr::V4(container.v4), IpAddr::V6(container.v6)];
        for (own, public) in own.into_iter().zip(SERVER_ADDRESSES) {
            let public = SocketAddr::new(public, port);
            transfers.push(Transfer::new(own, own_port, 200_003, 300_007).reached_at(public));
            udp::echoed_through(
                (&container.namespace, SocketAddr::new(own, own_port)),
                (&pair.client, public),
                &[1, 100, udp::LARGEST_PAYLOAD],
            )?;
        }
    }
    tcp::bulk(&container.namespace, &pair.client, &transfers)?;
    let truth = capture.finish(SERVER_V4.into())?;
    for (port, _) in published {
        let passed = count::of(&truth, port);
        ensure!(
            passed.rx_bytes > 400_000 && passed.tx_bytes > 600_000,
            "{port}: {passed:?}"
        );
    }
    exactness::all_faces_equal(&agent, &truth, &ports)?;
    let unattributed = agent.grpc()?.state()?.unattributed;
    ensure!(unattributed.iter().all(|row| row.packets == 0), "{unattributed:?}");
    Ok(())
}

/// To the host's address on the bridge and to the one on the uplink: either way only the bridge sees it.
fn from_a_container_to_its_host() -> Result<()> {
    let pair = Pair::new()?;
    let container = Container::behind_bridge(&pair.server)?;
    let agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let server: Vec<IpAddr> = SERVER_ADDRESSES.into_iter().chain(BRIDGE_ADDRESSES).collect();
    let capture = Capture::start(&container.namespace, "eth0", &server)?;
    let transfers: Vec<Transfer> = server
        .iter()
        .map(|address| Transfer::new(*address, port, 200_003, 300_007))
        .collect();
    tcp::bulk(&pair.server, &container.namespace, &transfers)?;
    for address in &server {
        let at_server = SocketAddr::new(*address, port);
        udp::echoed(&pair.server, &container.namespace, at_server, &[1, 1_000])?;
    }
    let truth = capture.finish(BRIDGE_ADDRESSES[0])?;
    exactness::all_faces_equal(&agent, &truth, &[port])
}

/// A tracked number at a remote host is nobody's port here. The bridge is asked about each of its packets once; on
/// the uplink the local end is the container's port, which is not tracked.
fn a_remote_port_of_the_same_number() -> Result<()> {
    let pair = Pair::new()?;
    let container = Container::behind_bridge(&pair.server)?;
    for (network, gateway) in ["10.88.0.0/24", "fd88::/64"].into_iter().zip(SERVER_ADDRESSES) {
        pair.client.run(&format!("ip route add {network} via {gateway}"))?;
    }
    let agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let capture = Capture::start(&pair.client, "eth0", &CLIENT_ADDRESSES)?;
    let transfers = CLIENT_ADDRESSES.map(|address| Transfer::new(address, port, 200_003, 300_007));
    tcp::bulk(&pair.client, &container.namespace, &transfers)?;
    let passed = count::of(&capture.finish(SERVER_V4.into())?, port);
    let (packets, bytes) = (passed.rx_packets + passed.tx_packets, passed.rx_bytes + passed.tx_bytes);
    let forwarded = || -> Result<_> {
        let state = agent.grpc()?.state()?;
        let row = state.unattributed.into_iter().find(|row| row.reason == "forwarded");
        Ok(row.map_or((0, 0), |row| (row.packets, row.bytes)))
    };
    wait::until(
        "what was forwarded is counted as such",
        || Ok(forwarded()?.0 >= packets),
    )?;
    ensure!(
        forwarded()? == (packets, bytes),
        "{:?} packets and bytes forwarded, not {packets} and {bytes}",
        forwarded()?
    );
    let counted = count::of(&agent.rest().counts()?, port);
    ensure!(counted.is_zero(), "somebody else's traffic was counted: {counted:?}");
    Ok(())
}
