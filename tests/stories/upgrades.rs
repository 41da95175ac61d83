//! Kills, upgrades and stops under as much load as the machine gives, connections coming and going all the time: not a
//! byte, not a packet and not a connection is lost or counted twice.
//!
//! The truth is a witness at the client's end of the cable (tcpdump could not keep up), and for connections the
//! generator's own numbers.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::count::Connections;
use portmeter_tests::network::{Pair, SERVER_V4, SERVER_V6};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::settle;
use portmeter_tests::witness::Witness;
use portmeter_tests::{bpftool, exactness, needs};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("ten_kills", || kills("auto", TIMES)),
    ("ten_upgrades", ten_upgrades),
    ("ten_stops_and_starts", || stops_and_starts("auto", TIMES)),
    ("stops_and_starts_with_filters", || stops_and_starts("clsact", 5)),
    ("kills_with_xdp", kills_with_xdp),
];

const TIMES: u64 = 10;

/// Killed at as many different moments; every second time the next start is killed too, before it is ready.
fn kills(hook: &str, times: u64) -> Result<()> {
    under_load(hook, |agent, load| {
        for kill in 1..=times {
            load.wait_for(kill * 700_000)?;
            agent.kill()?;
            load.wait_for(300_000)?;
            if kill % 2 == 0 {
                agent.begin_start()?;
                // Each time a little further on its way.
                load.wait_for(kill * kill * 100_000)?;
                agent.kill()?;
            }
            agent.start()?;
        }
        Ok(())
    })
}

/// Back and forth between two binaries.
fn ten_upgrades() -> Result<()> {
    under_load("auto", |agent, load| {
        let binaries = [agent.other_binary()?, agent.own_binary()?];
        for binary in binaries.iter().cycle().take(TIMES as usize) {
            load.wait_for(1_000_000)?;
            agent.stop()?;
            agent.change_program(binary.clone());
            agent.start()?;
        }
        Ok(())
    })
}

fn stops_and_starts(hook: &str, times: u64) -> Result<()> {
    under_load(hook, |agent, load| {
        for _ in 0..times {
            load.wait_for(1_000_000)?;
            agent.stop()?;
            load.wait_for(1_000_000)?;
            agent.start()?;
        }
        Ok(())
    })
}

fn kills_with_xdp() -> Result<()> {
    needs::kernel(6, 6, "TCX")?;
    kills("xdp", 5)
}

/// Has `happen` happen to an agent in the middle of streams, datagrams and connections, and compares everything when
/// all is over.
fn under_load(hook: &str, happen: impl FnOnce(&mut Agent<'_>, &Background) -> Result<()>) -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_CAPTURE__HOOK", hook);
    agent.start()?;
    let keys = agent.rest().create_keys(5)?;
    let witness = Witness::attach(&pair.client, "eth0")?;
    let address = |key: &Key, address: IpAddr| SocketAddr::new(address, key.port);
    let started = Instant::now();
    let streams = [
        Background::tcp_in_bulk(&pair.server, &pair.client, address(&keys[0], SERVER_V4.into()))?,
        Background::tcp_in_bulk(&pair.server, &pair.client, address(&keys[1], SERVER_V6.into()))?,
    ];
    let flood = Background::flood(&pair.client, address(&keys[2], SERVER_V6.into()))?;
    let turnovers = [
        Background::turnover(&pair.server, &pair.client, address(&keys[3], SERVER_V4.into()))?,
        Background::turnover(&pair.server, &pair.client, address(&keys[4], SERVER_V6.into()))?,
    ];
    happen(&mut agent, &streams[0])?;

    let ends = streams
        .into_iter()
        .map(Background::stop)
        .collect::<Result<Vec<u64>>>()?;
    flood.stop()?;
    let made = turnovers
        .into_iter()
        .map(Background::stop)
        .collect::<Result<Vec<u64>>>()?;
    let seconds = started.elapsed().as_secs_f64();
    settle::tcp_is_over(&pair.server, &pair.client)?;
    let gigabits = ends.iter().sum::<u64>() as f64 * 8.0 / 1e9;
    println!(
        "{:.2} Gbit/s and {:.0} connections a second for {seconds:.0} s",
        gigabits / seconds,
        made.iter().sum::<u64>() as f64 / seconds
    );

    let ports: Vec<u16> = keys.iter().map(|key| key.port).collect();
    exactness::all_faces_equal(&agent, &witness.counts(&ports)?, &ports)?;
    for (key, opened) in keys.iter().zip([1, 1, 0, made[0], made[1]]) {
        let truth = Connections { opened, active: 0 };
        let shown = agent.rest().connections_of(&key.id)?;
        let kernel = bpftool::connections(&agent, key.port)?;
        ensure!(
            shown == truth && kernel.opened == opened && kernel.closed == opened && kernel.adopted == 0,
            "port {}: {shown:?} is shown, there were {truth:?}; {kernel:?}",
            key.port
        );
    }
    let corrections = agent.grpc()?.state()?.connection_corrections;
    ensure!(corrections == 0, "{corrections} corrections");
    Ok(())
}
