//! BIG TCP: packets of up to 185,000 bytes, whose length no longer fits the IP header. The counted host is charged for
//! what they would be on a wire, and that is the truth too: a mirror of the link, cut up.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::mirror::{self, Mirror};
use portmeter_tests::network::{CLIENT_V4, Offloads, Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6, offloads, windows};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::{exactness, needs, packet_size};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("sent_over_ipv4", || is_exact(SERVER_V4.into(), Way::Sent)),
    ("sent_over_ipv6", || is_exact(SERVER_V6.into(), Way::Sent)),
    ("received_over_ipv4", || is_exact(SERVER_V4.into(), Way::Received)),
    ("received_over_ipv6", || is_exact(SERVER_V6.into(), Way::Received)),
];

/// What Google's servers use, and what the feature was made for.
const LONGEST_PACKET_BYTES: u32 = 185_000;

/// The longest length that an IPv4 header can say.
const LONGEST_ORDINARY_PACKET_BYTES: u32 = 65_535;

/// Which way the bulk goes, seen from the server.
enum Way {
    Sent,
    Received,
}

fn is_exact(address: IpAddr, way: Way) -> Result<()> {
    if address.is_ipv4() {
        needs::kernel(6, 3, "BIG TCP over IPv4")?;
    }
    let pair = Pair::new()?;
    for host in [&pair.server, &pair.client] {
        offloads(host, "eth0", Offloads::On)?;
        packet_size::allow(host, "eth0", LONGEST_PACKET_BYTES)?;
        // Room for a few of the longest in flight.
        windows(host, 2_000_000, 2_000_000)?;
    }
    let mirror = Mirror::of(&pair.client, "eth0")?;
    let agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let mut on_link = Capture::start(&pair.server, "eth0", &SERVER_ADDRESSES)?;
    let on_wire = Capture::start(&mirror.namespace, mirror::INTERFACE, &SERVER_ADDRESSES)?.marked_by(&pair.client);

    let (upload, download) = match way {
        Way::Sent => (0, 20_000_003),
        Way::Received => (20_000_003, 0),
    };
    let transfer = Transfer::new(address, port, upload, download);
    tcp::bulk(&pair.server, &pair.client, &[transfer])?;
    let truth = on_wire.finish(SERVER_V4.into())?;
    on_link.counts(CLIENT_V4.into())?;
    ensure!(
        on_link.longest_frame_bytes() > LONGEST_ORDINARY_PACKET_BYTES,
        "the longest packet had {} bytes: not what the story is about",
        on_link.longest_frame_bytes()
    );
    exactness::all_faces_equal(&agent, &truth, &[port])
}
