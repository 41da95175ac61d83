//! Settings and the collector, as a panel changes them: kept over restarts, refused where root would obey, a pause that
//! loses no byte.

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::wait;
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("settings_survive_a_restart", settings_survive_a_restart),
    (
        "a_link_follows_its_settings_at_once",
        a_link_follows_its_settings_at_once,
    ),
    ("what_root_would_obey_cannot_be_set", what_root_would_obey_cannot_be_set),
    ("a_paused_collector_loses_no_byte", a_paused_collector_loses_no_byte),
];

fn settings_survive_a_restart() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let first = settings(&agent)?;
    ensure!(
        first["ui"]
            == json!({"theme": "dark", "lang": "ru", "realtime_mode": "eco", "eco_poll_sec": 300, "live_push_sec": 5}),
        "{first:#}"
    );
    ensure!(
        first["xray"]["service_name"] == "xray"
            && first["xray"]["config_path"] == "config.json"
            && first["xray"]["server_port"] == 443
            && first["xray"]["fp"] == "chrome"
            && first["xray"]["flow"] == "xtls-rprx-vision"
            && first["xray"]["sni"] == "www.microsoft.com"
            && first["xray"]["reality_pbk"].as_str().is_some_and(|key| key.len() == 43)
            && first["collector"]["enabled"] == true
            && first["paths"]["data_dir"] == "data",
        "{first:#}"
    );

    let body = json!({
        "ui": {"theme": "light", "eco_poll_sec": 9, "columns": ["a", "b"]},
        "xray": {"server_host": "vpn.example.com", "fp": "firefox"},
        "notes": {"deep": {"er": null}},
    });
    let saved = save(&agent, body)?;
    ensure!(
        saved["ok"] == true && saved["restart_required"] == json!([]),
        "{saved:#}"
    );
    let after = settings(&agent)?;
    ensure!(saved["settings"] == after && after["version"] == 2, "{after:#}");
    agent.kill()?;
    agent.start()?;
    ensure!(settings(&agent)? == after, "after a kill: {:#}", settings(&agent)?);
    ensure!(
        after["ui"]["theme"] == "light"
            && after["ui"]["lang"] == "ru"
            && after["ui"]["columns"] == json!(["a", "b"])
            && after["notes"]["deep"]["er"] == Value::Null,
        "{after:#}"
    );
    // The whole answer sent back asks for nothing.
    let again = save(&agent, after.clone())?;
    ensure!(again["settings"] == after, "{again:#}");
    Ok(())
}

fn a_link_follows_its_settings_at_once() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_XRAY__SERVER_HOST", "configured.example.com");
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    let before = link(&agent, &key)?;
    ensure!(
        before.contains("@configured.example.com:") && before.contains("&fp=chrome&"),
        "{before}"
    );
    // What cannot be put in force is taken back, the parts that could be with it.
    let path = agent.data_folder().join("xray/config.json");
    wait::until("the core's file is written", || Ok(path.exists()))?;
    let file = std::fs::read(&path)?;
    std::fs::write(&path, "no JSON")?;
    let refused = agent
        .rest()
        .post("/api/settings", Some(json!({"xray": {"fp": "edge", "flow": ""}})))?;
    ensure!(refused.status == 400, "{refused:?}");
    ensure!(settings(&agent)?["xray"]["fp"] == "chrome" && link(&agent, &key)? == before);
    std::fs::write(&path, file)?;

    let saved = save(
        &agent,
        json!({"xray": {"server_host": "vpn.example.com", "fp": "safari", "sni": "www.example.com", "flow": ""}}),
    )?;
    // Nobody runs a core here: whoever does has to start it with the file.
    ensure!(
        saved["restart_required"] == json!(["xray.flow", "xray.sni"]),
        "{saved:#}"
    );
    let expected = before
        .replace("configured.example.com", "vpn.example.com")
        .replace("fp=chrome", "fp=safari")
        .replace("sni=www.microsoft.com", "sni=www.example.com")
        .replace("&flow=xtls-rprx-vision", "");
    ensure!(
        link(&agent, &key)? == expected,
        "{} is not {expected}",
        link(&agent, &key)?
    );
    let panel = agent.rest().shown("/api/users/link?email=customer")?;
    ensure!(panel["link"] == expected.as_str(), "{panel}");
    wait::until("the core's file follows", || {
        let text = std::fs::read(agent.data_folder().join("xray/config.json"))?;
        let file: Value = serde_json::from_slice(&text)?;
        let inbounds = file["inbounds"].as_array().context("no inbounds")?;
        let own = inbounds.iter().find(|inbound| inbound["port"] == key.port);
        let own = own.context("no inbound")?;
        let names = &own["streamSettings"]["realitySettings"]["serverNames"];
        Ok(own["settings"]["clients"][0]["flow"] == "" && *names == json!(["www.example.com", "www.microsoft.com"]))
    })?;

    // Set back to what is configured, the configuration counts again.
    save(&agent, json!({"xray": {"server_host": "configured.example.com"}}))?;
    agent.stop()?;
    agent = agent.variable("PORTMETER_XRAY__SERVER_HOST", "moved.example.com");
    agent.start()?;
    let link = link(&agent, &key)?;
    ensure!(
        link.contains("@moved.example.com:") && link.contains("&fp=safari&"),
        "{link}"
    );
    Ok(())
}

