//! Resets and reused ports: figures start at zero, and the kernel's counters never notice.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use portmeter_proto::v1::ConnectionSource;
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::metrics::Scrape;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::held::HeldConnections;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::{bpftool, exactness};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    (
        "a_reset_shows_zero_in_the_next_answer",
        a_reset_shows_zero_in_the_next_answer,
    ),
    ("resets_under_traffic", resets_under_traffic),
    ("a_reused_port_starts_at_zero", a_reused_port_starts_at_zero),
    ("a_reused_port_under_traffic", a_reused_port_under_traffic),
    (
        "opened_connections_are_booked_like_bytes",
        opened_connections_are_booked_like_bytes,
    ),
];

/// How often something is tried while packets arrive, so that they fall into every moment of it.
const ROUNDS: usize = 10;

fn a_reset_shows_zero_in_the_next_answer() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(2)?;
    let (reset, other) = (&keys[0], &keys[1]);
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    tcp::bulk(&pair.server, &pair.client, &both_ports(reset.port, other.port))?;
    let first = capture.counts(SERVER_V4.into())?;
    exactness::all_faces_equal(&agent, &first, &[reset.port, other.port])?;

    agent.rest().reset(&reset.id)?;
    let shown = agent.rest().counts()?;
    ensure!(count::of(&shown, reset.port).is_zero(), "after the reset: {shown:?}");
    ensure!(
        count::of(&shown, other.port) == count::of(&first, other.port),
        "the other key: {shown:?}"
    );
    ensure!(
        count::of(&agent.grpc()?.counts()?, reset.port).is_zero(),
        "gRPC shows something else"
    );
    exactness::equal(
        "the kernel after a reset",
        &bpftool::counts(&agent)?,
        &both(&first, reset.port, other.port),
    )?;

    // What comes later is shown in full, also by the next agent.
    tcp::bulk(&pair.server, &pair.client, &both_ports(reset.port, other.port))?;
    let second = capture.finish(SERVER_V4.into())?;
    let mut expected = both(&second, reset.port, other.port);
    expected.insert(
        reset.port,
        count::of(&second, reset.port).since(&count::of(&first, reset.port)),
    );
    exactness::equal("REST", &agent.rest().counts()?, &expected)?;
    agent.stop()?;
    agent.start()?;
    exactness::equal("REST after a restart", &agent.rest().counts()?, &expected)?;
    exactness::equal(
        "the kernel at the end",
        &bpftool::counts(&agent)?,
        &both(&second, reset.port, other.port),
    )
}

/// The kernel's counter is read before and after each reset: the baseline lies between the two, and so does what is
/// shown later.
fn resets_under_traffic() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let flood = Background::flood(&pair.client, SocketAddr::new(SERVER_V4.into(), key.port))?;
    let mut bounds = (Count::default(), Count::default());
    for _ in 0..ROUNDS {
        flood.wait_for(20)?;
        bounds.0 = counted(&agent, key.port)?;
        agent.rest().reset(&key.id)?;
        bounds.1 = counted(&agent, key.port)?;
        let shown = agent.rest().count_of(&key.id)?;
        lies_between(&shown, &bounds, &counted(&agent, key.port)?)?;
    }
    flood.wait_for(20)?;
    flood.stop()?;
    let (shown, end) = (agent.rest().count_of(&key.id)?, counted(&agent, key.port)?);
    ensure!(
        end.since(&bounds.1).rx_packets <= shown.rx_packets,
        "less is shown than passed: {shown:?}"
    );
    lies_between(&shown, &bounds, &end)
}

fn a_reused_port_starts_at_zero() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let first = agent.rest().create_key("first")?;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let transfer = [Transfer::new(SERVER_V4, first.port, 50_000, 60_000)];
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.rest().delete_key(&first.id)?;
    // What passes while the port has no key is no key's.
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    let before = count::of(&capture.counts(SERVER_V4.into())?, first.port);
    let second = agent.rest().create_key("second")?;
    ensure!(second.port == first.port, "the freed port is the lowest free one");
    let shown = agent.rest().count_of(&second.id)?;
    ensure!(shown.is_zero(), "a new key starts with {shown:?}");

    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    let passed = count::of(&capture.finish(SERVER_V4.into())?, first.port);
    let shown = agent.rest().count_of(&second.id)?;
    ensure!(
        shown == passed.since(&before),
        "the new key shows {shown:?}, {:?} passed",
        passed.since(&before)
    );
    ensure!(
        counted(&agent, first.port)? == passed,
        "the kernel counts for the port, whoever has it"
    );
    Ok(())
}

