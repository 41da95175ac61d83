//! The web panel's front ends: what each page asks for, in the order in which a person clicks.
//!
//! The older front end names a user by email and reads what lies nested; the newer one sends uuids and reads flat fields.

use anyhow::{Context, Result, ensure};
use portmeter_tests::wait;
use portmeter_tests::xray::Link;
use serde_json::{Value, json};

use super::world::{ALICE_BYTES, World, with_world};
use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("the_users_page", the_users_page),
    ("the_overview_and_live_pages", the_overview_and_live_pages),
    ("the_events_page", the_events_page),
    ("the_header_and_the_settings_page", the_header_and_the_settings_page),
    ("the_backups_page", the_backups_page),
    ("the_tests_page", the_tests_page),
];

fn the_users_page() -> Result<()> {
    with_world(|world| {
        let api = &world.caller;
        let pong = api.with_key(None).get("/api/ping")?;
        ensure!(pong["ok"] == true && pong["message"] == "pong", "{pong}");

        let made = api.post("/api/users/add", &json!({"email": "dave@example.com"}))?;
        let uuid = made["user"]["uuid"].as_str().context("no uuid")?.to_owned();
        ensure!(
            made["uuid"] == uuid && made["user"]["email"] == "dave@example.com",
            "{made}"
        );
        // One store seen twice.
        let key = api.get(&format!("/api/keys/{uuid}"))?;
        ensure!(key["name"] == "dave@example.com" && key["is_active"] == true, "{key}");
        let listed = user(world, "dave@example.com")?;
        ensure!(
            listed["uuid"] == uuid && listed["alias"] == "" && listed["enabled"] == true,
            "{listed}"
        );
        ensure!(
            user(world, "carol@example.com")?["enabled"] == false,
            "carol is disabled"
        );

        let by_email = api.get("/api/users/link?email=dave%40example.com")?;
        let by_uuid = api.get(&format!("/api/users/link?uuid={uuid}"))?;
        let config = api.get(&format!("/api/keys/{uuid}/config"))?;
        ensure!(
            by_email["link"] == config["vless_url"] && by_uuid == by_email,
            "{by_email} {by_uuid}"
        );
        Link::parse(by_email["link"].as_str().context("no link")?)?;

        let named = api.post(
            "/api/users/update-alias",
            &json!({"email": "dave@example.com", "alias": "Dave"}),
        )?;
        ensure!(
            named["alias"] == "Dave" && named["email"] == "dave@example.com",
            "{named}"
        );
        ensure!(user(world, "dave@example.com")?["alias"] == "Dave", "no alias");
        api.post("/api/users/update-alias", &json!({"uuid": uuid, "alias": ""}))?;
        ensure!(user(world, "dave@example.com")?["alias"] == "", "an alias stays");

        let kicked = api.post("/api/users/kick", &json!({"uuid": uuid}))?;
        let new_uuid = kicked["new_uuid"].as_str().context("no new_uuid")?.to_owned();
        ensure!(new_uuid != uuid, "{kicked}");
        let kept = api.get(&format!("/api/keys/{new_uuid}"))?;
        ensure!(
            kept["id"] == key["id"] && kept["port"] == key["port"],
            "{kept} was {key}"
        );

        ensure!(
            api.post("/api/users/delete", &json!({"uuid": new_uuid}))? == json!({"ok": true}),
            "delete"
        );
        ensure!(user(world, "dave@example.com").is_err(), "a deleted user is listed");
        // Its address is free again.
        api.post("/api/users/add", &json!({"email": "dave@example.com"}))?;
        api.post("/api/users/delete", &json!({"email": "dave@example.com"}))?;
        statistics(world)
    })
}

/// All-time figures, who is online, and nobody left out.
fn statistics(world: &World<'_>) -> Result<()> {
    let told = world.caller.get("/api/users/stats")?;
    let (nested, flat) = (&told["stats"], told["users"].as_array().context("no users")?);
    ensure!(
        flat.len() == 3 && nested.as_object().is_some_and(|all| all.len() == 3),
        "{told}"
    );
    let row = |email: &str| flat.iter().find(|row| row["email"] == email).context("not told");
    let (alice, carol) = (row("alice@example.com")?, row("carol@example.com")?);
    ensure!(alice["totalTrafficBytes"].as_u64() > Some(ALICE_BYTES), "{alice}");
    ensure!(
        alice["isOnline"] == true && alice["daysUsed"].as_u64() >= Some(1),
        "{alice}"
    );
    ensure!(
        alice["firstSeenAt"].is_string() && alice["lastSeenAt"].is_string(),
        "{alice}"
    );
    ensure!(
        alice["top3Domains"] == json!([]),
        "domains are recorded unasked: {alice}"
    );
    ensure!(
        carol["totalTrafficBytes"] == 0 && carol["daysUsed"] == 0 && carol["lastSeenAt"].is_null(),
        "{carol}"
    );
    ensure!(nested["alice@example.com"]["isOnline"] == true, "{nested}");
    ensure!(nested["alice@example.com"]["conns"].as_u64() >= Some(1), "{nested}");
    ensure!(nested["carol@example.com"]["traffic"] == 0, "{nested}");
    let filtered = world.caller.get(&format!("/api/users/stats?uuid={}", world.bob.uuid))?;
    let rows = filtered["users"].as_array().map(Vec::len);
    ensure!(
        rows == Some(1) && filtered["users"][0]["email"] == "bob@example.com",
        "{filtered}"
    );
    Ok(())
}

