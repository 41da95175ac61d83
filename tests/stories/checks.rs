//! The agent's self-checks: all is well with a healthy agent, and what breaks is named.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::network::Pair;
use portmeter_tests::xray::{Site, Supervised};
use portmeter_tests::{needs, snapshot, wait};
use serde_json::Value;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    (
        "a_healthy_agent_passes_and_nothing_is_changed",
        a_healthy_agent_passes_and_nothing_is_changed,
    ),
    (
        "two_who_ask_at_once_are_given_one_run",
        two_who_ask_at_once_are_given_one_run,
    ),
    ("what_is_broken_fails", what_is_broken_fails),
];

fn a_healthy_agent_passes_and_nothing_is_changed() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    agent.rest().create_keys(2)?;
    agent.wait_until_synchronized()?;
    let listed = agent.rest().shown("/api/tests/list")?;
    let names = |body: &Value| -> Vec<String> {
        let tests = body["tests"].as_array().into_iter().flatten();
        tests
            .filter_map(|test| Some(test["name"].as_str()?.to_owned()))
            .collect()
    };
    ensure!(names(&listed).len() > 10, "{listed:#}");
    ensure!(
        statuses(&listed)?.iter().all(|(_, status)| status == "not_run"),
        "{listed:#}"
    );
    let files = |agent: &Agent<'_>| -> Result<_> {
        Ok([
            snapshot::paths_of(&agent.data_folder())?,
            snapshot::paths_of(&agent.pin_folder())?,
            snapshot::paths_of(&agent.run_folder())?,
        ])
    };
    let before = files(&agent)?;
    let ran = agent.rest().shown("/api/tests/run?verbose=true")?;
    ensure!(ran["success"] == true && ran["summary"]["failed"] == 0, "{ran:#}");
    ensure!(ran["summary"]["total"] == names(&listed).len(), "{ran:#}");
    ensure!(names(&ran) == names(&listed), "{ran:#}");
    ensure!(files(&agent)? == before, "the checks have left or taken something");
    let text = ran.to_string();
    for secret in [
        agent.data_folder().display().to_string(),
        "/sys/".to_owned(),
        "/run/".to_owned(),
    ] {
        ensure!(!text.contains(&secret), "{secret} in {ran:#}");
    }
    let status = agent.rest().shown("/api/tests/status")?;
    ensure!(
        status["status"] == "ready" && status["last_run"].is_string(),
        "{status:#}"
    );
    // The ledger is still the agent's alone: its locks are in place, and it goes on being written.
    let key = agent.rest().create_key("later")?;
    agent.rest().delete_key(&key.id)?;
    ensure!(
        agent.data_folder().join("ledger.db-wal").exists(),
        "the write-ahead log is gone"
    );
    Ok(())
}

fn two_who_ask_at_once_are_given_one_run() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ran = thread::scope(|scope| {
        let ask = || {
            agent
                .grpc_over_tcp(Some(portmeter_tests::agent::API_KEY))?
                .checks_run(&[])
        };
        let asked: Vec<_> = (0..2).map(|_| scope.spawn(ask)).collect();
        asked
            .into_iter()
            .map(|one| one.join().expect("who asks"))
            .collect::<Result<Vec<_>>>()
    })?;
    let times = |checks: &[portmeter_proto::v1::Check]| -> Vec<_> {
        checks
            .iter()
            .map(|check| (check.name.clone(), check.last_run_at))
            .collect()
    };
    ensure!(
        !ran[0].is_empty() && times(&ran[0]) == times(&ran[1]),
        "two runs: {ran:#?}"
    );
    // One that begins later is another.
    let later = agent.grpc()?.checks_run(&["sampling"])?;
    let before = ran[0]
        .iter()
        .find(|check| check.name == "sampling")
        .context("sampling")?;
    ensure!(
        later.len() == 1 && later[0].last_run_at != before.last_run_at,
        "{later:?}"
    );
    Ok(())
}

fn what_is_broken_fails() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::new(&pair.server, &site)?;
    let xray = agent.home().join("core").join("xray");
    fs::create_dir(agent.home().join("core"))?;
    fs::copy(needs::xray()?, &xray)?;
    fs::set_permissions(&xray, fs::Permissions::from_mode(0o755))?;
    agent.change_variable("PORTMETER_XRAY__BINARY", xray.to_str().context("a path")?);
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    agent.wait_until_open(std::slice::from_ref(&key))?;
    agent.wait_until_synchronized()?;
    passes(&agent, "xray")?;
    passes(&agent, "listeners")?;

    fs::remove_file(&xray)?;
    agent.kill_core()?;
    wait::until("the core's absence is noticed", || {
        Ok(agent.rest().shown("/api/tests/run?path=xray")?["tests"][0]["status"] == "failed")
    })?;
    {
        // Where the core was, somebody else is.
        let _stranger = pair.server.enter(|| TcpListener::bind(("0.0.0.0", key.port)))?;
        let ran = agent.rest().shown("/api/tests/run")?;
        ensure!(ran["success"] == false && ran["return_code"] == 1, "{ran:#}");
        let failed: Vec<String> = statuses(&ran)?
            .into_iter()
            .filter(|(_, status)| status == "failed")
            .map(|(name, _)| name)
            .collect();
        ensure!(failed == ["xray", "listeners"], "{failed:?} of {ran:#}");
        let output = ran["tests"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|test| test["name"] == "xray");
        let output = output
            .and_then(|test| test["output"].as_str())
            .context("what is wrong")?;
        ensure!(output.contains("does not run") && !output.contains('/'), "{output}");
    }
    let status = agent.rest().shown("/api/system/status")?;
    ensure!(
        status["xray"]["state"] == "failed" && status["xray"]["active"] == false,
        "{status:#}"
    );
    // What is put right passes again.
    fs::copy(needs::xray()?, &xray)?;
    fs::set_permissions(&xray, fs::Permissions::from_mode(0o755))?;
    agent.wait_until_open(std::slice::from_ref(&key))?;
    passes(&agent, "xray")
}

fn passes(agent: &Agent<'_>, name: &str) -> Result<()> {
    let ran = agent.rest().shown(&format!("/api/tests/run?path={name}&verbose=1"))?;
    ensure!(ran["success"] == true && ran["summary"]["total"] == 1, "{ran:#}");
    Ok(())
}

/// The name and the status of each.
fn statuses(body: &Value) -> Result<Vec<(String, String)>> {
    let text = |test: &Value, name: &str| Some(test[name].as_str()?.to_owned());
    let tests = body["tests"].as_array().context("no tests")?.iter();
    tests
        .map(|test| text(test, "name").zip(text(test, "status")).context("a test"))
        .collect()
}
