//! The lab itself: the truth that the other stories compare with is true.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Result, ensure};
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::foreign::ForeignProgram;
use portmeter_tests::mirror::{self, Mirror};
use portmeter_tests::network::{CLIENT_ADDRESSES, Offloads, Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6, offloads};
use portmeter_tests::traffic::fragments;
use portmeter_tests::traffic::frames::{self, LinkEnd};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_capture_counts_ip_bytes", a_capture_counts_ip_bytes),
    (
        "a_capture_knows_whose_fragments_pass",
        a_capture_knows_whose_fragments_pass,
    ),
    ("a_mirror_shows_what_a_wire_would", a_mirror_shows_what_a_wire_would),
    ("a_capture_sees_no_large_packet", a_capture_sees_no_large_packet),
    ("a_foreign_filter_sees_what_passes", a_foreign_filter_sees_what_passes),
];

const PORT: u16 = 7001;

/// Datagrams have sizes that can be worked out by hand.
fn a_capture_counts_ip_bytes() -> Result<()> {
    let pair = Pair::new()?;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let sizes = [0, 1, 100, udp::LARGEST_PAYLOAD];
    let payload: u64 = sizes.iter().map(|&size| size as u64).sum();
    let packets = sizes.len() as u64;

    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), PORT),
        &sizes,
    )?;
    let bytes = payload + packets * (20 + 8);
    let expected = Count {
        rx_bytes: bytes,
        rx_packets: packets,
        tx_bytes: bytes,
        tx_packets: packets,
    };
    let v4 = count::of(&capture.counts(SERVER_V4.into())?, PORT);
    ensure!(v4 == expected, "IPv4: {v4:?}, expected {expected:?}");

    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V6.into(), PORT),
        &sizes,
    )?;
    let bytes = payload + packets * (40 + 8);
    let expected = Count {
        rx_bytes: bytes,
        rx_packets: packets,
        tx_bytes: bytes,
        tx_packets: packets,
    };
    let v6 = count::of(&capture.finish(SERVER_V4.into())?, PORT).since(&v4);
    ensure!(v6 == expected, "IPv6: {v6:?}, expected {expected:?}");
    Ok(())
}

/// A datagram's later fragments belong to its first one's port; without a first one, to none.
fn a_capture_knows_whose_fragments_pass() -> Result<()> {
    let pair = Pair::new()?;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let (server, client) = (LinkEnd::of(&pair.server, "eth0")?, LinkEnd::of(&pair.client, "eth0")?);
    for (server_address, client_address) in SERVER_ADDRESSES.into_iter().zip(CLIENT_ADDRESSES) {
        let at_server = SocketAddr::new(server_address, PORT);
        let at_client = SocketAddr::new(client_address, 40_000);
        // 4008 bytes of UDP are cut into 1400, 1400 and 1208.
        let mut up = fragments::datagram((&client, at_client), (&server, at_server), &[1; 4_000], 1)?;
        udp::arriving(&pair.server, at_server, 1, || frames::send(&pair.client, &client, &up))?;
        up = fragments::datagram((&client, at_client), (&server, at_server), &[1; 4_000], 2)?;
        frames::send(&pair.client, &client, &up[1..])?;
        // The kernel's own fragments: 4008 bytes in 1480, 1480 and 1048 (IPv4), 1448, 1448 and 1112 (IPv6).
        udp::arriving(&pair.client, at_client, 1, || {
            pair.server.enter(|| {
                let payload = [1; 4_000];
                UdpSocket::bind(at_server)?.send_to(&payload, at_client)?;
                Ok(())
            })
        })?;
    }
    let passed = count::of(&capture.counts(SERVER_V4.into())?, PORT);
    let orphans = capture.orphan_fragments();
    let header_bytes = 20 + 48;
    let expected = Count {
        rx_bytes: 2 * 4_008 + 3 * header_bytes,
        rx_packets: 6,
        tx_bytes: 2 * 4_008 + 3 * header_bytes,
        tx_packets: 6,
    };
    ensure!(passed == expected, "{passed:?}, expected {expected:?}");
    let expected = Count {
        rx_bytes: 2 * 2_608 + 2 * header_bytes,
        rx_packets: 4,
        ..Count::default()
    };
    ensure!(
        orphans == expected,
        "without a first one: {orphans:?}, expected {expected:?}"
    );
    Ok(())
}

/// Without offloads the link is a wire, and the mirror shows the same; with them it goes on to show what a wire would.
fn a_mirror_shows_what_a_wire_would() -> Result<()> {
    let pair = Pair::new()?;
    let mirror = Mirror::of(&pair.client, "eth0")?;
    let mut on_link = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let mut mirrored = Capture::start(&mirror.namespace, mirror::INTERFACE, &SERVER_ADDRESSES)?.marked_by(&pair.client);
    let transfers = SERVER_ADDRESSES.map(|address| Transfer::new(address, PORT, 1_000_000, 2_000_000));
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    let passed = count::of(&on_link.counts(SERVER_V4.into())?, PORT);
    let shown = count::of(&mirrored.counts(SERVER_V4.into())?, PORT);
    ensure!(shown == passed, "the mirror shows {shown:?} of {passed:?}");

    for host in [&pair.server, &pair.client] {
        offloads(host, "eth0", Offloads::On)?;
    }
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    on_link.counts(SERVER_V4.into())?;
    mirrored.counts(SERVER_V4.into())?;
    let (link, wire) = (on_link.longest_frame_bytes(), mirrored.longest_frame_bytes());
    ensure!(
        link > 1_514 && wire == 1_514,
        "the longest frames: {link} and {wire} bytes"
    );
    Ok(())
}

/// With offloads off a bulk transfer is seen in packets of at most 1500 bytes, all of it.
fn a_capture_sees_no_large_packet() -> Result<()> {
    let pair = Pair::new()?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let transfer = Transfer::new(SERVER_V4, PORT, 1_000_000, 2_000_000);
    tcp::bulk(&pair.server, &pair.client, &[transfer])?;
    let passed = count::of(&capture.finish(SERVER_V4.into())?, PORT);
    ensure!(passed.rx_bytes > 1_000_000 && passed.tx_bytes > 2_000_000, "{passed:?}");
    ensure!(
        passed.rx_bytes <= 1500 * passed.rx_packets && passed.tx_bytes <= 1500 * passed.tx_packets,
        "{passed:?}"
    );
    Ok(())
}

/// Somebody else's programs count what passes while the product is not there.
fn a_foreign_filter_sees_what_passes() -> Result<()> {
    let pair = Pair::new()?;
    let program = ForeignProgram::compile()?;
    pair.server.run("tc qdisc add dev eth0 clsact")?;
    let filter = program.attach_filter(&pair.server, "eth0", "ingress")?;
    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), PORT),
        &[100; 50],
    )?;
    ensure!(filter.seen()? == 50, "a filter saw {} of 50 packets", filter.seen()?);
    Ok(())
}
