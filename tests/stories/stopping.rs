//! How an agent ends: counting stays in place, unless it is asked to take it along.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;
use portmeter_tests::{bpftool, exactness, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("counting_goes_on_after_sigterm", || counting_goes_on(Signal::SIGTERM)),
    ("counting_goes_on_after_sigint", || counting_goes_on(Signal::SIGINT)),
    ("detach_on_exit_takes_it_along", detach_on_exit_takes_it_along),
    ("uninstall_removes_programs_and_pins", || {
        uninstall_removes_programs_and_pins("auto")
    }),
    ("uninstall_removes_filters", || {
        uninstall_removes_programs_and_pins("clsact")
    }),
];

fn counting_goes_on(signal: Signal) -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    send(&pair, port)?;
    let status = agent.stop_with(signal)?;
    ensure!(status.success(), "after {signal} it ended with {status}");
    send(&pair, port)?;
    let truth = count::only(&capture.counts(SERVER_V4.into())?, [port]);
    exactness::equal(
        "bpftool without an agent",
        &count::only(&bpftool::counts(&agent)?, [port]),
        &truth,
    )?;
    agent.start()?;
    send(&pair, port)?;
    exactness::all_faces_equal(&agent, &capture.finish(SERVER_V4.into())?, &[port])
}

/// Programs and pins go with the agent; what the ledger has booked stays, and the next agent's counters add to it.
fn detach_on_exit_takes_it_along() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.argument("--detach-on-exit");
    agent.start()?;
    let port = agent.rest().create_key("customer")?.port;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    send(&pair, port)?;
    let counters = counters_id(&agent)?;
    agent.stop()?;
    is_gone(&agent, counters)?;
    let booked = count::of(&capture.counts(SERVER_V4.into())?, port);
    send(&pair, port)?;
    let missed = count::of(&capture.counts(SERVER_V4.into())?, port).since(&booked);
    ensure!(!missed.is_zero(), "nothing passed meanwhile");

    agent.start()?;
    let shown = count::of(&agent.rest().counts()?, port);
    ensure!(shown == booked, "the ledger shows {shown:?}, it had {booked:?} to book");
    send(&pair, port)?;
    let passed = count::of(&capture.finish(SERVER_V4.into())?, port);
    let shown = count::of(&agent.rest().counts()?, port);
    ensure!(
        passed.since(&missed) == shown,
        "{shown:?} is shown, {:?} passed while it counted",
        passed.since(&missed)
    );
    Ok(())
}

fn uninstall_removes_programs_and_pins(hook: &str) -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_CAPTURE__HOOK", hook);
    agent.start()?;
    let port = agent.rest().create_key("customer")?.port;
    send(&pair, port)?;
    let shown = agent.rest().counts()?;
    let counters = counters_id(&agent)?;
    agent.stop()?;
    ensure!(
        !bpftool::programs_using(counters)?.is_empty(),
        "an ordinary stop leaves the programs"
    );
    agent.uninstall()?;
    is_gone(&agent, counters)?;
    for filters in ["tc filter show dev eth0 ingress", "tc filter show dev eth0 egress"] {
        let left = pair.server.run(filters)?;
        ensure!(!left.contains("portmeter"), "a filter stays behind: {left}");
    }
    // The data stays.
    agent.start()?;
    exactness::equal("REST after an uninstall", &agent.rest().counts()?, &shown)
}

/// Bytes both ways over both families.
fn send(pair: &Pair, port: u16) -> Result<()> {
    tcp::bulk(
        &pair.server,
        &pair.client,
        &[Transfer::new(SERVER_V4, port, 40_000, 50_000)],
    )?;
    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V6.into(), port),
        &[1, 1_000],
    )
}

fn counters_id(agent: &Agent<'_>) -> Result<u64> {
    bpftool::map(&agent.pin_folder().join("maps/port_counters"))?["id"]
        .as_u64()
        .context("the map's id")
}

/// The kernel lets go of programs a moment after the last link to them is removed.
fn is_gone(agent: &Agent<'_>, counters: u64) -> Result<()> {
    let pins = agent.pin_folder();
    ensure!(!pins.exists(), "{} stays behind", pins.display());
    wait::until("the programs are unloaded", || {
        Ok(bpftool::programs_using(counters)?.is_empty())
    })
}
