//! What the kernel programs say of packets that cannot be read: a line in the agent's log, not one for each packet.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::network::{CLIENT_V4, Pair, SERVER_V4};
use portmeter_tests::traffic::frames::{self, LinkEnd};
use portmeter_tests::wait;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_flood_is_one_line", a_flood_is_one_line),
    ("switched_off", switched_off),
];

/// Where the IP header begins in a frame.
const IP: usize = 14;

/// What the line says, whatever the packet's size.
const SENTENCE: &str = "cannot be read";

fn a_flood_is_one_line() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    send(&pair, 1)?;
    wait::until("the first one is told of", || {
        Ok(agent.read_log("stderr").contains(SENTENCE))
    })?;
    send(&pair, 1_000)?;
    ensure!(
        agent.grpc()?.unattributed_packets("malformed")? == 3_003,
        "all are counted"
    );
    // At its end the agent tells what is left.
    agent.stop()?;
    let said = agent.read_log("stderr");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(SENTENCE)).collect();
    // Two on a machine so busy that this took longer than the interval between two lines.
    ensure!((1..=2).contains(&lines.len()), "{} lines: {lines:#?}", lines.len());
    ensure!(lines[0].contains("WARN") && lines[0].contains("kernel:"), "{lines:#?}");
    Ok(())
}

fn switched_off() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_CAPTURE__KERNEL_LOG", "false");
    agent.start()?;
    send(&pair, 100)?;
    ensure!(
        agent.grpc()?.unattributed_packets("malformed")? == 300,
        "all are counted"
    );
    agent.stop()?;
    let said = agent.read_log("stderr");
    ensure!(!said.contains(SENTENCE), "{said}");
    Ok(())
}

/// Sends three broken frames `times` times, each time of another size.
fn send(pair: &Pair, times: usize) -> Result<()> {
    let (client, server) = (LinkEnd::of(&pair.client, "eth0")?, LinkEnd::of(&pair.server, "eth0")?);
    let from = (&client, SocketAddr::new(CLIENT_V4.into(), 40_000));
    let to = (&server, SocketAddr::new(SERVER_V4.into(), 10_001));
    let mut broken = Vec::new();
    for size in 0..times {
        let whole = frames::padded_udp(from, to, &vec![0; 100 + size])?;
        // Longer than what has come.
        let mut too_long = whole.clone();
        too_long[IP + 2..IP + 4].fill(0xff);
        // An IP header shorter than any.
        let mut too_short = whole.clone();
        too_short[IP] = 0x44;
        // Ends with its IP header.
        let cut_off = whole[..IP + 20].to_vec();
        broken.extend([too_long, too_short, cut_off]);
    }
    frames::send(&pair.client, &client, &broken)
}
