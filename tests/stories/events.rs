//! What happens is told: by REST and gRPC alike, once, in order, and without a secret.

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::command;
use portmeter_tests::events::{self, Row, Watch};
use portmeter_tests::network::Pair;
use portmeter_tests::rest::Rest;
use portmeter_tests::wait;
use portmeter_tests::xray::{Site, Supervised};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("every_change_is_told_once", every_change_is_told_once),
    ("runs_are_told_and_followed", runs_are_told_and_followed),
    ("the_life_of_the_core_is_told", the_life_of_the_core_is_told),
];

const CHANGES: &[Row<'_>] = &[
    ("SYSTEM", "start", "INFO"),
    ("USER", "add", "INFO"),
    ("USER", "add", "INFO"),
    ("USER", "update", "INFO"),
    ("USER", "update", "INFO"),
    ("USER", "kick", "WARN"),
    ("USER", "reset_traffic", "INFO"),
    ("USER", "reset_history", "WARN"),
    ("COLLECTOR", "clean_up", "INFO"),
    ("SYSTEM", "reset_ports", "WARN"),
    ("XRAY", "verify_reality", "INFO"),
    ("USER", "delete", "WARN"),
];

fn every_change_is_told_once() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let rest = agent.rest();
    let keys = [rest.create_key("alice")?, rest.create_key("bob")?];
    let path = format!("/api/keys/{}", keys[0].id);
    for body in [
        json!({"is_active": true, "name": "carol"}),
        json!({"is_active": false}),
        json!({"is_active": false}),
    ] {
        rest.patch(&path, body)?.expect_success()?;
    }
    let kicked = rest
        .post("/api/users/kick", Some(json!({"email": "bob"})))?
        .expect_success()?;
    rest.reset(&keys[1].id)?;
    for path in [
        format!("/api/keys/{}/traffic/history/reset", keys[1].id),
        "/api/traffic/history/cleanup".to_owned(),
        "/api/system/ports/reset".to_owned(),
        "/api/system/verify-reality".to_owned(),
    ] {
        rest.post(&path, Some(json!({})))?.expect_success()?;
    }
    rest.delete_key(&keys[1].id)?;
    ensure!(rest.delete(&path.replace(&keys[0].id, "nobody"))?.status == 404);

    let listed = events::listed(rest, "")?;
    events::expect(&events::told(&listed), CHANGES)?;
    let renamed = &listed[3];
    ensure!(renamed["email"] == "carol" && renamed["enabled"] == true, "{renamed}");
    ensure!(
        listed[4]["enabled"] == false && listed[5]["email"] == "bob",
        "{listed:?}"
    );
    let text = Value::from(listed.clone()).to_string();
    let new_uuid = kicked["new_uuid"].as_str().context("new_uuid")?;
    for secret in [&keys[0].uuid, &keys[1].uuid, new_uuid] {
        ensure!(!text.contains(secret), "{secret} in {text}");
    }
    filters_are_exact(rest, &listed)?;
    numbers_add_up(rest, listed.len() as u64)?;
    both_faces_agree(&agent, &listed)
}

fn filters_are_exact(rest: &Rest<'_>, all: &[Value]) -> Result<()> {
    for (query, fits) in [
        ("type=USER", (|event| event["type"] == "USER") as fn(&Value) -> bool),
        ("severity=WARN", |event| event["severity"] == "WARN"),
        ("service=agent", |event| event["service"] == "agent"),
        ("type=USER&severity=WARN&service=agent", |event| {
            event["type"] == "USER" && event["severity"] == "WARN"
        }),
        ("type=user", |_| false),
        ("service=nobody", |_| false),
    ] {
        let expected: Vec<&Value> = all.iter().filter(|event| fits(event)).collect();
        let found = events::listed(rest, query)?;
        ensure!(found.iter().collect::<Vec<_>>() == expected, "{query}: {found:?}");
    }
    Ok(())
}

fn numbers_add_up(rest: &Rest<'_>, total: u64) -> Result<()> {
    let body = rest.shown("/api/events/stats")?;
    let sum = |counts: &Value| -> u64 {
        let counts = counts.as_object().into_iter().flatten();
        counts.filter_map(|(_, count)| count.as_u64()).sum()
    };
    for counts in [
        &body["stats"]["by_type"],
        &body["stats"]["by_severity"],
        &body["stats"]["by_service"],
        &body["byType"],
    ] {
        ensure!(sum(counts) == total, "{counts} of {total}");
    }
    let hours = body["timeline"].as_array().context("timeline")?;
    let in_hours: u64 = hours.iter().filter_map(|hour| hour["count"].as_u64()).sum();
    ensure!(in_hours == total && body["total"] == total, "{body}");
    Ok(())
}