fn the_overview_and_live_pages() -> Result<()> {
    with_world(|world| {
        let api = &world.caller;
        for path in ["/api/usage/dashboard".to_owned(), {
            let dates = api.get("/api/usage/dates")?;
            let newest = dates["dates"][0].as_str().context("no date")?.to_owned();
            format!("/api/usage/dashboard/{newest}?mode=cumulative&window_days=7")
        }] {
            let page = api.get(&path)?;
            let n_days = page["meta"]["days"].as_array().context("no days")?.len();
            let alice = &page["users"]["alice@example.com"];
            ensure!(
                n_days == 7 && alice["sum7_traffic_bytes"].as_u64() > Some(ALICE_BYTES),
                "{page}"
            );
            ensure!(page["kpi"]["total_users"] == 3, "{page}");
            ensure!(
                page["collector"]["enabled"] == true && page["collector"]["lag_days"] == 0,
                "{page}"
            );
        }
        let now = api.get("/api/live/now")?;
        let online = now["now"]["onlineUsers"].as_array().context("no onlineUsers")?;
        ensure!(online.contains(&json!("alice@example.com")), "{now}");
        ensure!(
            now["now"]["conns"].as_u64() >= Some(1) && now["now"]["trafficBytes"].is_u64(),
            "{now}"
        );
        ensure!(now["total"]["users"] == now["online"], "{now}");

        let old = api.get("/api/live/series?metric=traffic&period=3600&granularity=60&scope=global")?;
        let new = api.get("/api/live/series?metric=traffic&period=3600&gran=60")?;
        for told in [&old, &new] {
            let points = told["series"].as_array().context("no series")?;
            let sum: u64 = points.iter().filter_map(|point| point["value"].as_u64()).sum();
            ensure!(points.len() == 60 && sum > ALICE_BYTES, "{told}");
            ensure!(points.iter().all(|point| point["ts"] == point["time"]), "{told}");
        }
        let top = api.get("/api/live/top?metric=traffic&limit=1")?;
        ensure!(top["top"][0]["user"] == "alice@example.com", "{top}");
        ensure!(top["top"].as_array().map(Vec::len) == Some(1), "{top}");
        Ok(())
    })
}