fn what_root_would_obey_cannot_be_set() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    // Nearly as much of what only its client knows as is kept.
    save(&agent, json!({"kept": "x".repeat(65_500)}))?;
    let before = settings(&agent)?;
    for (path, body) in [
        ("xray.service_name", json!({"xray": {"service_name": "ssh"}})),
        ("xray.config_path", json!({"xray": {"config_path": "/etc/passwd"}})),
        ("xray.reality_pbk", json!({"xray": {"reality_pbk": "x"}})),
        ("collector.usage_dir", json!({"collector": {"usage_dir": "/etc"}})),
        (
            "paths.data_dir",
            json!({"ui": {"theme": "light"}, "paths": {"data_dir": "/etc"}}),
        ),
        ("paths.access_log", json!({"paths": {"access_log": "/etc/shadow"}})),
        ("ui.theme", json!({"ui": {"theme": "blue"}})),
        ("ui.theme", json!({"ui": {"theme": {"dark": true}}})),
        ("ui", json!({"ui": "dark"})),
        ("xray.server_host", json!({"xray": {"server_host": "a b"}})),
        ("extra", json!({"more": "x".repeat(100)})),
    ] {
        let answer = agent.rest().post("/api/settings", Some(body))?;
        let error = answer.body["error"].as_str().unwrap_or_default();
        ensure!(
            answer.status == 400 && error.starts_with(&format!("{path}: ")) && !error.contains("/etc"),
            "{path}: {answer:?}"
        );
    }
    ensure!(settings(&agent)? == before, "a refused change has changed something");
    Ok(())
}