/// Packets arrive all the time, and nobody listens; the new key's figures begin with its creation all the same.
fn a_reused_port_under_traffic() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let mut key = agent.rest().create_key("first")?;
    let flood = Background::flood(&pair.client, SocketAddr::new(SERVER_V4.into(), key.port))?;
    let mut bounds = (Count::default(), Count::default());
    for _ in 0..ROUNDS {
        flood.wait_for(20)?;
        agent.rest().delete_key(&key.id)?;
        flood.wait_for(20)?;
        bounds.0 = counted(&agent, key.port)?;
        let port = key.port;
        key = agent.rest().create_key("next")?;
        bounds.1 = counted(&agent, port)?;
        ensure!(key.port == port, "the freed port is the lowest free one");
        let shown = agent.rest().count_of(&key.id)?;
        lies_between(&shown, &bounds, &counted(&agent, key.port)?)?;
    }
    flood.wait_for(20)?;
    flood.stop()?;
    let (shown, end) = (agent.rest().count_of(&key.id)?, counted(&agent, key.port)?);
    ensure!(
        end.since(&bounds.1).rx_packets <= shown.rx_packets,
        "less is shown than passed: {shown:?}"
    );
    lies_between(&shown, &bounds, &end)
}

/// A reset, a kill, and a new key on the port: each connection is shown once and to one key, while the kernel's own
/// count, which is what is scraped, rises.
fn opened_connections_are_booked_like_bytes() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let first = agent.rest().create_key("first")?;
    let open = |count| {
        let address = SocketAddr::new(SERVER_V4.into(), first.port);
        HeldConnections::open(&pair.server, &pair.client, address, count).map(drop)
    };
    open(20)?;
    opened_is(&agent, &first, 20, 20)?;
    agent.rest().reset(&first.id)?;
    opened_is(&agent, &first, 0, 20)?;
    open(3)?;
    agent.kill()?;
    open(4)?;
    agent.start()?;
    opened_is(&agent, &first, 7, 27)?;
    agent.rest().delete_key(&first.id)?;
    open(5)?;
    let second = agent.rest().create_key("second")?;
    ensure!(second.port == first.port, "the freed port is the lowest free one");
    open(6)?;
    opened_is(&agent, &second, 6, 38)
}

/// Whether REST and gRPC show `shown` opened connections for the key and a scrape shows `counted` for its port. Where
/// the kernel cannot count connections there is no such figure, but there is still one and not several.
fn opened_is(agent: &Agent<'_>, key: &Key, shown: u64, counted: u64) -> Result<()> {
    let rest = agent.rest().connections_of(&key.id)?.opened;
    let grpc = agent.grpc()?.connections_of(&key.id)?.opened;
    let scraped = Scrape::of(agent.host(), "*/*")?.connections(key.port)?.opened;
    if agent.grpc()?.state()?.connection_source() == ConnectionSource::Kernel {
        let all = (rest, grpc, scraped);
        ensure!(
            all == (shown, shown, counted),
            "{all:?} instead of {shown} and {counted}"
        );
    }
    ensure!(
        rest == grpc && rest <= scraped,
        "REST {rest}, gRPC {grpc}, scraped {scraped}"
    );
    Ok(())
}

/// Whether a figure counts from somewhere between `bounds` and was read before the kernel stood at `now`.
fn lies_between(shown: &Count, bounds: &(Count, Count), now: &Count) -> Result<()> {
    let most = now.since(&bounds.0);
    ensure!(
        most.covers(shown),
        "{shown:?} is shown, at most {most:?} can have passed since"
    );
    ensure!(
        shown.rx_bytes == shown.rx_packets * 128,
        "every datagram is 128 bytes: {shown:?}"
    );
    Ok(())
}

/// The kernel's own count of a port.
fn counted(agent: &Agent<'_>, port: u16) -> Result<Count> {
    Ok(count::of(&bpftool::counts(agent)?, port))
}

fn both_ports(first: u16, second: u16) -> [Transfer; 2] {
    [
        Transfer::new(SERVER_V4, first, 30_000, 40_000),
        Transfer::new(SERVER_V4, second, 20_000, 50_000),
    ]
}

fn both(counts: &count::Counts, first: u16, second: u16) -> count::Counts {
    count::only(counts, [first, second])
}
