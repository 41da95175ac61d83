//! The panel's usage pages: their days add up to what passed.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::{Agent, REST_ADDRESS};
use portmeter_tests::capture::Capture;
use portmeter_tests::command;
use portmeter_tests::count::{self, Count, Counts};
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::rest::{Answer, Key, Rest};
use portmeter_tests::traffic::held::HeldConnections;
use portmeter_tests::traffic::tcp::{self, Transfer};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_dashboard_adds_up_to_what_passed", a_dashboard_adds_up_to_what_passed),
    ("an_empty_ledger_has_no_dates", an_empty_ledger_has_no_dates),
    ("keys_of_one_name_are_one_user", keys_of_one_name_are_one_user),
    ("today_is_the_ledgers_zones", today_is_the_ledgers_zones),
    ("what_is_wrong_is_told", what_is_wrong_is_told),
    ("an_open_panel_needs_no_key", an_open_panel_needs_no_key),
];

fn a_dashboard_adds_up_to_what_passed() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    tcp::bulk(
        &pair.server,
        &pair.client,
        &[
            Transfer::new(SERVER_V4, keys[0].port, 40_000, 90_000),
            Transfer::new(SERVER_V4, keys[1].port, 1_000, 2_000),
        ],
    )?;
    drop(HeldConnections::open(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), keys[0].port),
        4,
    )?);
    let passed = count::only(&capture.finish(SERVER_V4.into())?, [keys[0].port, keys[1].port]);
    let opened = |key: &Key| Ok::<_, anyhow::Error>(agent.rest().connections_of(&key.id)?.opened);
    let opened = [opened(&keys[0])?, opened(&keys[1])?, opened(&keys[2])?];

    let dates = agent.rest().shown("/api/usage/dates")?["dates"].clone();
    let newest = dates[0].as_str().context("no date")?.to_owned();
    for path in [
        "/api/usage/dashboard".to_owned(),
        "/api/usage/dashboard?days=365".to_owned(),
        format!("/api/usage/dashboard/{newest}"),
        format!("/api/usage/dashboard/{newest}?window_days=31&mode=daily"),
    ] {
        let body = agent.rest().shown(&path)?;
        is_whole(&body).with_context(|| path.clone())?;
        page_is(&body, &keys, &passed, opened).with_context(|| path)?;
    }

    let path = format!("/api/usage/dashboard/{newest}?mode=cumulative");
    let body = agent.rest().shown(&path)?;
    is_whole(&body)?;
    let last = |array: &Value| array.as_array().and_then(|values| values.last().cloned());
    let all: u64 = passed.values().map(Count::bytes).sum();
    ensure!(
        last(&body["global"]["daily_traffic_bytes"]) == Some(json!(all))
            && body["global"]["daily_traffic_bytes"] == body["global"]["cumulative_traffic_bytes"],
        "{body:#}"
    );

    // Long before and long after there is nothing.
    for date in ["2001-01-01", "2999-12-31"] {
        let body = agent.rest().shown(&format!("/api/usage/dashboard/{date}"))?;
        is_whole(&body)?;
        page_is(&body, &keys, &Counts::new(), [0; 3])?;
    }
    Ok(())
}

/// Every array has an entry a day, and the running sums are those of the daily figures.
fn is_whole(body: &Value) -> Result<()> {
    let n_days = body["meta"]["days"].as_array().context("meta.days")?.len();
    let (global, meta) = (&body["global"], &body["meta"]);
    let mut arrays = vec![
        &meta["prev_days"],
        &global["daily_traffic_bytes"],
        &global["daily_conns"],
        &global["prev_daily_traffic_bytes"],
        &global["prev_daily_conns"],
        &global["cumulative_traffic_bytes"],
        &global["cumulative_conns"],
    ];
    for user in body["users"].as_object().context("users is no map")?.values() {
        arrays.extend([&user["daily_traffic_bytes"], &user["daily_conns"]]);
        ensure!(user["top_domains_traffic"] == json!([]), "{user:#}");
    }
    for array in arrays {
        ensure!(
            array.as_array().is_some_and(|values| values.len() == n_days),
            "{array} has no entry for each of {n_days} days"
        );
    }
    ensure!(body["ok"] == true && meta["days"][n_days - 1] == meta["to"], "{body:#}");
    Ok(())
}