fn a_paused_collector_loses_no_byte() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_LEDGER__COMMIT_INTERVAL_SECONDS", "1");
    agent.start()?;
    let keys = agent.rest().create_keys(2)?;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let mut passed = || -> Result<u64> {
        let transfers = [Transfer::new(SERVER_V4, keys[0].port, 70_000, 90_000)];
        tcp::bulk(&pair.server, &pair.client, &transfers)?;
        Ok(count::of(&capture.counts(SERVER_V4.into())?, keys[0].port).bytes())
    };
    let before = passed()?;
    wait::until("what passed is in the history", || {
        Ok(history(&agent, &keys[0])? == before && status(&agent)?["lag_days"] == 0)
    })?;

    let toggled = toggle(&agent, false)?;
    ensure!(
        toggled["enabled"] == false && toggled["cron_modified"] == false,
        "{toggled}"
    );
    let paused = status(&agent)?;
    ensure!(
        paused["enabled"] == false
            && paused["status"]["disabled_reason"].is_string()
            && paused["cron"]["found"] == false,
        "{paused}"
    );
    let page = agent.rest().shown("/api/usage/dashboard")?;
    ensure!(page["collector"]["enabled"] == false, "{}", page["collector"]);
    let meanwhile = passed()?;
    // Live figures are the kernel's; the history stands still, for whoever asks.
    ensure!(meanwhile > before && live(&agent, &keys[0])? == meanwhile);
    ensure!(history(&agent, &keys[0])? == before, "the history has gone on");

    // A kill books nothing, and the pause goes on.
    agent.kill()?;
    agent.start()?;
    ensure!(status(&agent)?["enabled"] == false && settings(&agent)?["collector"]["enabled"] == false);
    ensure!(history(&agent, &keys[0])? == before, "a start has booked");
    ensure!(live(&agent, &keys[0])? == meanwhile);

    // A reset during the pause is exact.
    agent.rest().reset(&keys[0].id)?;
    ensure!(live(&agent, &keys[0])? == 0 && history(&agent, &keys[0])? == meanwhile);

    // Run by hand it books, and is paused all the same.
    let by_hand = passed()?;
    let ran = agent.rest().post("/api/collector/run", None)?.expect_success()?;
    ensure!(
        ran["success"] == true
            && ran["return_code"] == 0
            && ran["output"] == format!("{} bytes were booked", by_hand - meanwhile),
        "{ran}"
    );
    ensure!(history(&agent, &keys[0])? == by_hand && status(&agent)?["enabled"] == false);

    let at_last = passed()?;
    ensure!(history(&agent, &keys[0])? == by_hand);
    toggle(&agent, true)?;
    ensure!(history(&agent, &keys[0])? == at_last, "a resume books what passed");
    let end = passed()?;
    wait::until("the collector goes on", || Ok(history(&agent, &keys[0])? == end))?;
    ensure!(live(&agent, &keys[0])? == end - meanwhile, "booked twice, or lost");
    ensure!(status(&agent)?["status"]["disabled_reason"] == Value::Null);

    let bad = agent
        .rest()
        .post("/api/collector/toggle", Some(json!({"enabled": "no"})))?;
    ensure!(bad.status == 400, "{bad:?}");
    Ok(())
}

fn settings(agent: &Agent<'_>) -> Result<Value> {
    Ok(agent.rest().shown("/api/settings")?["settings"].clone())
}

fn save(agent: &Agent<'_>, body: Value) -> Result<Value> {
    agent.rest().post("/api/settings", Some(body))?.expect_success()
}

fn toggle(agent: &Agent<'_>, enabled: bool) -> Result<Value> {
    let body = json!({ "enabled": enabled });
    agent.rest().post("/api/collector/toggle", Some(body))?.expect_success()
}

fn status(agent: &Agent<'_>) -> Result<Value> {
    agent.rest().shown("/api/collector/status")
}

fn link(agent: &Agent<'_>, key: &Key) -> Result<String> {
    let shown = agent.rest().shown(&format!("/api/keys/{}/config", key.id))?;
    Ok(shown["vless_url"].as_str().context("no vless_url")?.to_owned())
}

/// A key's total as the history has it.
fn history(agent: &Agent<'_>, key: &Key) -> Result<u64> {
    let shown = agent.rest().shown(&format!("/api/keys/{}/traffic/history", key.id))?;
    let total = shown["data"]["total_traffic"]["total_bytes"].as_u64();
    let days = shown["data"]["daily_stats"].as_object().context("no days")?;
    let of_days: u64 = days.values().filter_map(|day| day["total_bytes"].as_u64()).sum();
    let total = total.context("no total")?;
    ensure!(total == of_days, "days add up to {of_days}, not to {total}");
    Ok(total)
}

/// A key's current figure, read from the kernel.
fn live(agent: &Agent<'_>, key: &Key) -> Result<u64> {
    Ok(agent.rest().count_of(&key.id)?.bytes())
}
