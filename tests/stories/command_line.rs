//! The commands that ask a running agent: what they show is what gRPC answers, here and from elsewhere.

mod elsewhere;
mod page;
mod progress;

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use portmeter_proto::v1::{Granularity, Key, Tally};
use portmeter_tests::agent::Agent;
use portmeter_tests::command;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;
use portmeter_tests::xray::{Site, Supervised};
use serde_json::{Value, json};

use crate::Story;
use crate::refusals::run_to_refusal;

pub(crate) const STORIES: &[Story] = &[
    ("keys_are_those_of_grpc", keys_are_those_of_grpc),
    ("a_key_is_named_in_any_way", a_key_is_named_in_any_way),
    ("histories_are_those_of_grpc", histories_are_those_of_grpc),
    ("the_status_is_that_of_grpc", the_status_is_that_of_grpc),
    ("the_status_tells_of_the_core", the_status_tells_of_the_core),
    ("an_agent_elsewhere", elsewhere::an_agent_elsewhere),
    ("strangers_are_refused", elsewhere::strangers_are_refused),
    ("bars_are_for_terminals", progress::bars_are_for_terminals),
    ("the_page_about_the_command_line", page::the_page_about_the_command_line),
];

/// What a command writes.
fn written(agent: &Agent<'_>, words: &[&str]) -> Result<String> {
    let mut command = agent.wrapped(words);
    command.args(["--instance", agent.instance()]);
    command::output(&mut command)
}

/// The same as JSON.
fn as_json(agent: &Agent<'_>, words: &[&str]) -> Result<Value> {
    let text = written(agent, &[words, &["--json"]].concat())?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

fn key_value(key: &Key) -> Value {
    let created_at = key.created_at.and_then(|at| {
        let at = chrono::DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)?;
        Some(at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
    });
    json!({
        "id": key.id, "name": key.name, "uuid": key.uuid, "created_at": created_at, "is_active": key.is_active,
        "port": key.port, "alias": key.alias,
    })
}

fn keys_are_those_of_grpc() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let grpc = agent.grpc()?;
    ensure!(as_json(&agent, &["key", "list"])? == json!([]), "there are keys");
    let made = as_json(&agent, &["key", "create", "alice"])?;
    ensure!(made == key_value(&grpc.keys()?[0]), "{made}");
    written(&agent, &["key", "add", "bob"])?;
    for (words, field, expected) in [
        (&["rename", "alice", "anna"] as &[&str], "name", json!("anna")),
        (&["alias", "anna", "Anna Zoë"], "alias", json!("Anna Zoë")),
        (&["disable", "anna"], "is_active", json!(false)),
        (&["show", "anna"], "is_active", json!(false)),
        (&["enable", "anna"], "is_active", json!(true)),
    ] {
        let answer = as_json(&agent, &[&["key"], words].concat())?;
        ensure!(
            answer == key_value(&grpc.keys()?[0]) && answer[field] == expected,
            "{words:?}: {answer}"
        );
    }
    let keys = grpc.keys()?;
    let listed = as_json(&agent, &["key", "list"])?;
    ensure!(listed == Value::from_iter(keys.iter().map(key_value)), "{listed}");
    let table = written(&agent, &["key", "list"])?;
    let lines: Vec<&str> = table.lines().collect();
    ensure!(lines.len() == 3 && lines[0].starts_with("ID "), "{table}");
    for (line, key) in lines[1..].iter().zip(&keys) {
        let port = key.port.context("a key without a port")?.to_string();
        for part in [key.id.as_str(), &port, "enabled", &key.name, &key.alias] {
            ensure!(line.contains(part), "no {part} in {line}");
        }
        ensure!(!table.contains(&key.uuid), "a uuid is shown:\n{table}");
    }
    let removed = as_json(&agent, &["key", "delete", "bob"])?;
    ensure!(removed == key_value(&keys[1]) && grpc.keys()?.len() == 1, "{removed}");
    Ok(())
}