fn the_events_page() -> Result<()> {
    with_world(|world| {
        let api = &world.caller;
        api.post("/api/users/add", &json!({"email": "dave@example.com"}))?;
        api.post("/api/users/kick", &json!({"email": "dave@example.com"}))?;
        api.post(
            "/api/users/update-alias",
            &json!({"email": "dave@example.com", "alias": "Dave"}),
        )?;
        api.post("/api/users/delete", &json!({"email": "dave@example.com"}))?;
        api.post("/api/settings", &json!({"ui": {"theme": "light"}}))?;
        api.post("/api/collector/toggle", &json!({"enabled": false}))?;
        api.post("/api/collector/toggle", &json!({"enabled": true}))?;
        api.shown("POST", "/api/collector/run", "")?;
        api.shown("POST", "/api/xray/restart", "")?;

        let told = api.get("/api/events?limit=1000")?;
        let events = told["events"].as_array().context("no events")?;
        ensure!(told["total"] == events.len(), "{told}");
        for (kind, action, severity) in [
            ("USER", "add", "INFO"),
            ("USER", "kick", "WARN"),
            ("USER", "update_alias", "INFO"),
            ("USER", "delete", "WARN"),
            ("SETTINGS", "saved", "INFO"),
            ("COLLECTOR", "toggle", "INFO"),
            ("COLLECTOR", "run_manual", "INFO"),
            ("XRAY", "restart", "WARN"),
        ] {
            let is_it = |event: &&Value| event["type"] == kind && event["action"] == action;
            let event = events.iter().find(is_it);
            let event = event.with_context(|| format!("no {kind}/{action} in {told:#}"))?;
            ensure!(event["severity"] == severity, "{kind}/{action}: {event}");
        }
        let times: Vec<&str> = events.iter().filter_map(|event| event["ts"].as_str()).collect();
        ensure!(
            times.is_sorted_by(|newer, older| newer >= older),
            "not newest first: {times:?}"
        );
        ensure!(!told.to_string().contains("vless://"), "a link in an event: {told}");

        let warnings = api.get("/api/events?type=USER&severity=WARN&limit=1000")?;
        let warnings = warnings["events"].as_array().context("no events")?;
        let is_right = |event: &Value| event["type"] == "USER" && event["severity"] == "WARN";
        ensure!(!warnings.is_empty() && warnings.iter().all(is_right), "{warnings:?}");
        let two = api.get("/api/events?limit=2")?;
        ensure!(
            two["events"].as_array().map(Vec::len) == Some(2) && two["total"] == 2,
            "{two}"
        );

        let told = api.get("/api/events/stats")?;
        ensure!(
            told["byType"] == told["stats"]["by_type"] && told["byType"]["USER"].as_u64() >= Some(4),
            "{told}"
        );
        let severities = told["stats"]["by_severity"].as_object().context("no by_severity")?;
        let sum: u64 = severities.values().filter_map(Value::as_u64).sum();
        ensure!(told["total"] == sum && told["stats"]["total"] == sum, "{told}");
        ensure!(severities.values().all(|count| *count != 0), "{told}");
        let timeline = told["timeline"].as_array().context("no timeline")?;
        let sum_of_hours: u64 = timeline.iter().filter_map(|hour| hour["count"].as_u64()).sum();
        ensure!(sum_of_hours == sum, "{told}");
        Ok(())
    })
}

