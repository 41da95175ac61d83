//! The ledger over REST: totals, days, months and billing cycles are what passed, to the byte.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Counts};
use portmeter_tests::ledger_view::{all_days, ledger_is, ledger_is_without, moved};
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::held::HeldConnections;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::wait;
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("the_ledger_is_what_passed", the_ledger_is_what_passed),
    (
        "a_key_that_moved_nothing_is_all_zeros",
        a_key_that_moved_nothing_is_all_zeros,
    ),
    ("connections_make_a_key_active", connections_make_a_key_active),
    (
        "a_reset_hides_one_key_and_nothing_else",
        a_reset_hides_one_key_and_nothing_else,
    ),
    ("days_keep_what_deleted_keys_moved", days_keep_what_deleted_keys_moved),
    ("a_clean_up_leaves_totals_and_today", a_clean_up_leaves_totals_and_today),
    ("cycles_know_of_no_reset", cycles_know_of_no_reset),
    ("what_is_wrong_is_told", what_is_wrong_is_told),
];

fn the_ledger_is_what_passed() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    transfer(&pair, &keys)?;
    ledger_is(agent.rest(), &keys, &capture.counts(SERVER_V4.into())?)?;
    agent.kill()?;
    transfer(&pair, &keys)?;
    agent.start()?;
    ledger_is(agent.rest(), &keys, &capture.counts(SERVER_V4.into())?)?;
    agent.stop()?;
    agent.start()?;
    ledger_is(agent.rest(), &keys, &capture.finish(SERVER_V4.into())?)
}

fn a_key_that_moved_nothing_is_all_zeros() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let created_at = agent.rest().shown(&format!("/api/keys/{}", key.id))?["created_at"].clone();
    let identity = json!({
        "key_uuid": key.uuid, "key_name": "customer", "port": key.port, "created_at": created_at,
        "last_activity": null, "is_active": false,
    });
    let sizes = json!({"total_formatted": "0 B", "rx_formatted": "0 B", "tx_formatted": "0 B"});
    let bytes = json!({"total_bytes": 0, "rx_bytes": 0, "tx_bytes": 0});
    let total = merged(&[&bytes, &json!({"total_connections": 0}), &sizes]);
    let month = merged(&[&bytes, &json!({"max_connections": 0, "sessions": 0}), &sizes]);
    let year_month = agent.rest().shown("/api/traffic/monthly")?["data"]["year_month"].clone();
    for (path, expected) in [
        (
            "history",
            merged(&[&identity, &json!({"total_traffic": total, "daily_stats": {}})]),
        ),
        (
            "monthly",
            merged(&[
                &identity,
                &json!({"year_month": year_month, "monthly_traffic": month, "daily_breakdown": {}}),
            ]),
        ),
    ] {
        for id in [&key.id, &key.uuid] {
            let shown = agent.rest().shown(&format!("/api/keys/{id}/traffic/{path}"))?;
            ensure!(shown["data"] == expected, "{path}: {shown:#} instead of {expected:#}");
        }
    }
    Ok(())
}

/// While a connection is open a key is active, and counted as one; the most that were open at once are kept.
fn connections_make_a_key_active() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(2)?;
    let shown = || Ok::<_, anyhow::Error>(agent.rest().shown("/api/traffic/history")?["data"].clone());
    let address = SocketAddr::new(SERVER_V4.into(), keys[0].port);
    let held = HeldConnections::open(&pair.server, &pair.client, address, 5)?;
    wait::until("five connections are in the ledger", || {
        let (row, data) = (&shown()?["keys"][0], shown()?);
        Ok(row["is_active"] == true && data["active_keys"] == 1 && row["total_traffic"]["total_connections"] == 5)
    })?;
    // What a sample has seen is kept, and there is one a second; these points are made of samples.
    wait::until("five connections are in a sample", || {
        let body = agent
            .rest()
            .shown("/api/live/series?metric=conns&period=60&granularity=1")?;
        let points = body["series"].as_array().context("series is no list")?;
        Ok(points.iter().any(|point| point["value"] == 5))
    })?;
    let month = agent.rest().shown("/api/traffic/monthly")?["data"].clone();
    ensure!(
        month["active_keys"] == 1 && month["total_connections"] == 5 && month["total_sessions"] == 1,
        "{month:#}"
    );
    drop(held);
    wait::until("nobody is active any more", || Ok(shown()?["active_keys"] == 0))?;
    let row = shown()?["keys"][0].clone();
    ensure!(
        row["is_active"] == false && row["last_activity"].is_string() && row["total_traffic"]["total_connections"] == 5,
        "{row:#}"
    );
    let other = shown()?["keys"][1].clone();
    ensure!(
        other["is_active"] == false && other["last_activity"].is_null(),
        "{other:#}"
    );
    Ok(())
}