/// gRPC has the same events, as one stream and in small pages.
fn both_faces_agree(agent: &Agent<'_>, listed: &[Value]) -> Result<()> {
    let grpc = agent.grpc()?;
    let followed = Watch::start(&grpc, Some(0))?.take(listed.len())?;
    ensure!(events::in_pages(&grpc, 5)? == followed, "pages and stream differ");
    ensure!(followed.is_sorted_by(|one, next| one.id < next.id), "{followed:?}");
    for (event, row) in followed.iter().zip(listed) {
        ensure!(
            row["action"] == event.action.as_str() && row["message"] == event.message.as_str(),
            "{event:?} is {row}"
        );
    }
    let printed = printed(agent, followed.len())?;
    for (event, line) in followed.iter().zip(&printed) {
        ensure!(
            line["id"] == event.id && line["message"] == event.message.as_str(),
            "{event:?} is {line}"
        );
    }
    ensure!(printed.len() == followed.len(), "{printed:?}");
    let newest = self::printed(agent, 2)?;
    ensure!(printed.ends_with(&newest) && newest.len() == 2, "{newest:?}");
    Ok(())
}

/// The newest events as the command line prints them, the newest last.
fn printed(agent: &Agent<'_>, count: usize) -> Result<Vec<Value>> {
    let count = count.to_string();
    let words = ["events", "--json", "--count", &count, "--instance", agent.instance()];
    let lines = command::output(&mut agent.wrapped(&words))?;
    lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn runs_are_told_and_followed() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    agent.kill()?;
    agent.start()?;
    let grpc = agent.grpc()?;
    let mut watch = Watch::start(&grpc, None)?;
    for number in 0..20 {
        agent.rest().create_key(&format!("customer {number}"))?;
    }
    let seen = watch.take(20)?;
    let names: Vec<&str> = seen
        .iter()
        .filter_map(|event| event.details.get("email"))
        .map(String::as_str)
        .collect();
    let expected: Vec<String> = (0..20).map(|number| format!("customer {number}")).collect();
    ensure!(names == expected, "{names:?}");
    // A watch must not hold up the stop, and ends with it.
    agent.stop()?;
    while watch.next_event().is_ok_and(|event| event.is_some()) {}
    agent.start()?;

    let found = events::told(&events::listed(agent.rest(), "type=SYSTEM")?);
    let runs = [
        ("SYSTEM", "start", "INFO"),
        ("SYSTEM", "start", "WARN"),
        ("SYSTEM", "stop", "INFO"),
        ("SYSTEM", "start", "INFO"),
    ];
    events::expect(&found, &runs)?;
    // Who was cut off goes on where they stood.
    let grpc = agent.grpc()?;
    let last_seen = seen.last().map(|event| event.id);
    let missed = Watch::start(&grpc, last_seen)?.take(2)?;
    let actions: Vec<&str> = missed.iter().map(|event| event.action.as_str()).collect();
    ensure!(actions == ["stop", "start"], "{actions:?}");
    Ok(())
}

fn the_life_of_the_core_is_told() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let rest = agent.rest();
    let key = rest.create_key("alice")?;
    let link = agent.link(&key)?;
    agent.wait_until_synchronized()?;
    rest.post("/api/xray/restart", None)?.expect_success()?;
    rest.post("/api/system/sync-config", None)?.expect_success()?;
    agent.kill_core()?;
    let has = |action: &str| -> Result<bool> {
        let listed = events::listed(rest, "type=SERVICE_HEALTH")?;
        Ok(listed.iter().any(|event| event["action"] == action))
    };
    wait::until("the end of the core is told, and its new start", || {
        Ok(has("ended")? && has("restart")?)
    })?;
    agent.wait_until_synchronized()?;
    let backups = rest.shown("/api/backups")?;
    let backup = backups["backups"][0]["name"].as_str().context("no backup")?;
    rest.post(
        &format!("/api/backups/{backup}/restore"),
        Some(json!({"confirm": true})),
    )?
    .expect_success()?;
    rest.delete(&format!("/api/backups/{backup}"))?.expect_success()?;

    let listed = events::listed(rest, "service=xray")?;
    let expected = [
        ("XRAY", "start", "INFO"),
        ("XRAY", "restart", "WARN"),
        ("XRAY", "sync", "INFO"),
        ("SERVICE_HEALTH", "ended", "ERROR"),
        ("SERVICE_HEALTH", "restart", "WARN"),
        ("XRAY", "restore", "WARN"),
        ("XRAY", "delete_backup", "INFO"),
    ];
    events::expect(&events::told(&listed), &expected)?;
    let body = rest.shown("/api/events/stats")?;
    ensure!(
        body["errors"] == 1 && body["recentCritical"][0]["action"] == "ended",
        "{body}"
    );
    let text = Value::from(events::listed(rest, "")?).to_string();
    for secret in [&key.uuid, &link.short_id, &link.public_key] {
        ensure!(!text.contains(secret.as_str()), "{secret} in {text}");
    }
    Ok(())
}
