//! The panel's live views: who is active now, how it went, and who is ahead.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::traffic::held::HeldConnections;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::wait;
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("now_lists_who_is_active", now_lists_who_is_active),
    ("a_series_holds_every_byte", a_series_holds_every_byte),
    ("a_series_shows_the_most_at_once", a_series_shows_the_most_at_once),
    ("a_top_list_is_by_value", a_top_list_is_by_value),
];

fn now_lists_who_is_active() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    let shown = || agent.rest().shown("/api/live/now");
    let before = shown()?;
    let zeros = json!({"users": 0, "conns": 0, "traffic": 0});
    ensure!(
        before["users"] == json!([]) && before["total"] == zeros && before["now"]["onlineUsers"] == json!([]),
        "{before:#}"
    );

    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let address = SocketAddr::new(SERVER_V4.into(), keys[1].port);
    let held = HeldConnections::open(&pair.server, &pair.client, address, 3)?;
    let body = shown()?;
    let passed = count::of(&capture.counts(SERVER_V4.into())?, keys[1].port).bytes();
    let user = &body["users"][0];
    ensure!(
        body["users"].as_array().is_some_and(|users| users.len() == 1)
            && user["email"] == keys[1].name
            && user["uuid"] == keys[1].uuid
            && user["conns"] == 3
            && user["last_seen"]
                .as_u64()
                .is_some_and(|seconds| seconds.abs_diff(now()) < 60),
        "{body:#}"
    );
    ensure!(user["traffic"] == passed, "{passed} bytes have passed, {user:#}");
    ensure!(
        body["total"] == json!({"users": 1, "conns": 3, "traffic": passed}) && body["online"] == 1,
        "{body:#}"
    );
    let flat = json!({
        "onlineUsers": [keys[1].name], "onlineUsersCount": 1, "conns": 3, "trafficBytes": passed,
        "trafficAvailable": true,
    });
    ensure!(
        body["now"] == flat && body["meta"] == json!({"source": "stats", "rollingWindowSec": 300}),
        "{body:#}"
    );

    // Within five minutes of the last connection a user is still active.
    drop(held);
    wait::until("the connections are closed", || Ok(shown()?["total"]["conns"] == 0))?;
    let after = shown()?;
    ensure!(
        after["users"][0]["email"] == keys[1].name && after["total"]["users"] == 1,
        "{after:#}"
    );
    agent.rest().delete_key(&keys[1].id)?;
    ensure!(shown()?["users"] == json!([]), "a deleted key is still there");
    Ok(())
}

/// Minutes and what is finer, of all users and of one.
fn a_series_holds_every_byte() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(2)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let transfers = [
        Transfer::new(SERVER_V4, keys[0].port, 40_000, 90_000),
        Transfer::new(SERVER_V4, keys[1].port, 1_000, 2_000),
    ];
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    let passed = count::only(&capture.finish(SERVER_V4.into())?, keys.iter().map(|key| key.port));
    let (all, one) = (
        passed.values().map(Count::bytes).sum::<u64>(),
        count::of(&passed, keys[1].port).bytes(),
    );
    for (query, n_points, expected) in [
        ("", 60, all),
        ("?period=86400", 1_440, all),
        ("?period=172800&gran=3600", 48, all),
        ("?scope=customer+1", 60, one),
        (&format!("?scope={}&granularity=600", keys[1].uuid), 6, one),
    ] {
        let body = agent.rest().shown(&format!("/api/live/series{query}"))?;
        is_evenly_spaced(&body, n_points).with_context(|| query.to_owned())?;
        let shown: u64 = values(&body)?.iter().sum();
        ensure!(shown == expected, "{query}: {shown} bytes instead of {expected}");
    }
    for query in [
        "?period=600&granularity=10",
        "?period=1440&gran=1",
        "?period=3600&granularity=7",
    ] {
        // These are made of samples, of which there is one a second.
        wait::until(&format!("{all} bytes are in a series of {query}"), || {
            let body = agent.rest().shown(&format!("/api/live/series{query}"))?;
            Ok(values(&body)?.iter().sum::<u64>() == all)
        })?;
    }
    Ok(())
}

fn a_series_shows_the_most_at_once() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    let held = |key: usize, count| {
        let address = SocketAddr::new(SERVER_V4.into(), keys[key].port);
        HeldConnections::open(&pair.server, &pair.client, address, count)
    };
    let both = (held(0, 3)?, held(1, 2)?);
    for (query, most) in [
        ("metric=conns", 5),
        ("metric=online_users", 2),
        ("metric=conns&period=300&granularity=10", 5),
        ("metric=online_users&period=300&granularity=10", 2),
        ("metric=conns&scope=customer+1", 2),
    ] {
        wait::until(&format!("{query} shows {most}"), || {
            let body = agent.rest().shown(&format!("/api/live/series?{query}"))?;
            ensure!(body["unit"] == "count", "{body:#}");
            let shown = values(&body)?.into_iter().max();
            ensure!(shown <= Some(most), "{query} shows {shown:?}");
            Ok(shown == Some(most))
        })?;
    }
    drop(both);
    wait::until("nobody is connected", || {
        Ok(agent.rest().shown("/api/live/now")?["total"]["conns"] == 0)
    })?;
    let body = agent.rest().shown("/api/live/series?metric=conns")?;
    ensure!(
        values(&body)?.into_iter().max() == Some(5),
        "the most at once is forgotten: {body:#}"
    );
    let refused = agent
        .rest()
        .get("/api/live/series?metric=online_users&scope=customer+1")?;
    ensure!(
        refused.status == 400 && refused.body["error"].is_string(),
        "{refused:?}"
    );
    Ok(())
}

