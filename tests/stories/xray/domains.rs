//! Which domains customers connect to: recorded where the operator wants it, and nowhere otherwise.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use portmeter_tests::network::Pair;
use portmeter_tests::wait;
use portmeter_tests::xray::{Client, Site, Supervised};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[(
    "domains_are_recorded_while_they_are_wanted",
    domains_are_recorded_while_they_are_wanted,
)];

const SWITCH: &str = "PORTMETER_XRAY__ACCESS_LOG";

/// Off by default; switched on they show on the dashboard, over a restart of the agent; switched off they are gone.
fn domains_are_recorded_while_they_are_wanted() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::new(&pair.server, &site)?;
    agent.change_variable("PORTMETER_XRAY__STOP_WITH_AGENT", "true");
    agent.change_variable("PORTMETER_LEDGER__COMMIT_INTERVAL_SECONDS", "1");
    agent.start()?;
    let key = agent.rest().create_key("customer@example.com")?;
    let link = agent.link(&key)?;
    let client = Client::start(&pair.client, &link)?;
    client.fetch(1_000)?;
    let log = agent.data_folder().join("xray/portmeter-access.log");
    ensure!(!log.exists(), "nobody wanted a record");
    ensure!(
        agent.read_core_configuration()?["log"]["access"] == "none",
        "the core keeps one"
    );
    ensure!(
        top(&agent, "top_domains_conns")? == json!([]),
        "nothing is recorded by default"
    );

    agent.stop()?;
    agent.change_variable(SWITCH, "true");
    agent.start()?;
    agent.wait_until_open(std::slice::from_ref(&key))?;
    let mode = fs::metadata(&log)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the record has mode {mode:o}");
    for count in 1..=3 {
        client.fetch(1_000_000)?;
        wait::until("a visit shows", || Ok(connections(&agent)? >= Some(count)))?;
    }
    let traffic = top(&agent, "top_domains_traffic")?;
    let bytes = traffic[0]["value"].as_u64();
    ensure!(
        bytes > Some(3_000_000),
        "the bytes of the day are that domain's: {traffic}"
    );
    // The connections' last packets may still be on their way: one answer reads the kernel for both.
    wait::until("the only customer's domains are all domains", || {
        let dashboard = agent.rest().shown("/api/usage/dashboard")?;
        let theirs = &dashboard["users"]["customer@example.com"]["top_domains_traffic"];
        Ok(*theirs == dashboard["global"]["top_domains_traffic"])
    })?;

    let before = connections(&agent)?;
    agent.stop()?;
    agent.start()?;
    ensure!(connections(&agent)? >= before, "a restart has lost visits");
    agent.wait_until_open(std::slice::from_ref(&key))?;
    client.fetch(1_000)?;
    wait::until("the next agent goes on", || Ok(connections(&agent)? > before))?;

    agent.stop()?;
    agent.change_variable(SWITCH, "false");
    agent.start()?;
    agent.wait_until_open(std::slice::from_ref(&key))?;
    client.fetch(1_000)?;
    ensure!(
        top(&agent, "top_domains_conns")? == json!([]),
        "what was recorded is still told"
    );
    ensure!(
        agent.read_core_configuration()?["log"]["access"] == "none",
        "the core still keeps one"
    );
    wait::until("what was logged is gone", || Ok(fs::metadata(&log)?.len() == 0))
}

fn top(agent: &Supervised<'_>, list: &str) -> Result<Value> {
    Ok(agent.rest().shown("/api/usage/dashboard")?["global"][list].clone())
}

/// Connections of the domain or address that was asked for most.
fn connections(agent: &Supervised<'_>) -> Result<Option<u64>> {
    Ok(top(agent, "top_domains_conns")?[0]["value"].as_u64())
}