fn a_key_is_named_in_any_way() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("alice")?;
    for _ in 0..2 {
        agent.rest().create_key("bob")?;
    }
    written(&agent, &["key", "alias", "alice", "Ann"])?;
    let port = key.port.to_string();
    for name in [
        key.id.as_str(),
        &key.uuid,
        &key.id.to_uppercase(),
        &port,
        "alice",
        "Ann",
    ] {
        let shown = as_json(&agent, &["key", "show", name])?;
        ensure!(shown["id"] == key.id.as_str(), "{name}: {shown}");
    }
    let instance = agent.instance();
    for (name, part) in [
        ("carol", "no key has this id, uuid, port, name or alias"),
        ("bob", "2 keys are meant by this"),
        ("00000000-0000-4000-8000-000000000000", "Key not found"),
    ] {
        let said = run_to_refusal(&mut agent.wrapped(&["key", "disable", name, "--instance", instance]))?;
        ensure!(said.contains(part), "{name}: {said}");
    }
    ensure!(
        agent.grpc()?.keys()?.iter().all(|key| key.is_active),
        "a refused command has changed something"
    );
    Ok(())
}

fn tally_value(tally: &Tally) -> Value {
    let last_activity = tally.last_activity.and_then(|at| {
        let at = chrono::DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)?;
        Some(at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
    });
    json!({
        "rx_bytes": tally.rx_bytes, "tx_bytes": tally.tx_bytes, "rx_packets": tally.rx_packets,
        "tx_packets": tally.tx_packets, "connections_opened": tally.connections_opened,
        "max_connections": tally.max_connections, "sessions": tally.sessions, "last_activity": last_activity,
    })
}

fn histories_are_those_of_grpc() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let (alice, bob) = (agent.rest().create_key("alice")?, agent.rest().create_key("bob")?);
    tcp::bulk(
        &pair.server,
        &pair.client,
        &[Transfer::new(SERVER_V4, alice.port, 40_000, 90_000)],
    )?;
    // Nine datagrams of a hundred bytes each way.
    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), bob.port),
        &[72; 9],
    )?;
    let grpc = agent.grpc()?;

    let histories = grpc.histories()?;
    let totals = as_json(&agent, &["history"])?;
    ensure!(totals["today"] == histories.today.as_str(), "{totals}");
    for (place, history) in histories.histories.iter().enumerate() {
        let (shown, key) = (&totals["histories"][place], history.key.clone().unwrap_or_default());
        ensure!(
            shown["key"]["id"] == key.id.as_str()
                && shown["total"] == tally_value(&history.total.unwrap_or_default())
                && shown["activity"]["active_days"] == 1,
            "{shown} is not {history:?}"
        );
        ensure!(!totals.to_string().contains(&key.uuid), "a uuid is shown: {totals}");
    }
    let table = written(&agent, &["history"])?;
    let line = table.lines().find(|line| line.ends_with("bob")).context("no bob")?;
    ensure!(
        line.contains("900 B") && line.contains("1.80 kB") && line.contains("10002"),
        "{table}"
    );

    for (words, key_id, granularity, name) in [
        (
            &["history", "alice", "--days", "3"] as &[&str],
            alice.id.as_str(),
            Granularity::Day,
            "day",
        ),
        (&["history", "alice"], &alice.id, Granularity::Day, "day"),
        (
            &["history", "10001", "--months", "2"],
            &alice.id,
            Granularity::Month,
            "month",
        ),
        (&["history", "--days", "1"], "", Granularity::Day, "day"),
        (&["history", "--months", "12"], "", Granularity::Month, "month"),
    ] {
        let (shown, periods) = (as_json(&agent, words)?, grpc.periods(key_id, granularity)?);
        let [period] = &periods[..] else {
            anyhow::bail!("{periods:?} instead of one period");
        };
        let tally = tally_value(&period.tally.unwrap_or_default());
        ensure!(
            shown["granularity"] == name
                && shown["periods"].as_array().is_some_and(|periods| periods.len() == 1)
                && shown["periods"][0]["start"] == period.start.as_str()
                && shown["periods"][0]["tally"] == tally
                && shown["sum"] == tally,
            "{words:?}: {shown} is not {period:?}"
        );
        let is_of_all = key_id.is_empty();
        ensure!(shown["history"].is_null() == is_of_all, "{words:?}: {shown}");
        ensure!(
            !is_of_all || shown["periods"][0]["active_keys"] == 2,
            "{words:?}: {shown}"
        );
    }
    let table = written(&agent, &["history", "bob"])?;
    ensure!(
        table.starts_with("bob, port 10002: 1.80 kB since") && table.contains(&histories.today),
        "{table}"
    );
    Ok(())
}