fn a_top_list_is_by_value() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(4)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let transfers = [
        Transfer::new(SERVER_V4, keys[0].port, 1_000, 2_000),
        Transfer::new(SERVER_V4, keys[1].port, 80_000, 90_000),
        Transfer::new(SERVER_V4, keys[2].port, 20_000, 30_000),
    ];
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    let passed = capture.finish(SERVER_V4.into())?;
    let value = |key: usize| count::of(&passed, keys[key].port).bytes();
    let all = (0..3).map(value).sum::<u64>();
    let rows = |query: &str| -> Result<Vec<(String, u64)>> {
        let body = agent.rest().shown(&format!("/api/live/top{query}"))?;
        let rows = body["top"].as_array().context("top is no list")?;
        rows.iter()
            .map(|row| {
                let (user, value) = (
                    row["user"].as_str().context("user")?,
                    row["value"].as_u64().context("value")?,
                );
                let share = value as f64 * 100.0 / all as f64;
                let is_share = row["pct"].as_f64().is_some_and(|pct| (pct - share).abs() < 0.01);
                ensure!(is_share && row["displayName"] == user, "{row} of {all}");
                Ok((user.to_owned(), value))
            })
            .collect()
    };
    let row = |key: usize| (keys[key].name.clone(), value(key));
    for (query, expected) in [
        ("", vec![row(1), row(2), row(0)]),
        ("?period=86400", vec![row(1), row(2), row(0)]),
        ("?limit=2", vec![row(1), row(2)]),
        ("?scope=customer+0", vec![row(0)]),
        (&format!("?scope={}", keys[2].uuid), vec![row(2)]),
        ("?scope=customer+3", Vec::new()),
    ] {
        let shown = rows(query)?;
        ensure!(shown == expected, "{query}: {shown:?} instead of {expected:?}");
    }

    let address = SocketAddr::new(SERVER_V4.into(), keys[3].port);
    let _held = HeldConnections::open(&pair.server, &pair.client, address, 6)?;
    wait::until("the key with six connections is ahead", || {
        let body = agent.rest().shown("/api/live/top?metric=conns&limit=1")?;
        Ok(body["top"][0]["user"] == keys[3].name && body["top"][0]["value"] == 6)
    })
}

/// So many points, the same time apart, the last of which covers now.
fn is_evenly_spaced(body: &Value, n_points: usize) -> Result<()> {
    let points = body["series"].as_array().context("series is no list")?;
    ensure!(
        points.len() == n_points,
        "{} points instead of {n_points}",
        points.len()
    );
    let step = body["meta"]["gran"].as_u64().context("meta.gran")?;
    let mut seconds = Vec::new();
    for point in points {
        ensure!(point["ts"] == point["time"], "{point}");
        seconds.push(unix_seconds(point["time"].as_str().context("time")?)?);
    }
    ensure!(
        seconds.windows(2).all(|pair| pair[1] - pair[0] == step),
        "not {step} seconds apart: {seconds:?}"
    );
    let last = seconds.last().copied().unwrap_or_default();
    // The answer may be a while old by now.
    ensure!(
        last <= now() && now() < last + step + 60,
        "the last point begins at {last}, it is {}",
        now()
    );
    Ok(())
}

/// `2026-03-29T12:00:00Z` as seconds since 1970, by the calendar's own arithmetic.
fn unix_seconds(text: &str) -> Result<u64> {
    let numbers: Vec<u64> = text
        .trim_end_matches('Z')
        .split(['-', 'T', ':'])
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{text} is no time"))?;
    let [year, month, day, hour, minute, second] = numbers[..] else {
        anyhow::bail!("{text} is no time");
    };
    ensure!(
        text.len() == 20 && text.ends_with('Z'),
        "{text} has no whole seconds and a Z"
    );
    // Days from 1970, counting years from March.
    let (shifted_year, shifted_month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100 + shifted_year / 400;
    let days = days + (153 * shifted_month + 2) / 5 + day - 1 - 719_468;
    Ok(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn values(body: &Value) -> Result<Vec<u64>> {
    let points = body["series"].as_array().context("series is no list")?;
    points
        .iter()
        .map(|point| point["value"].as_u64().with_context(|| format!("value in {point}")))
        .collect()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
