//! Packets of every make, offloads off: many ports at once, the longest packets, IPv6 extension headers, VLAN tags.

use std::net::{IpAddr, SocketAddr};
use std::thread;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::exactness;
use portmeter_tests::network::{
    CLIENT_ADDRESSES, CLIENT_V6, Offloads, Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6, offloads,
};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::frames::{self, LinkEnd};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("twenty_five_ports_at_once", twenty_five_ports_at_once),
    ("packets_as_long_as_the_wire_takes", packets_as_long_as_the_wire_takes),
    ("longer_packets_on_a_longer_wire", longer_packets_on_a_longer_wire),
    ("ipv6_extension_headers", ipv6_extension_headers),
    ("tagged_frames", tagged_frames),
];

const CLIENT_PORT: u16 = 40_000;

/// TCP and UDP on each, IPv4 and IPv6, both directions.
fn twenty_five_ports_at_once() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(25)?);
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let transfers: Vec<Transfer> = (0..)
        .zip(&ports)
        .flat_map(|(number, &port)| {
            // A different amount for every port and direction, so that none can pass for another.
            let (upload, download) = (40_000 + number * 3_001, 200_000 - number * 5_003);
            [
                Transfer::new(SERVER_V4, port, upload, download),
                Transfer::new(SERVER_V6, port, download, upload),
            ]
        })
        .collect();
    thread::scope(|scope| {
        let datagrams = scope.spawn(|| {
            (1..).zip(&ports).try_for_each(|(number, &port)| {
                SERVER_ADDRESSES.into_iter().try_for_each(|address| {
                    let sizes = vec![number * 10; number];
                    udp::echoed(&pair.server, &pair.client, SocketAddr::new(address, port), &sizes)
                })
            })
        });
        tcp::bulk(&pair.server, &pair.client, &transfers)?;
        datagrams.join().expect("the thread of the datagrams")
    })?;
    let truth = capture.finish(SERVER_V4.into())?;
    for &port in &ports {
        let passed = count::of(&truth, port);
        ensure!(
            passed.rx_bytes > 200_000 && passed.tx_bytes > 200_000,
            "too little passed on {port}: {passed:?}"
        );
    }
    exactness::all_faces_equal(&agent, &truth, &ports)
}

/// Datagrams of exactly the cable's 1500 bytes, and connections whose packets are just as long.
fn packets_as_long_as_the_wire_takes() -> Result<()> {
    longest_packets_are_exact(&Pair::new()?, 1_500)
}

/// Jumbo frames.
fn longer_packets_on_a_longer_wire() -> Result<()> {
    let pair = Pair::new()?;
    for host in [&pair.server, &pair.client] {
        host.run("ip link set eth0 mtu 9000")?;
        offloads(host, "eth0", Offloads::Off)?;
    }
    longest_packets_are_exact(&pair, 9_000)
}

fn longest_packets_are_exact(pair: &Pair, wire_bytes: usize) -> Result<()> {
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(2)?);
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    for (address, header_bytes) in [(IpAddr::V4(SERVER_V4), 28), (IpAddr::V6(SERVER_V6), 48)] {
        let at_server = SocketAddr::new(address, ports[0]);
        let sizes = [wire_bytes - header_bytes; 100];
        udp::echoed(&pair.server, &pair.client, at_server, &sizes)?;
    }
    let datagrams = count::of(&capture.counts(SERVER_V4.into())?, ports[0]);
    let bytes = 200 * wire_bytes as u64;
    let expected = Count {
        rx_bytes: bytes,
        rx_packets: 200,
        tx_bytes: bytes,
        tx_packets: 200,
    };
    ensure!(datagrams == expected, "{datagrams:?}, not {expected:?}");

    let transfers = [
        Transfer::new(SERVER_V4, ports[1], 500_003, 700_001),
        Transfer::new(SERVER_V6, ports[1], 700_001, 500_003),
    ];
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    let truth = capture.counts(SERVER_V4.into())?;
    let link_header_bytes = 14;
    ensure!(
        capture.longest_frame_bytes() as usize == wire_bytes + link_header_bytes,
        "the longest frame had {} bytes",
        capture.longest_frame_bytes()
    );
    capture.finish(SERVER_V4.into())?;
    exactness::all_faces_equal(&agent, &truth, &ports)
}

/// Hop-by-hop options, destination options and a routing header, in both directions.
fn ipv6_extension_headers() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(1)?);
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let (server, client) = (LinkEnd::of(&pair.server, "eth0")?, LinkEnd::of(&pair.client, "eth0")?);
    let at_server = (&server, SocketAddr::new(SERVER_V6.into(), ports[0]));
    let at_client = (&client, SocketAddr::new(CLIENT_V6.into(), CLIENT_PORT));
    let up = vec![frames::udp_with_extensions(at_client, at_server, &[1; 100])?; 20];
    let down = vec![frames::udp_with_extensions(at_server, at_client, &[1; 200])?; 30];
    udp::arriving(&pair.server, at_server.1, 20, || {
        frames::send(&pair.client, &client, &up)
    })?;
    udp::arriving(&pair.client, at_client.1, 30, || {
        frames::send(&pair.server, &server, &down)
    })?;
    let truth = capture.finish(SERVER_V4.into())?;
    // 40 of IPv6; 8, 24, 24 and 8 of extensions; 8 of UDP.
    let passed = count::of(&truth, ports[0]);
    let expected = Count {
        rx_bytes: 20 * (112 + 100),
        rx_packets: 20,
        tx_bytes: 30 * (112 + 200),
        tx_packets: 30,
    };
    ensure!(passed == expected, "{passed:?}, not {expected:?}");
    exactness::all_faces_equal(&agent, &truth, &ports)
}

/// One, two and three tags, as customers' and as providers' VLANs. There is no VLAN device, so that nobody receives
/// them; they have passed the attached interface all the same.
fn tagged_frames() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(2)?);
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let (server, client) = (LinkEnd::of(&pair.server, "eth0")?, LinkEnd::of(&pair.client, "eth0")?);
    let stacks: [&[(u16, u16)]; 4] = [
        &[(0x8100, 7)],
        &[(0x88a8, 7)],
        &[(0x88a8, 7), (0x8100, 8)],
        &[(0x88a8, 7), (0x8100, 8), (0x8100, 9)],
    ];
    for (number, tags) in (1..).zip(stacks) {
        for &port in &ports {
            for (server_address, client_address) in SERVER_ADDRESSES.into_iter().zip(CLIENT_ADDRESSES) {
                let at_server = (&server, SocketAddr::new(server_address, port));
                let at_client = (&client, SocketAddr::new(client_address, CLIENT_PORT));
                let up = frames::tagged(frames::padded_udp(at_client, at_server, &[1; 100])?, tags);
                let down = frames::tagged(frames::padded_udp(at_server, at_client, &[1; 300])?, tags);
                frames::send(&pair.client, &client, &vec![up; number])?;
                frames::send(&pair.server, &server, &vec![down; number])?;
            }
        }
    }
    let truth = capture.finish(SERVER_V4.into())?;
    let passed = count::of(&truth, ports[0]);
    let expected = Count {
        rx_bytes: 10 * (28 + 100) + 10 * (48 + 100),
        rx_packets: 20,
        tx_bytes: 10 * (28 + 300) + 10 * (48 + 300),
        tx_packets: 20,
    };
    ensure!(passed == expected, "{passed:?}, not {expected:?}");
    exactness::all_faces_become_equal(&agent, &truth, &ports)
}

fn ports(keys: &[Key]) -> Vec<u16> {
    keys.iter().map(|key| key.port).collect()
}
