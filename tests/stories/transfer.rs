//! Moving in and out: the old server's keys and history into a stopped agent's ledger, and what was counted out of a
//! running one's.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::{command, count, exactness, wait};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    (
        "an_import_waits_for_the_agent_to_stop",
        an_import_waits_for_the_agent_to_stop,
    ),
    (
        "an_import_that_fails_leaves_no_trace",
        an_import_that_fails_leaves_no_trace,
    ),
    (
        "clients_of_a_configuration_become_keys",
        clients_of_a_configuration_become_keys,
    ),
    ("an_export_beside_the_agent", an_export_beside_the_agent),
];

fn fixture(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/tests/fixtures")).join(name);
    ensure!(path.is_file(), "{} is missing", path.display());
    Ok(path)
}

fn import(agent: &Agent<'_>) -> Result<std::process::Output> {
    let mut import = agent.portmeter(&["import", "--time-zone", "Europe/Berlin"]);
    for name in ["traffic_history.json", "keys.json", "ports.json"] {
        import.arg(fixture(name)?);
    }
    agent.host().enter(|| command::output_in_time(&mut import))
}

fn exported(agent: &Agent<'_>, words: &[&str]) -> Result<Vec<Value>> {
    let mut export = agent.portmeter(&["export", "--format", "jsonl"]);
    export.args(words);
    let rows = agent.host().enter(|| command::output(&mut export))?;
    rows.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn sum(rows: &[Value], field: &str) -> u64 {
    rows.iter().filter_map(|row| row[field].as_u64()).sum()
}

/// What passes before the import is nobody's, what passes after it the imported key's, byte for byte.
fn an_import_waits_for_the_agent_to_stop() -> Result<()> {
    const PORT: u16 = 10_001;
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    send(&pair, PORT)?;
    let refused = import(&agent)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        refused.status.code() == Some(1) && said.contains("another portmeter works on the data folder"),
        "{said}"
    );
    ensure!(agent.rest().keys()?.is_empty(), "a refused import has made keys");

    agent.stop()?;
    // The kernel counts on, and this is not the new key's either.
    send(&pair, PORT)?;
    let before = count::of(&capture.counts(SERVER_V4.into())?, PORT);
    let imported = import(&agent)?;
    let said = String::from_utf8_lossy(&imported.stdout).into_owned();
    ensure!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    ensure!(said.contains("port 10001, as before"), "{said}");
    send(&pair, PORT)?;
    agent.start()?;
    send(&pair, PORT)?;
    let listed: Value = serde_json::from_slice(&fs::read(fixture("keys.json")?)?)?;
    let listed = listed.as_array().context("a list of keys")?;
    let keys = agent.rest().keys()?;
    ensure!(
        keys.iter()
            .map(|key| key.id.as_str())
            .eq(listed.iter().filter_map(|key| key["id"].as_str())),
        "{keys:?}"
    );
    let after = count::of(&capture.finish(SERVER_V4.into())?, PORT);
    let shown = count::of(&agent.rest().counts()?, PORT);
    ensure!(
        shown == after.since(&before),
        "{shown:?} is shown, {after:?} passed, {before:?} before"
    );

    let days = exported(&agent, &["--from", "2025-08-20", "--to", "2025-09-30"])?;
    let history: Value = serde_json::from_slice(&fs::read(fixture("traffic_history.json")?)?)?;
    let days_of = &history["keys_history"][&keys[1].uuid]["daily_traffic"];
    let stated = days_of
        .as_object()
        .context("days")?
        .values()
        .filter_map(|day| day["rx_bytes"].as_u64());
    let own: Vec<Value> = days.into_iter().filter(|row| row["key_id"] == keys[1].id).collect();
    let stated: u64 = stated.sum();
    ensure!(
        stated > 0 && sum(&own, "rx_bytes") == stated,
        "{stated} bytes became {own:?}"
    );
    Ok(())
}

