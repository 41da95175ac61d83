//! The lab itself: the truth that the other stories compare with is true.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::foreign::ForeignProgram;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_capture_counts_ip_bytes", a_capture_counts_ip_bytes),
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