/// Whether a page of days, which everything falls into, shows what passed.
fn page_is(body: &Value, keys: &[Key], passed: &Counts, opened: [u64; 3]) -> Result<()> {
    let all: u64 = passed.values().map(Count::bytes).sum();
    let global = &body["global"];
    ensure!(
        sum(&global["daily_traffic_bytes"])? == all && sum(&global["daily_conns"])? == opened.iter().sum::<u64>(),
        "{all} bytes and {opened:?} connections, {global:#}"
    );
    for (key, opened) in keys.iter().zip(opened) {
        let (user, bytes) = (&body["users"][&key.name], count::of(passed, key.port).bytes());
        ensure!(
            user["uuid"] == key.uuid
                && user["email"] == key.name
                && sum(&user["daily_traffic_bytes"])? == bytes
                && user["sum7_traffic_bytes"] == bytes
                && sum(&user["daily_conns"])? == opened
                && user["sum7_conns"] == opened
                && user["anomaly"] == false,
            "{bytes} bytes and {opened} connections, {user:#}"
        );
    }
    let kpi = &body["kpi"];
    let active = keys.iter().filter(|key| passed.contains_key(&key.port)).count();
    ensure!(
        kpi["total_bytes"] == all && kpi["total_users"] == keys.len() && kpi["active_users"] == active,
        "{kpi:#}"
    );
    Ok(())
}

fn an_empty_ledger_has_no_dates() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let dates = agent.rest().shown("/api/usage/dates")?;
    ensure!(dates == json!({"ok": true, "dates": []}), "{dates}");
    let body = agent.rest().shown("/api/usage/dashboard?days=1")?;
    ensure!(
        body["users"] == json!({}) && body["global"]["daily_traffic_bytes"] == json!([0]),
        "{body:#}"
    );
    ensure!(
        body["collector"] == json!({"enabled": true, "lag_days": null}) && body["kpi"]["change_pct"].is_null(),
        "{body:#}"
    );
    Ok(())
}

/// The first created of them stands for the name.
fn keys_of_one_name_are_one_user() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let first = agent.rest().create_key("twin@example.com")?;
    agent.rest().create_key("twin@example.com")?;
    let other = agent.rest().create_key("other@example.com")?;
    let body = agent.rest().shown("/api/usage/dashboard")?;
    ensure!(
        body["users"]["twin@example.com"]["uuid"] == first.uuid
            && body["meta"]["users"] == json!(["twin@example.com", "other@example.com"])
            && body["kpi"]["total_users"] == 3,
        "{body:#}"
    );
    let one = agent.rest().shown("/api/usage/dashboard?user=other%40example.com")?;
    ensure!(
        one["users"].as_object().is_some_and(|users| users.len() == 1)
            && one["users"]["other@example.com"]["uuid"] == other.uuid,
        "{one:#}"
    );
    let nobody = agent.rest().shown("/api/usage/dashboard?user=nobody")?;
    ensure!(nobody["users"] == json!({}), "{nobody:#}");
    Ok(())
}