fn an_import_that_fails_leaves_no_trace() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::new(&pair.server)?.variable("PORTMETER_CAPTURE__PORTS", "10001-10002");
    let refused = import(&agent)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        refused.status.code() == Some(1) && said.contains("5 keys are new and 0 are there, but keys have 2 ports"),
        "{said}"
    );
    ensure!(
        !agent.data_folder().exists() && !agent.run_folder().exists(),
        "folders stay behind"
    );
    Ok(())
}

/// Three clients share an inbound of the file that Portmeter is going to write, and one of a core elsewhere is alone.
fn clients_of_a_configuration_become_keys() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?;
    let uuids = [1, 2, 3].map(|number| format!("0b5e8f3c-6f0e-4d6a-9a57-00000000000{number}"));
    let clients: Vec<Value> = uuids
        .iter()
        .map(|uuid| json!({ "id": uuid, "email": uuid[35..] }))
        .collect();
    let api = json!({ "tag": "api", "port": 10085, "protocol": "dokodemo-door" });
    let old = json!({
        "log": { "loglevel": "info" },
        "inbounds": [api, { "port": 443, "protocol": "vless", "settings": { "clients": clients } }],
    });
    let folder = agent.data_folder().join("xray");
    fs::create_dir_all(&folder)?;
    let file = folder.join("config.json");
    fs::write(&file, old.to_string())?;
    let import = |words: &[&str]| {
        let mut import = agent.portmeter(words);
        import.arg(&file);
        pair.server.enter(|| command::output(&mut import))
    };

    let planned = import(&["import", "--dry-run"])?;
    ensure!(
        planned.contains("port 10003, for 443 was shared: hand out its new link"),
        "{planned}"
    );
    ensure!(
        planned.contains("would let deleted keys in; its 3 client(s)"),
        "{planned}"
    );
    ensure!(
        fs::read(&file)? == old.to_string().as_bytes(),
        "a dry run has changed the file"
    );

    let imported = import(&["import"])?;
    ensure!(imported.contains("imported: new keys 3"), "{imported}");
    let left: Value = serde_json::from_slice(&fs::read(&file)?)?;
    ensure!(
        left == json!({ "log": { "loglevel": "info" }, "inbounds": [api] }),
        "the file has {left}"
    );
    let kept = fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| *path != file)
        .context("the file as it was")?;
    ensure!(imported.contains("config.json.before-import-"), "{imported}");
    ensure!(
        fs::read(&kept)? == old.to_string().as_bytes(),
        "it is kept otherwise than it was"
    );
    let again = import(&["import"])?;
    ensure!(again.contains("imported: new keys 0"), "{again}");

    agent.start()?;
    let found: Vec<_> = agent
        .rest()
        .keys()?
        .into_iter()
        .map(|key| (key.uuid, key.port))
        .collect();
    ensure!(
        found == uuids.into_iter().zip(10_001..).collect::<Vec<_>>(),
        "{found:?}"
    );
    Ok(())
}

fn an_export_beside_the_agent() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    send(&pair, port)?;
    let truth = count::only(&capture.finish(SERVER_V4.into())?, [port]);
    let passed = count::of(&truth, port);
    exactness::equal("REST", &agent.rest().counts()?, &truth)?;
    for granularity in ["minute", "hour", "day", "month"] {
        let words = [
            "--from",
            "2020-01-01",
            "--to",
            "9999-12-31",
            "--granularity",
            granularity,
        ];
        // An export holds what is committed, and a commit is due within seconds.
        wait::until("what passed is exported", || {
            let rows = exported(&agent, &words)?;
            let exported = ["rx_bytes", "rx_packets", "tx_bytes", "tx_packets"].map(|field| sum(&rows, field));
            Ok(exported == [passed.rx_bytes, passed.rx_packets, passed.tx_bytes, passed.tx_packets])
        })?;
    }
    Ok(())
}

fn send(pair: &Pair, port: u16) -> Result<()> {
    tcp::bulk(
        &pair.server,
        &pair.client,
        &[Transfer::new(SERVER_V4, port, 40_000, 50_000)],
    )
}
