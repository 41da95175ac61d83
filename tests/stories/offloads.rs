//! Aggregated packets: the counted host sends and receives packets far larger than the wire's, and is charged for
//! what the wire carried. The truth is captured one hop further on, where every packet is one of the wire.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::exactness;
use portmeter_tests::network::{
    FAR_CLIENT_V4, FAR_CLIENT_V6, Offloads, Routed, SERVER_ADDRESSES, SERVER_V4, SERVER_V6, driver_packets,
};
use portmeter_tests::tap::TapCable;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("default_offloads", default_offloads),
    ("a_tap_with_virtio_headers", a_tap_with_virtio_headers),
    ("a_tun_with_virtio_headers", a_tun_with_virtio_headers),
];

/// TSO, GSO and GRO on, as on a host that nobody has tuned.
fn default_offloads() -> Result<()> {
    aggregated_packets_are_exact(&Routed::new(Offloads::On)?)
}

/// A tap as a rented server's network card: aggregated packets arrive without a segment count.
fn a_tap_with_virtio_headers() -> Result<()> {
    let network = Routed::without_inside()?;
    let _cable = TapCable::new((&network.server, "eth0"), (&network.router, "inside"))?;
    network.plug_in_server()?;
    aggregated_packets_are_exact(&network)
}

/// A tunnel that hands on large packets.
fn a_tun_with_virtio_headers() -> Result<()> {
    let network = Routed::without_inside()?;
    let _cable = TapCable::of_tuns((&network.server, "eth0"), (&network.router, "inside"))?;
    network.plug_in_server()?;
    aggregated_packets_are_exact(&network)
}

fn aggregated_packets_are_exact(network: &Routed) -> Result<()> {
    let agent = Agent::started(&network.server)?;
    let keys = agent.rest().create_keys(3)?;
    let capture = Capture::start(&network.client, "eth0", &SERVER_ADDRESSES)?;
    let before = driver_packets(&network.server, "eth0")?;

    let tcp_ports = [keys[0].port, keys[1].port];
    let transfers = [
        Transfer::new(SERVER_V4, tcp_ports[0], 3_000_017, 4_000_037),
        Transfer::new(SERVER_V6, tcp_ports[0], 2_000_003, 3_000_029),
        Transfer::new(SERVER_V4, tcp_ports[1], 0, 5_000_011),
        Transfer::new(SERVER_V6, tcp_ports[1], 5_000_011, 0),
    ];
    tcp::bulk(&network.server, &network.client, &transfers)?;
    send_segmented_datagrams(network, keys[2].port)?;

    let after = driver_packets(&network.server, "eth0")?;
    let truth = capture.finish(SERVER_V4.into())?;
    let ports: Vec<u16> = keys.iter().map(|key| key.port).collect();
    packets_were_large(
        after.0 - before.0,
        after.1 - before.1,
        &count::only(&truth, ports.clone()),
    )?;
    exactness::all_faces_equal(&agent, &truth, &ports)
}

/// Datagrams cut up by the kernel, from the server and to it.
fn send_segmented_datagrams(network: &Routed, port: u16) -> Result<()> {
    let client_port = 40_000;
    for (server_address, client_address) in [
        (SERVER_V4.into(), FAR_CLIENT_V4.into()),
        (SERVER_V6.into(), FAR_CLIENT_V6.into()),
    ] {
        let server = (&network.server, SocketAddr::new(server_address, port));
        let client = (&network.client, SocketAddr::new(client_address, client_port));
        udp::segmented(server, client, 1_333, 23)?;
        udp::segmented(client, server, 1_111, 17)?;
    }
    Ok(())
}

/// Without this the story would prove nothing: far fewer packets must have passed the driver than the wire.
fn packets_were_large(driver_rx: u64, driver_tx: u64, truth: &count::Counts) -> Result<()> {
    let sum = |figure: fn(&Count) -> u64| truth.values().map(figure).sum::<u64>();
    let (wire_rx, wire_tx) = (sum(|count| count.rx_packets), sum(|count| count.tx_packets));
    ensure!(
        driver_tx * 3 < wire_tx * 2,
        "sent in {driver_tx} packets, {wire_tx} on the wire: not aggregated"
    );
    ensure!(
        driver_rx * 3 < wire_rx * 2,
        "received in {driver_rx} packets, {wire_rx} on the wire: not aggregated"
    );
    Ok(())
}