/// Half a day and more to either side of UTC: at any hour at least one of the two has another date than UTC has.
fn today_is_the_ledgers_zones() -> Result<()> {
    for (zone, of_date) in [("Pacific/Kiritimati", "<+14>-14"), ("Etc/GMT+12", "<-12>12")] {
        let pair = Pair::new()?;
        let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_LEDGER__TIME_ZONE", zone);
        agent.start()?;
        let key = agent.rest().create_key("customer")?;
        let date = || {
            let mut date = Command::new("date");
            command::output(date.arg("+%F").env("TZ", of_date)).map(|text| text.trim().to_owned())
        };
        let before = date()?;
        tcp::bulk(
            &pair.server,
            &pair.client,
            &[Transfer::new(SERVER_V4, key.port, 1_000, 1_000)],
        )?;
        let (page, dates) = (
            agent.rest().shown("/api/usage/dashboard")?,
            agent.rest().shown("/api/usage/dates")?,
        );
        let month = agent.rest().shown("/api/traffic/monthly")?["data"]["year_month"].clone();
        let after = date()?;
        let is_today = |text: &Value| [&before, &after].iter().any(|date| text.as_str() == Some(date));
        let is_month = [&before, &after].iter().any(|date| month.as_str() == date.get(..7));
        ensure!(
            is_today(&page["meta"]["to"]) && is_today(&dates["dates"][0]) && is_month,
            "in {zone} it is {before}: {} {dates} {month}",
            page["meta"]
        );
    }
    Ok(())
}

fn what_is_wrong_is_told() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let rest = agent.rest();
    for (path, begins_with) in [
        ("/api/usage/dashboard?days=0", "days: "),
        ("/api/usage/dashboard?days=366", "days: "),
        ("/api/usage/dashboard?days=week", "days: "),
        ("/api/usage/dashboard/2026-02-30", "invalid_date_format"),
        ("/api/usage/dashboard/today?mode=x", "invalid_date_format"),
        ("/api/usage/dashboard/2026-02-28?mode=x", "mode: "),
        ("/api/usage/dashboard/2026-02-28?window_days=32", "window_days: "),
        ("/api/live/series?metric=bytes", "metric: "),
        ("/api/live/series?period=x", "period: "),
        ("/api/live/series?granularity=0", "granularity: "),
        ("/api/live/series?period=86400&granularity=59", "granularity: "),
        ("/api/live/series?scope=nobody", "scope: "),
        ("/api/live/top?metric=online_users", "metric: "),
        ("/api/live/top?limit=51", "limit: "),
        ("/api/live/top?scope=nobody", "scope: "),
    ] {
        is_panel_error(&rest.get(path)?, 400, begins_with)?;
    }
    let stranger = Rest::new(&pair.server, REST_ADDRESS, "another-key-for-the-stories");
    for path in [
        "/api/usage/dashboard?days=x",
        "/api/usage/dashboard/x",
        "/api/live/now",
        "/api/live/top?limit=x",
    ] {
        is_panel_error(&stranger.get(path)?, 401, "unauthorized")?;
    }
    is_panel_error(&rest.get("/api/usage/nothing")?, 404, "Not found")?;
    is_panel_error(&rest.post("/api/live/now", None)?, 405, "Method Not Allowed")
}

fn an_open_panel_needs_no_key() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_HTTP__PANEL_AUTH", "open");
    agent.start()?;
    let stranger = Rest::new(&pair.server, REST_ADDRESS, "another-key-for-the-stories");
    for path in [
        "/api/usage/dashboard",
        "/api/usage/dates",
        "/api/live/now",
        "/api/live/series",
        "/api/live/top",
    ] {
        ensure!(stranger.shown(path)?["ok"] == true, "{path}");
    }
    let answer = stranger.get("/api/traffic/history")?;
    ensure!(answer.status == 401, "{answer:?}");
    Ok(())
}

fn is_panel_error(answer: &Answer, status: u16, begins_with: &str) -> Result<()> {
    let text = answer.body["error"].as_str().unwrap_or_default();
    ensure!(
        answer.status == status
            && text.starts_with(begins_with)
            && answer.body == json!({"ok": false, "error": text, "code": status}),
        "{answer:?} instead of {status}, {begins_with}"
    );
    Ok(())
}

fn sum(array: &Value) -> Result<u64> {
    let values = array.as_array().with_context(|| format!("{array} is no list"))?;
    values
        .iter()
        .map(|value| value.as_u64().with_context(|| format!("{value} is no number")))
        .sum()
}
