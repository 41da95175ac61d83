//! Who asks beside the customers: panels over REST, a Prometheus, a follower over gRPC, an operator at the command line,
//! and strangers at ports that no key has.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portmeter_tests::command;
use portmeter_tests::count::{self, Counts};
use portmeter_tests::metrics::Scrape;

use crate::choices::Choices;
use crate::curtain::Curtain;
use crate::traffic;
use crate::world::{PORTS, World};

/// What panels and bots read; the last ones there is nothing of.
const PATHS: [&str; 22] = [
    "/",
    "/livez",
    "/api/ping",
    "/api/openapi.json",
    "/api/keys",
    "/api/traffic/simple",
    "/api/traffic/history",
    "/api/traffic/monthly",
    "/api/traffic/ports/exact",
    "/api/usage/dashboard?days=7",
    "/api/usage/dates",
    "/api/live/now",
    "/api/live/series?metric=traffic&period=3600&scope=global",
    "/api/live/top?metric=traffic&limit=10",
    "/api/events?limit=50",
    "/api/events/stats?hours=24",
    "/api/system/ports",
    "/api/system/traffic/summary",
    "/api/collector/status",
    "/api/settings",
    "/api/keys/nobody",
    "/api/nothing",
];

/// The pauses of each, which leave the machine's processors to the others.
const PANEL_PAUSE: Duration = Duration::from_millis(5);
const SCRAPE_PAUSE: Duration = Duration::from_millis(100);
const OPERATOR_PAUSE: Duration = Duration::from_secs(1);

/// What a Prometheus accepts, and what a person's curl does.
const ACCEPTED: [&str; 2] = ["application/openmetrics-text", "*/*"];

/// Ports at the upper end, which no key gets: keys get the lowest.
const KEYLESS: [u16; 2] = [*PORTS.end() - 1, *PORTS.end()];

/// Reads over REST until the act is over. No answer is an error of the server's.
pub(crate) fn panel(world: &World<'_>, curtain: &Curtain, number: usize) -> Result<()> {
    let mut choices = Choices::of(world.seed, &format!("panel {number}"));
    let rest = world.rest();
    while !curtain.has_fallen() {
        let path = *choices.one_of(&PATHS);
        world.agent.answered(path, || {
            let answer = rest.get(path)?;
            ensure!(answer.status == 200 || answer.status == 404, "{path}: {answer:?}");
            Ok(())
        })?;
        world.tally.add("REST requests of panels");
        curtain.wait(PANEL_PAUSE);
    }
    Ok(())
}

/// Scrapes until the act is over. What was counted once is never counted less, whichever agent answers.
pub(crate) fn prometheus(world: &World<'_>, curtain: &Curtain) -> Result<()> {
    let ports: Vec<u16> = PORTS.collect();
    let mut earlier = Counts::new();
    for accept in ACCEPTED.iter().cycle() {
        if curtain.has_fallen() {
            break;
        }
        let counts = world
            .agent
            .answered("a scrape", || Scrape::of(&world.pair.server, accept)?.counts(&ports))?;
        for &port in &ports {
            let (was, is) = (count::of(&earlier, port), count::of(&counts, port));
            ensure!(is.covers(&was), "port {port} went back from {was:?} to {is:?}");
        }
        earlier = counts;
        world.tally.add("scrapes");
        curtain.wait(SCRAPE_PAUSE);
    }
    Ok(())
}

/// Watches all keys, again and again, until the act is over.
pub(crate) fn follower(world: &World<'_>, curtain: &Curtain) -> Result<()> {
    while !curtain.has_fallen() {
        world.agent.answered("a watch", || world.grpc()?.watched(2))?;
        world.tally.add("watches over gRPC");
    }
    Ok(())
}

/// Runs the operator's commands one after the other until the act is over.
pub(crate) fn operator(world: &World<'_>, curtain: &Curtain, mut commands: Vec<Command>) -> Result<()> {
    while !curtain.has_fallen() {
        for line in &mut commands {
            world.agent.answered("an operator's command", || {
                world.pair.server.enter(|| command::output(line))
            })?;
            world.tally.add("commands of an operator");
            curtain.wait(OPERATOR_PAUSE);
        }
    }
    Ok(())
}

/// Traffic at ports that no key has, until the act is over: it stays with the ports.
pub(crate) fn stranger(world: &World<'_>, curtain: &Curtain) -> Result<()> {
    let mut choices = Choices::of(world.seed, "stranger");
    while !curtain.has_fallen() {
        let port = *choices.one_of(&KEYLESS);
        match choices.between(0..=2) {
            0 => traffic::datagrams(world, &mut choices, port),
            1 => traffic::transfer(world, &mut choices, port),
            _ => traffic::connections(world, &mut choices, port),
        }
        .with_context(|| format!("a stranger at port {port}"))?;
        world.passed_until_quiet(port)?;
    }
    Ok(())
}
