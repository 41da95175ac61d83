//! Beside a bare axum route that returns the same bytes: what the gateway and the agent take, and HTTP does not.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::portmeter::API_KEY;
use super::super::process::{Running, wait_until};
use super::super::statistics::verdict;
use super::wrk::{Figures, Load, median};
use super::{Arguments, P99_MAX_MS};
use crate::{command, workspace_root};

const GATEWAY: &str = "127.0.0.1:18000";
const BARE: &str = "127.0.0.1:18001";
const GRPC: &str = "127.0.0.1:18002";
const METRICS: &str = "127.0.0.1:18003";
const INSTANCE: &str = "bench-rest";
const CONNECTION_COUNT: u32 = 32;
const KEY_COUNT: usize = 100;

/// A route to measure, and the share of the bare route's requests per second that it should reach.
struct Route {
    title: &'static str,
    pattern: &'static str,
    path: String,
    goal: f64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let bare_route = [
        "build",
        "--release",
        "--package",
        "portmeter-gateway",
        "--example",
        "bare_route",
    ];
    command::run(command::cargo().args(bare_route))?;

    let folder = workspace_root().join("target/bench-rest");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let agent = start_agent(&folder)?;
    let mut last_id = String::new();
    for number in 0..KEY_COUNT {
        let key: Value = serde_json::from_str(&curl(&["-d", &format!("{{\"name\":\"key {number}\"}}")], "/api/keys")?)?;
        last_id = key["id"].as_str().context("the agent made no key")?.to_owned();
    }
    let routes = [
        Route {
            title: "GET /api/keys/{id}",
            pattern: "/api/keys/{key_id}",
            path: format!("/api/keys/{last_id}"),
            goal: 0.6,
        },
        Route {
            title: "GET /api/keys, 100 keys",
            pattern: "/api/keys",
            path: "/api/keys".to_owned(),
            goal: 0.5,
        },
    ];
    println!(
        "wrk, {CONNECTION_COUNT} connections, {} rounds of {} s each, medians\n",
        arguments.rounds, arguments.seconds
    );
    println!(
        "{:<26} {:>8} {:>10} {:>8} {:>8}   {:<6} goal",
        "route", "bytes", "req/s", "p50 ms", "p99 ms", "ratio"
    );
    for route in routes.iter().filter(|route| route.path.contains(&arguments.route)) {
        measure(route, arguments, &folder)?;
    }
    drop(agent);
    Ok(())
}

fn measure(route: &Route, arguments: &Arguments, folder: &Path) -> Result<()> {
    let body = curl(&[], &route.path)?;
    let file = folder.join("body.json");
    std::fs::write(&file, &body)?;
    let bare = Running::start(
        Command::new(workspace_root().join("target/release/examples/bare_route"))
            .args([BARE, route.pattern])
            .arg(&file),
    )?;
    wait_until("the bare route answers", || std::net::TcpStream::connect(BARE).is_ok())?;
    let load = |address| Load {
        address,
        path: &route.path,
        connection_count: CONNECTION_COUNT,
        seconds: arguments.seconds,
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        ours.push(load(GATEWAY).run(Command::new("wrk"))?);
        theirs.push(load(BARE).run(Command::new("wrk"))?);
    }
    drop(bare);
    let (ours, theirs) = (median(&ours), median(&theirs));
    let ratio = ours.requests_per_second / theirs.requests_per_second;
    let row = |title: &str, figures: Figures, rest: &str| {
        println!(
            "{title:<26} {:>8} {:>10.0} {:>8.2} {:>8.2}   {rest}",
            body.len(),
            figures.requests_per_second,
            figures.p50_ms,
            figures.p99_ms
        );
    };
    row("bare axum route", theirs, "");
    let goals = format!(
        "{ratio:<6.2} ratio >= {} {}, p99 <= {P99_MAX_MS} ms {}",
        route.goal,
        verdict(ratio >= route.goal),
        verdict(ours.p99_ms <= P99_MAX_MS)
    );
    row(route.title, ours, &goals);
    Ok(())
}

fn start_agent(folder: &Path) -> Result<Running> {
    let mut agent = Command::new(workspace_root().join("target/release/portmeter"));
    agent
        .args(["run", "--instance", INSTANCE, "--interface", "lo", "--detach-on-exit"])
        .args(["--http", GATEWAY, "--grpc", GRPC, "--metrics", METRICS])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .env("PORTMETER_API_KEY", API_KEY)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("agent.log"))?);
    let agent = Running::start(&mut agent)?;
    wait_until("the agent is ready", || curl(&[], "/readyz").is_ok())
        .with_context(|| format!("see {}", folder.join("agent.log").display()))?;
    Ok(agent)
}

fn curl(extra: &[&str], path: &str) -> Result<String> {
    let header = format!("X-API-Key: {API_KEY}");
    let output = Command::new("curl")
        .args(["-sf", "-H", &header])
        .args(extra)
        .arg(format!("http://{GATEWAY}{path}"))
        .output()?;
    ensure!(output.status.success(), "GET {path} failed");
    Ok(String::from_utf8(output.stdout)?)
}
