//! Counting changes and loses nothing: the same data arrives, and interfaces and queues drop no more, with the agent
//! attached as without it.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::count;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::needs;
use portmeter_tests::network::{CLIENT_ADDRESSES, Offloads, Pair, SERVER_ADDRESSES, offloads};
use portmeter_tests::traffic::payload;
use portmeter_tests::traffic::udp::LARGEST_PAYLOAD;
use serde_json::{Map, Value};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("on_a_plain_link", || is_untouched(Offloads::Off, "tcx")),
    ("with_offloads", || is_untouched(Offloads::On, "tcx")),
    ("by_clsact_filters", || is_untouched(Offloads::On, "clsact")),
];

const PORT: u16 = 10_001;
const CLIENT_PORT: u16 = 40_000;

/// What one direction of one connection carries, and one run of datagrams.
const TCP_BYTES: usize = 3_000_000;
const UDP_BYTES: usize = 400_000;

/// From a byte to what is cut into fragments.
const DATAGRAM_SIZES: [usize; 6] = [1, 100, LARGEST_PAYLOAD, 1_453, 9_000, 60_000];

fn is_untouched(wanted: Offloads, hook: &str) -> Result<()> {
    if hook == "tcx" {
        needs::kernel(6, 6, "TCX")?;
    }
    let pair = Pair::new()?;
    for host in [&pair.server, &pair.client] {
        offloads(host, "eth0", wanted)?;
        // A queue with figures of its own; a veth has none by itself.
        host.run("tc qdisc add dev eth0 root handle 1: htb default 10")?;
        host.run("tc class add dev eth0 parent 1: classid 1:10 htb rate 10gbit")?;
    }
    let without = Losses::during(&pair, || data_arrives(&pair))?;
    let queues_before = queues(&pair.server)?;

    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_CAPTURE__HOOK", hook);
    agent.start()?;
    agent.rest().create_key("customer")?;
    let with = Losses::during(&pair, || data_arrives(&pair))?;
    let counted = count::of(&agent.rest().counts()?, PORT);
    ensure!(
        counted.rx_bytes > 2 * TCP_BYTES as u64 && counted.tx_bytes > 2 * TCP_BYTES as u64,
        "the data did not pass the counted interface: {counted:?}"
    );
    with.are_as(&without)?;
    agent.stop()?;
    agent.uninstall()?;
    ensure!(
        queues(&pair.server)? == queues_before,
        "the queues are not what they were"
    );
    Ok(())
}

/// Over TCP and UDP, IPv4 and IPv6, in both directions.
fn data_arrives(pair: &Pair) -> Result<()> {
    for (number, (server, client)) in (0..).zip(SERVER_ADDRESSES.into_iter().zip(CLIENT_ADDRESSES)) {
        tcp_arrives(pair, server, number)?;
        let at_server = (&pair.server, SocketAddr::new(server, PORT));
        let at_client = (&pair.client, SocketAddr::new(client, CLIENT_PORT));
        let bytes = payload::random(number + 20, UDP_BYTES);
        let up = payload::over_udp(&pair.client, at_server, &bytes, &DATAGRAM_SIZES)?;
        let down = payload::over_udp(&pair.server, at_client, &bytes, &DATAGRAM_SIZES)?;
        let sent = payload::digest(&bytes);
        ensure!(
            up == sent && down == sent,
            "other datagrams arrived than were sent to {server}"
        );
    }
    Ok(())
}

fn tcp_arrives(pair: &Pair, server: IpAddr, number: u64) -> Result<()> {
    let (up, down) = (
        payload::random(number, TCP_BYTES),
        payload::random(number + 10, TCP_BYTES),
    );
    let address = SocketAddr::new(server, PORT);
    let arrived = payload::over_tcp(&pair.server, &pair.client, address, (&up, &down))?;
    ensure!(
        arrived == [payload::digest(&up), payload::digest(&down)],
        "other bytes arrived than were sent to and from {server}"
    );
    Ok(())
}

/// What got lost at both ends of the cable, by name of the figure.
#[derive(Debug, PartialEq, Eq)]
struct Losses(Vec<(String, u64)>);

impl Losses {
    /// While something is done.
    fn during(pair: &Pair, work: impl FnOnce() -> Result<()>) -> Result<Self> {
        let before = Self::until_now(pair)?;
        work()?;
        let after = Self::until_now(pair)?;
        let names_are_same = before
            .0
            .iter()
            .map(|(name, _)| name)
            .eq(after.0.iter().map(|(name, _)| name));
        ensure!(names_are_same, "the figures are others: {before:?}, {after:?}");
        let lost = before.0.into_iter().zip(after.0);
        Ok(Self(
            lost.map(|(before, after)| (after.0, after.1 - before.1)).collect(),
        ))
    }

    fn are_as(&self, without: &Self) -> Result<()> {
        let different: Vec<_> = self
            .0
            .iter()
            .zip(&without.0)
            .filter(|(with, without)| with != without)
            .collect();
        ensure!(
            different.is_empty(),
            "lost with the agent and without it: {different:?}"
        );
        Ok(())
    }

    fn until_now(pair: &Pair) -> Result<Self> {
        let mut losses = Vec::new();
        for (end, host) in [("server", &pair.server), ("client", &pair.client)] {
            let link = json(host, "ip -j -s -s link show dev eth0")?;
            for direction in ["rx", "tx"] {
                let figures = link[0]["stats64"][direction]
                    .as_object()
                    .context("no figures of the link")?;
                losses.extend(of_losses(&format!("{end} {direction}"), figures));
            }
            let queue = json(host, "tc -j -s qdisc show dev eth0 root")?;
            let figures = queue[0].as_object().context("no figures of the queue")?;
            losses.extend(of_losses(&format!("{end} queue"), figures));
        }
        Ok(Self(losses))
    }
}

/// Every figure but those of what passed, and how often the shaper had a packet wait, which depends on the moment.
fn of_losses(whose: &str, figures: &Map<String, Value>) -> Vec<(String, u64)> {
    const OTHERS: [&str; 7] = [
        "bytes",
        "packets",
        "multicast",
        "backlog",
        "qlen",
        "refcnt",
        "overlimits",
    ];
    let lost = figures.iter().filter(|(name, _)| !OTHERS.contains(&name.as_str()));
    lost.filter_map(|(name, value)| Some((format!("{whose} {name}"), value.as_u64()?)))
        .collect()
}

/// The queues and classes without their figures. The clsact qdisc queues nothing; filters leave it in place.
fn queues(host: &Namespace) -> Result<String> {
    let shown = [host.run("tc qdisc show dev eth0")?, host.run("tc class show dev eth0")?];
    let lines = shown.iter().flat_map(|text| text.lines());
    Ok(lines.filter(|line| !line.contains(" clsact ")).collect())
}

fn json(host: &Namespace, line: &str) -> Result<Value> {
    Ok(serde_json::from_str(&host.run(line)?)?)
}