fn the_status_is_that_of_grpc() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    agent.rest().create_keys(3)?;
    written(&agent, &["key", "disable", "10002"])?;
    let grpc = agent.grpc()?;
    let (shown, state) = (as_json(&agent, &["status"])?, grpc.state()?);
    for (pointer, expected) in [
        ("/is_ready", json!(true)),
        ("/instance", json!(agent.instance())),
        ("/kernel/map_life", json!(state.map_life)),
        ("/connections/active", json!(0)),
        ("/connections/corrections", json!(state.connection_corrections)),
        ("/xray/mode", json!("none")),
        ("/keys/count", json!(3)),
        ("/keys/active_count", json!(2)),
        ("/ports/assignment_count", json!(3)),
        ("/ports/max_ports", json!(100)),
        ("/ports/port_range", json!("10001-10100")),
        ("/collector/is_enabled", json!(true)),
    ] {
        ensure!(
            shown.pointer(pointer) == Some(&expected),
            "{pointer} is not {expected} in {shown:#}"
        );
    }
    let interfaces = shown["kernel"]["interfaces"].as_array().context("interfaces")?;
    let names: Vec<&str> = interfaces
        .iter()
        .filter_map(|interface| interface["name"].as_str())
        .collect();
    let expected: Vec<&str> = state
        .interfaces
        .iter()
        .map(|interface| interface.name.as_str())
        .collect();
    ensure!(names == expected, "{names:?} instead of {expected:?}");
    let uptime = shown["uptime_seconds"].as_f64().context("uptime_seconds")?;
    let lag = shown["ledger"]["lag_seconds"].as_f64().context("lag_seconds")?;
    ensure!(
        (0.0..600.0).contains(&uptime) && lag <= uptime + 60.0,
        "up {uptime} s, {lag} s behind"
    );

    let page = written(&agent, &["status"])?;
    for part in ["agent        ready, version ", "eth0 (", "3 of 100 possible, 2 enabled"] {
        ensure!(page.contains(part), "no {part} in\n{page}");
    }
    agent.stop()?;
    let said = run_to_refusal(&mut agent.wrapped(&["status", "--instance", agent.instance()]))?;
    ensure!(said.contains("no agent answers"), "{said}");
    Ok(())
}

fn the_status_tells_of_the_core() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    agent.rest().create_key("alice")?;
    agent.wait_until_synchronized()?;
    let mut status = agent.wrapped(&["status", "--instance", agent.instance()]);
    let page = command::output(&mut status)?;
    let shown: Value = serde_json::from_str(&command::output(status.arg("--json"))?)?;
    ensure!(
        shown["xray"]["state"] == "running"
            && shown["xray"]["mode"] == "supervised"
            && shown["xray"]["drift_count"] == 0,
        "{shown:#}"
    );
    let process_id = shown["xray"]["process_id"].as_u64().context("process_id")?;
    let name = std::fs::read_to_string(format!("/proc/{process_id}/comm"))?;
    ensure!(name.contains("xray"), "process {process_id} is {name}");
    ensure!(
        page.contains(&format!("process {process_id}")) && page.contains("no drift"),
        "{page}"
    );
    Ok(())
}