fn a_reset_hides_one_key_and_nothing_else() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    transfer(&pair, &keys)?;
    let before = capture.counts(SERVER_V4.into())?;

    // A reset of the current figures takes nothing from the history, and the other way round.
    agent.rest().reset(&keys[1].id)?;
    ledger_is(agent.rest(), &keys, &before)?;
    let answer = agent
        .rest()
        .post(&format!("/api/keys/{}/traffic/history/reset", keys[0].uuid), None)?
        .expect_success()?;
    ensure!(
        answer["status"] == "success"
            && answer["message"] == "Traffic history reset successfully"
            && answer["key_id"] == keys[0].uuid,
        "{answer}"
    );
    let shown = agent
        .rest()
        .shown(&format!("/api/keys/{}/traffic/history", keys[0].id))?;
    ensure!(
        shown["data"]["last_activity"].is_null() && shown["data"]["daily_stats"] == json!({}),
        "the first answer after the reset: {shown:#}"
    );
    let current = agent.rest().counts()?;
    ensure!(
        count::of(&current, keys[0].port) == count::of(&before, keys[0].port),
        "the current figures: {current:?}"
    );
    let mut hidden = Counts::from([(keys[0].port, count::of(&before, keys[0].port))]);
    ledger_is_without(agent.rest(), &keys, &before, &hidden)?;

    transfer(&pair, &keys)?;
    let after = capture.finish(SERVER_V4.into())?;
    ledger_is_without(agent.rest(), &keys, &after, &hidden)?;
    agent.kill()?;
    agent.start()?;
    ledger_is_without(agent.rest(), &keys, &after, &hidden)?;
    agent
        .rest()
        .post(&format!("/api/keys/{}/traffic/history/reset", keys[0].id), None)?
        .expect_success()?;
    hidden.insert(keys[0].port, count::of(&after, keys[0].port));
    ledger_is_without(agent.rest(), &keys, &after, &hidden)
}

fn days_keep_what_deleted_keys_moved() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    transfer(&pair, &keys)?;
    let passed = capture.counts(SERVER_V4.into())?;
    agent.rest().delete_key(&keys[0].id)?;
    let left = &keys[1..];
    for path in ["history", "monthly"] {
        let data = agent.rest().shown(&format!("/api/traffic/{path}"))?["data"].clone();
        let expected = left.iter().map(|key| count::of(&passed, key.port).bytes()).sum::<u64>();
        ensure!(
            data["total_keys"] == 2 && data["total_traffic_bytes"] == expected,
            "{path}: {data:#}"
        );
        let answer = agent.rest().get(&format!("/api/keys/{}/traffic/{path}", keys[0].id))?;
        ensure!(
            answer.status == 404 && answer.body == json!({"detail": "Key not found"}),
            "{answer:?}"
        );
    }
    let days = all_days(agent.rest())?;
    let expected: u64 = keys.iter().map(|key| count::of(&passed, key.port).bytes()).sum();
    ensure!(days == expected, "the days have {days} bytes, {expected} passed");
    Ok(())
}

fn a_clean_up_leaves_totals_and_today() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(2)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    transfer(&pair, &keys)?;
    let passed = capture.finish(SERVER_V4.into())?;
    for (query, kept) in [("", 30), ("?days_to_keep=2", 2), ("?days_to_keep=1000000", 1_000_000)] {
        let answer = agent
            .rest()
            .post(&format!("/api/traffic/history/cleanup{query}"), None)?
            .expect_success()?;
        let message = format!("Cleaned up traffic history older than {kept} days");
        ensure!(
            answer["status"] == "success" && answer["message"] == message && answer["days_kept"] == kept,
            "{answer}"
        );
        ledger_is(agent.rest(), &keys, &passed)?;
    }
    Ok(())
}

