//! Packets that carry a tracked port's number and belong to somebody else.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::bpftool;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Counts};
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{
    CLIENT_V4, CLIENT_V6, FAR_CLIENT_V4, FAR_CLIENT_V6, Offloads, Pair, Routed, SERVER_V4, SERVER_V6, cable, offloads,
    plug_in,
};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("the_host_as_a_client", the_host_as_a_client),
    ("a_guest_behind_a_bridge", a_guest_behind_a_bridge),
    ("a_guest_behind_a_router", a_guest_behind_a_router),
];

const PORT: u16 = 10_001;

/// The counted host connects to port 10001 of another host.
fn the_host_as_a_client() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    agent.rest().create_keys(1)?;
    exchange(&pair.client, &pair.server, [CLIENT_V4.into(), CLIENT_V6.into()])?;
    nothing_is_booked(&agent)?;
    ensure!(
        agent.grpc()?.unattributed_packets("forwarded")? == 0,
        "nothing was forwarded"
    );
    Ok(())
}

/// A guest on the counted host's bridge connects to port 10001 of a host outside, and a host outside to port 10001 of
/// the guest. The ports of the bridge are counted in its place, so that the packets do pass our programs.
fn a_guest_behind_a_bridge() -> Result<()> {
    let host = Namespace::new("server")?;
    let guest = Namespace::new("guest")?;
    let outside = Namespace::new("client")?;
    cable((&host, "eth0"), (&outside, "eth0"))?;
    cable((&host, "guest0"), (&guest, "eth0"))?;
    host.run("ip link add bridge0 type bridge")?;
    for port in ["eth0", "guest0"] {
        offloads(&host, port, Offloads::Off)?;
        host.run(&format!("ip link set {port} master bridge0 up"))?;
    }
    plug_in(
        &host,
        "bridge0",
        &[&format!("{SERVER_V4}/24"), &format!("{SERVER_V6}/64")],
    )?;
    plug_in(
        &outside,
        "eth0",
        &[&format!("{CLIENT_V4}/24"), &format!("{CLIENT_V6}/64")],
    )?;
    plug_in(&guest, "eth0", &["10.77.0.3/24", "fd77::3/64"])?;
    for end in [&outside, &guest] {
        offloads(end, "eth0", Offloads::Off)?;
    }

    let mut agent = Agent::new(&host)?;
    for interface in ["eth0", "guest0"] {
        agent = agent.argument("--interface").argument(interface);
    }
    agent.start()?;
    agent.rest().create_keys(1)?;
    exchange(&outside, &guest, [CLIENT_V4.into(), CLIENT_V6.into()])?;
    exchange(&guest, &outside, ["10.77.0.3".parse()?, "fd77::3".parse()?])?;
    nothing_is_booked(&agent)?;
    ensure!(
        agent.grpc()?.unattributed_packets("forwarded")? > 0,
        "the packets did not pass our programs"
    );
    Ok(())
}

/// The counted host routes a guest's packets: the router of this network is the one that counts.
fn a_guest_behind_a_router() -> Result<()> {
    let network = Routed::new(Offloads::Off)?;
    // Joined packets would be counted once for each interface in whatever size they have there.
    network.router.run("ethtool -K outside gro off")?;
    let agent = Agent::started(&network.router)?;
    agent.rest().create_keys(1)?;
    let remote = [FAR_CLIENT_V4.into(), FAR_CLIENT_V6.into()];
    let capture = Capture::start(&network.client, "eth0", &remote)?;
    exchange(&network.client, &network.server, remote)?;
    let truth = count::of(&capture.finish(SERVER_V4.into())?, PORT);

    nothing_is_booked(&agent)?;
    // Towards the remote port a packet matches where it comes in, from it where it goes out: once each.
    let forwarded = agent.grpc()?.unattributed_packets("forwarded")?;
    let passed = truth.rx_packets + truth.tx_packets;
    ensure!(
        forwarded == passed,
        "{passed} packets passed through, {forwarded} are shown as forwarded"
    );
    Ok(())
}

/// Some TCP and UDP between a client and port 10001 of a host that is not counted.
fn exchange(server: &Namespace, client: &Namespace, addresses: [std::net::IpAddr; 2]) -> Result<()> {
    let transfers = addresses.map(|address| Transfer::new(address, PORT, 50_000, 70_000));
    tcp::bulk(server, client, &transfers)?;
    addresses
        .into_iter()
        .try_for_each(|address| udp::echoed(server, client, SocketAddr::new(address, PORT), &[1, 100, 1_000]))
}

fn nothing_is_booked(agent: &Agent<'_>) -> Result<()> {
    let shown: [(&str, Counts); 3] = [
        ("REST", agent.rest().counts()?),
        ("gRPC", agent.grpc()?.counts()?),
        ("bpftool", bpftool::counts(agent)?),
    ];
    for (face, counts) in shown {
        let count = count::of(&counts, PORT);
        ensure!(count.is_zero(), "{face} books somebody else's packets: {count:?}");
    }
    Ok(())
}
