//! What a user changes between two runs: the kernel goes on counting meanwhile, and nothing is counted twice.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::traffic::udp;
use portmeter_tests::{bpftool, exactness};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("another_hook", another_hook),
    ("other_ports", other_ports),
    ("other_interfaces", || other_interfaces("auto")),
    ("other_interfaces_with_filters", || other_interfaces("clsact")),
    ("another_ledger", another_ledger),
];

const HOOK: &str = "PORTMETER_CAPTURE__HOOK";
const PORTS: &str = "PORTMETER_CAPTURE__PORTS";
const INTERFACES: &str = "PORTMETER_CAPTURE__INTERFACES";

/// From TCX to filters and back: a packet that passed both would be counted twice.
fn another_hook() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    send(&pair, port)?;
    for hook in ["clsact", "auto", "clsact"] {
        agent.stop()?;
        send(&pair, port)?;
        agent.change_variable(HOOK, hook);
        agent.start()?;
        send(&pair, port)?;
        exactness::all_faces_equal(&agent, &capture.counts(SERVER_V4.into())?, &[port])?;
    }
    capture.finish(SERVER_V4.into())?;
    Ok(())
}

/// More ports, then other ones. What was counted stays, and a key keeps its port.
fn other_ports() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable(PORTS, "10001-10002");
    agent.start()?;
    let first = agent.rest().create_key("first")?.port;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    send(&pair, first)?;
    agent.stop()?;
    send(&pair, first)?;

    agent.change_variable(PORTS, "10002-10500,20001");
    agent.start()?;
    let keys = agent.rest().create_keys(2)?;
    let ports = [first, keys[0].port, keys[1].port, 10_500, 20_001];
    ensure!(ports == [10_001, 10_002, 10_003, 10_500, 20_001], "{ports:?}");
    ports.iter().try_for_each(|&port| send(&pair, port))?;
    exactness::all_faces_equal(&agent, &capture.counts(SERVER_V4.into())?, &ports[..3])?;
    let truth = count::only(&capture.counts(SERVER_V4.into())?, ports);
    exactness::equal("bpftool", &count::only(&bpftool::counts(&agent)?, ports), &truth)?;

    // Back again: ports that are no longer configured may count or not, those that are must.
    agent.stop()?;
    agent.change_variable(PORTS, "10001-10002");
    agent.start()?;
    send(&pair, first)?;
    exactness::all_faces_equal(&agent, &capture.finish(SERVER_V4.into())?, &ports[..2])
}

/// An interface that is no longer asked for is no longer counted.
fn other_interfaces(hook: &str) -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable(HOOK, hook);
    agent.start()?;
    let port = agent.rest().create_key("customer")?.port;
    send(&pair, port)?;
    let before = agent.rest().counts()?;
    for (interfaces, counts) in [("lo", false), ("lo,eth0", true), ("auto", true)] {
        agent.stop()?;
        agent.change_variable(INTERFACES, interfaces);
        agent.start()?;
        let started = agent.rest().counts()?;
        send(&pair, port)?;
        let grown = count::of(&agent.rest().counts()?, port).since(&count::of(&started, port));
        let expected = if counts {
            count::of(&before, port)
        } else {
            Count::default()
        };
        ensure!(
            grown == expected,
            "on {interfaces} {grown:?} was counted, expected {expected:?}"
        );
    }
    Ok(())
}

/// Another data folder on the same counters, and back: each ledger books what passed while it was in charge.
fn another_ledger() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("of the first ledger")?.port;
    send(&pair, port)?;
    agent.stop()?;
    let first = count::of(&bpftool::counts(&agent)?, port);

    agent.change_data_folder("other");
    agent.start()?;
    ensure!(agent.rest().keys()?.is_empty(), "another data folder knows no keys");
    send(&pair, port)?;
    let key = agent.rest().create_key("of the second ledger")?;
    ensure!(
        key.port == port && agent.rest().count_of(&key.id)?.is_zero(),
        "{key:?} starts at zero"
    );
    send(&pair, port)?;
    ensure!(
        agent.rest().count_of(&key.id)? == first,
        "the second ledger shows {:?}",
        agent.rest().count_of(&key.id)?
    );
    agent.stop()?;

    agent.change_data_folder("data");
    agent.start()?;
    let back = count::of(&agent.rest().counts()?, port);
    ensure!(
        back == first,
        "the first ledger booked {first:?}, and what passed in between was the other's: {back:?}"
    );
    send(&pair, port)?;
    let after = count::of(&agent.rest().counts()?, port);
    ensure!(after.since(&back) == first, "the first ledger goes on with {after:?}");
    Ok(())
}

/// The same datagrams every time, so that they can be told by their number.
fn send(pair: &Pair, port: u16) -> Result<()> {
    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), port),
        &[1, 500],
    )?;
    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V6.into(), port),
        &[1_000],
    )
}