/// A cycle begins with what the ledger still knows of its time, goes on over resets and restarts, and stays when the
/// rule goes.
fn cycles_know_of_no_reset() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(1)?;
    let key = &keys[0];
    let (cycle, cycles) = (
        format!("/api/keys/{}/cycle", key.uuid),
        format!("/api/keys/{}/cycles", key.id),
    );
    let none = agent.rest().shown(&cycles)?["data"].clone();
    let expected = json!({"key_uuid": key.uuid, "key_name": key.name, "cycle": null, "cycles": []});
    ensure!(none == expected, "without a rule: {none:#}");

    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    transfer(&pair, &keys)?;
    let set = agent
        .rest()
        .put(
            &cycle,
            json!({"rule": "every_days", "days": 300, "first_date": "2020-02-29", "time_zone": "Europe/Berlin"}),
        )?
        .expect_success()?;
    let rule = &set["data"]["cycle"];
    let expected = json!({
        "rule": "every_days", "day": null, "days": 300, "first_date": "2020-02-29", "time_zone": "Europe/Berlin",
    });
    ensure!(*rule == expected, "{set:#}");
    transfer(&pair, &keys)?;
    agent
        .rest()
        .post(&format!("/api/keys/{}/traffic/history/reset", key.id), None)?
        .expect_success()?;
    transfer(&pair, &keys)?;
    agent.kill()?;
    transfer(&pair, &keys)?;
    agent.start()?;
    let passed = count::of(&capture.counts(SERVER_V4.into())?, key.port);
    let shown = agent.rest().shown(&cycles)?["data"].clone();
    ensure!(shown["cycle"] == *rule, "{shown:#}");
    let running = &shown["cycles"][0];
    ensure!(
        running["is_running"] == true && moved(running)? == (passed.rx_bytes, passed.tx_bytes),
        "{passed:?} passed, {shown:#}"
    );
    ensure!(
        text(&running["start"])? < text(&running["last_activity"])?
            && text(&running["last_activity"])? < text(&running["end"])?,
        "{running:#}"
    );

    let ended = agent.rest().put(&cycle, Value::Null)?.expect_success()?;
    ensure!(ended["data"]["cycle"].is_null(), "{ended:#}");
    let after = agent.rest().shown(&cycles)?["data"].clone();
    ensure!(
        after["cycle"].is_null()
            && after["cycles"][0]["is_running"] == false
            && moved(&after["cycles"][0])? == (passed.rx_bytes, passed.tx_bytes),
        "{after:#}"
    );
    Ok(())
}

fn what_is_wrong_is_told() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let one = format!("/api/keys/{}", key.id);
    let rest = agent.rest();
    for (answer, begins_with) in [
        (rest.get("/api/traffic/daily/2026-02-29")?, "date: "),
        (rest.get("/api/traffic/daily/yesterday")?, "date: "),
        (rest.get("/api/traffic/monthly?year_month=2026-13")?, "year_month: "),
        (
            rest.get(&format!("{one}/traffic/monthly?year_month=26-01"))?,
            "year_month: ",
        ),
        (
            rest.post("/api/traffic/history/cleanup?days_to_keep=0", None)?,
            "days_to_keep: ",
        ),
        (
            rest.post("/api/traffic/history/cleanup?days_to_keep=-3", None)?,
            "days_to_keep: ",
        ),
        (
            rest.post("/api/traffic/history/cleanup?days_to_keep=x", None)?,
            "days_to_keep: ",
        ),
        (
            rest.post("/api/traffic/history/cleanup?days_to_keep=99999999999", None)?,
            "days_to_keep: ",
        ),
        (rest.get(&format!("{one}/cycles?limit=0"))?, "limit: "),
        (
            rest.put(&format!("{one}/cycle"), json!({"rule": "monthly", "day": 32}))?,
            "day: ",
        ),
        (rest.put(&format!("{one}/cycle"), json!({"rule": "yearly"}))?, "rule: "),
        (
            rest.put(
                &format!("{one}/cycle"),
                json!({"rule": "daily", "time_zone": "Mars/Base"}),
            )?,
            "time_zone",
        ),
    ] {
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        ensure!(
            answer.status == 400 && detail.starts_with(begins_with) && answer.body == json!({"detail": detail}),
            "{answer:?}"
        );
    }
    let nobody = json!({"detail": "Key not found"});
    for answer in [
        rest.get("/api/keys/nobody/traffic/history")?,
        rest.get("/api/keys/nobody/traffic/monthly?year_month=x")?,
        rest.post("/api/keys/nobody/traffic/history/reset", None)?,
        rest.get("/api/keys/nobody/cycles?limit=x")?,
        rest.put("/api/keys/nobody/cycle", json!({"rule": "yearly"}))?,
        rest.put("/api/keys/nobody/cycle", json!({"rule": "daily"}))?,
    ] {
        ensure!(answer.status == 404 && answer.body == nobody, "{answer:?}");
    }
    Ok(())
}

/// Something over the port of each key but the last one, unless it is the only one.
fn transfer(pair: &Pair, keys: &[Key]) -> Result<()> {
    let moving = keys.len().saturating_sub(1).max(1);
    let transfers: Vec<Transfer> = keys[..moving]
        .iter()
        .zip(1..)
        .map(|(key, number)| Transfer::new(SERVER_V4, key.port, 30_000 * number, 50_000 * number))
        .collect();
    tcp::bulk(&pair.server, &pair.client, &transfers)
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is no text"))
}

/// One object with the fields of all.
fn merged(objects: &[&Value]) -> Value {
    let fields = objects.iter().filter_map(|object| object.as_object());
    Value::Object(fields.flat_map(Clone::clone).collect())
}
