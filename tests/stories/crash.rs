//! The agent is killed under traffic: the kernel goes on counting, and nothing is lost or counted twice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::settle;
use portmeter_tests::{bpftool, count, exactness, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("killed_under_traffic", killed_under_traffic),
    ("killed_again_and_again", killed_again_and_again),
];

/// How long the agent is away.
const ABSENCE: Duration = Duration::from_secs(3);

/// How much must pass while the agent is away, so that missing it would show: bytes over TCP, then datagrams.
const PASSES_MEANWHILE: (u64, u64) = (1_000_000, 300);

fn killed_under_traffic() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(2)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let stream = Background::tcp(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), keys[0].port),
    )?;
    let flood = Background::flood(&pair.client, SocketAddr::new(SERVER_V6.into(), keys[1].port))?;
    stream.wait_for(PASSES_MEANWHILE.0)?;
    flood.wait_for(PASSES_MEANWHILE.1)?;

    agent.kill()?;
    let killed_at = Instant::now();
    let at_kill = bpftool::counts(&agent)?;
    stream.wait_for(PASSES_MEANWHILE.0)?;
    flood.wait_for(PASSES_MEANWHILE.1)?;
    wait::until("the agent has been away long enough", || {
        Ok(killed_at.elapsed() >= ABSENCE)
    })?;
    agent.start()?;
    let shown = agent.rest().counts()?;
    for key in &keys {
        let (at_kill, shown) = (count::of(&at_kill, key.port), count::of(&shown, key.port));
        ensure!(
            shown.rx_packets > at_kill.rx_packets,
            "what passed meanwhile is missing: {at_kill:?}, {shown:?}"
        );
    }

    stream.wait_for(PASSES_MEANWHILE.0)?;
    stream.stop()?;
    flood.stop()?;
    settle::tcp_is_over(&pair.server, &pair.client)?;
    let truth = capture.finish(SERVER_V4.into())?;
    exactness::all_faces_equal(&agent, &truth, &[keys[0].port, keys[1].port])
}

/// Killed in the middle of its commits, several times: each restart finds a ledger that agrees with the kernel.
fn killed_again_and_again() -> Result<()> {
    let pair = Pair::new()?;
    // Commits as often as it can, so that a kill falls into one.
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_LEDGER__COMMIT_INTERVAL_SECONDS", "1");
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let stream = Background::tcp(&pair.server, &pair.client, SocketAddr::new(SERVER_V4.into(), key.port))?;
    for kills in 1..=4 {
        stream.wait_for(kills * 700_000)?;
        let before = agent.rest().count_of(&key.id)?;
        agent.kill()?;
        agent.start()?;
        let after = agent.rest().count_of(&key.id)?;
        ensure!(
            after.covers(&before),
            "after kill {kills} less is shown than before: {before:?}, {after:?}"
        );
    }
    stream.stop()?;
    settle::tcp_is_over(&pair.server, &pair.client)?;
    let truth = capture.finish(SERVER_V4.into())?;
    exactness::all_faces_equal(&agent, &truth, &[key.port])
}