fn the_header_and_the_settings_page() -> Result<()> {
    with_world(|world| {
        let api = &world.caller;
        let status = api.get("/api/system/status")?;
        ensure!(
            status["ui"]["active"] == true && status["xray"]["active"] == true,
            "{status}"
        );
        ensure!(
            status["nextjs"]["active"] == false && status["xray"]["state"] == "active",
            "{status}"
        );
        let resources = api.get("/api/system/resources")?;
        let total = |what: &str| resources[what]["total"].as_u64();
        ensure!(total("memory") > Some(0) && total("disk") > Some(0), "{resources}");
        ensure!(resources["cpu"]["count"].as_u64() >= Some(1), "{resources}");
        let ports = api.get("/api/ports/status")?;
        let rows = ports["ports"].as_array().context("no ports")?;
        let alices = rows.iter().find(|row| row["port"] == world.alice.port);
        ensure!(
            alices.context("no row of alice's port")?["status"] == "running",
            "{ports}"
        );

        let kept = api.get("/api/settings")?;
        ensure!(
            kept["settings"]["ui"]["theme"] == "dark"
                && kept["settings"]["ui"]["lang"] == "ru"
                && kept["settings"]["ui"]["eco_poll_sec"] == 300,
            "{kept}"
        );
        ensure!(
            !kept.to_string().contains(portmeter_tests::agent::API_KEY),
            "the key is told"
        );
        let saved = api.post("/api/settings", &json!({"ui": {"theme": "light", "columns": [1, 2]}}))?;
        let shown = api.get("/api/settings")?;
        ensure!(
            saved["ok"] == true && saved["settings"] == shown["settings"],
            "{saved} {shown}"
        );
        ensure!(
            shown["settings"]["ui"]["theme"] == "light"
                && shown["settings"]["ui"]["lang"] == "ru"
                && shown["settings"]["ui"]["columns"] == json!([1, 2]),
            "{shown}"
        );

        let off = api.post("/api/collector/toggle", &json!({"enabled": false}))?;
        let status = api.get("/api/collector/status")?;
        ensure!(off["enabled"] == false, "{off}");
        ensure!(
            status["enabled"] == false && status["status"]["enabled"] == false,
            "{status}"
        );
        ensure!(
            status["cron"]["found"].is_boolean() && status["status"]["disabled_reason"].is_string(),
            "{status}"
        );
        let on = api.post("/api/collector/toggle", &json!({"enabled": true}))?;
        ensure!(on["enabled"] == true, "{on}");
        for body in ["", "{}", r#"{"include_today":true}"#] {
            let run = api.shown("POST", "/api/collector/run", body)?;
            ensure!(
                run["success"] == true && run["message"].is_string() && run["output"].is_string(),
                "{run}"
            );
        }
        let status = api.get("/api/collector/status")?;
        ensure!(status["enabled"] == true && status["lag_days"] == 0, "{status}");

        // The older front end sends a body, the newer one a query with an empty body.
        for (target, body) in [
            ("/api/system/restart", r#"{"target":"xray"}"#),
            ("/api/system/restart?target=xray", ""),
        ] {
            let before = world.agent.core_process_id()?;
            let said = api.shown("POST", target, body)?;
            ensure!(said["message"] == "restarted" && said["service"] == "xray", "{said}");
            wait::until("another core runs", || {
                Ok(world.agent.core_process_id().is_ok_and(|process| process != before))
            })?;
        }
        world.agent.wait_until_synchronized()
    })
}

fn the_backups_page() -> Result<()> {
    with_world(|world| {
        let api = &world.caller;
        let listed = api.get("/api/backups")?;
        let backups = listed["backups"].as_array().context("no backups")?;
        let newest = &backups.first().context("no backup")?;
        let name = newest["name"].as_str().context("no name")?;
        ensure!(
            newest["filename"] == name && newest["mtime"] == newest["created"],
            "{newest}"
        );
        let preview = api.get(&format!("/api/backups/{name}/preview"))?;
        ensure!(preview["preview"]["inbounds_count"].is_u64(), "{preview}");
        ensure!(!preview.to_string().contains("privateKey"), "{preview}");

        let path = format!("/api/backups/{name}/restore");
        let before = api.get("/api/backups")?;
        for dry in ["", "{}", r#"{"preview":true}"#, r#"{"confirm":false}"#] {
            let told = api.shown("POST", &path, dry)?;
            ensure!(
                told["preview"] == true && told["ok"] == true && told["warning"].is_string(),
                "{dry}: {told}"
            );
            ensure!(
                told["current"]["config_exists"] == true && told["backup"]["users_count"].is_u64(),
                "{told}"
            );
        }
        ensure!(api.get("/api/backups")? == before, "a dry run has left a backup");
        for (body, restarts) in [
            (r#"{"confirm":true,"restart_xray":false}"#, false),
            (r#"{"preview":false}"#, true),
        ] {
            let core = world.agent.core_process_id()?;
            let told = api.shown("POST", &path, body)?;
            ensure!(told["restored"] == true && told["restored_from"] == name, "{told}");
            ensure!((world.agent.core_process_id()? != core) == restarts, "{body}: {told}");
            world.agent.wait_until_synchronized()?;
        }
        ensure!(
            world.agent.rest().keys()?.len() == 3,
            "a restore changes who is a customer"
        );
        let deleted = api.shown("DELETE", &format!("/api/backups/{name}"), "")?;
        ensure!(deleted["message"] == "backup_deleted", "{deleted}");
        Ok(())
    })
}

fn the_tests_page() -> Result<()> {
    with_world(|world| {
        let api = &world.caller;
        let before = api.get("/api/tests/status")?;
        ensure!(before["status"] == "ready" && before["last_run"].is_null(), "{before}");
        let listed = api.get("/api/tests/list")?;
        let tests = listed["tests"].as_array().context("no tests")?;
        ensure!(
            !tests.is_empty() && tests.iter().all(|test| test["status"] == "not_run"),
            "{listed}"
        );
        ensure!(
            before["test_files_count"] == listed["test_files"].as_array().map_or(0, Vec::len),
            "{before}"
        );

        let run = api.get("/api/tests/run")?;
        let rows = run["tests"].as_array().context("no tests")?;
        ensure!(rows.len() == tests.len() && run["summary"] == run["results"], "{run}");
        let counted = |status: &str| rows.iter().filter(|row| row["status"] == status).count();
        ensure!(
            run["summary"]["passed"] == counted("passed")
                && run["summary"]["failed"] == counted("failed")
                && run["summary"]["errors"] == counted("error")
                && run["summary"]["total"] == rows.len(),
            "{run}"
        );
        let listed = api.get("/api/tests/list")?;
        let tests = listed["tests"].as_array().context("no tests")?;
        ensure!(tests.iter().all(|test| test["status"] != "not_run"), "{listed}");
        ensure!(api.get("/api/tests/status")?["last_run"].is_string(), "no last run");
        let first = tests[0]["name"].as_str().context("a test without a name")?;
        let one = api.get(&format!("/api/tests/run?path={first}&verbose=true"))?;
        ensure!(
            one["summary"]["total"] == 1 && one["tests"][0]["name"] == first,
            "{one}"
        );
        Ok(())
    })
}

fn user(world: &World<'_>, email: &str) -> Result<Value> {
    let listed = world.caller.get("/api/users")?;
    let users = listed["users"].as_array().context("no users")?;
    let user = users.iter().find(|user| user["email"] == email);
    user.cloned().with_context(|| format!("no {email} in {listed}"))
}
