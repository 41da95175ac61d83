//! Over loopback both ends are this host: a packet to a key's port is rx once, one from it is tx once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{Offloads, offloads};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;
use portmeter_tests::{count, exactness};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("to_and_from_a_key", to_and_from_a_key),
    ("between_two_keys", between_two_keys),
];

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn to_and_from_a_key() -> Result<()> {
    let host = lonely_host()?;
    let agent = Agent::started(&host)?;
    let port = agent.rest().create_key("customer")?.port;
    let capture = Capture::start(&host, "lo", &LOOPBACK)?;
    let sizes = [1, 100, 1_000];
    for address in LOOPBACK {
        tcp::bulk(&host, &host, &[Transfer::new(address, port, 200_000, 300_000)])?;
        udp::echoed(&host, &host, SocketAddr::new(address, port), &sizes)?;
    }
    let truth = capture.finish(LOOPBACK[0])?;
    exactness::all_faces_equal(&agent, &truth, &[port])
}

/// Each datagram has a key's port at either end: tx of one key, rx of the other, each once.
fn between_two_keys() -> Result<()> {
    let host = lonely_host()?;
    let agent = Agent::started(&host)?;
    let keys = agent.rest().create_keys(2)?;
    let (from, to) = (keys[0].port, keys[1].port);
    for address in LOOPBACK {
        let from = (&host, SocketAddr::new(address, from));
        udp::segmented(from, (&host, SocketAddr::new(address, to)), 500, 1)?;
    }
    let shown = agent.rest().counts()?;
    let bytes = 500 + 28 + 500 + 48;
    let (sender, receiver) = (count::of(&shown, from), count::of(&shown, to));
    ensure!(
        sender
            == count::Count {
                tx_bytes: bytes,
                tx_packets: 2,
                ..Default::default()
            },
        "{sender:?}"
    );
    ensure!(
        receiver
            == count::Count {
                rx_bytes: bytes,
                rx_packets: 2,
                ..Default::default()
            },
        "{receiver:?}"
    );
    Ok(())
}

/// A host with nothing but its loopback, where packets are as on a wire.
fn lonely_host() -> Result<Namespace> {
    let host = Namespace::new("server")?;
    offloads(&host, "lo", Offloads::Off)?;
    Ok(host)
}
