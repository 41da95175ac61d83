//! `cargo xtask bench rest`: requests per second and latency of the REST gateway in a real `portmeter run`, beside a
//! bare axum route that returns the same bytes.
//!
//! One load generator (wrk, 32 connections) shares the machine with the server under test. The two servers take
//! turns within each round, so that a machine whose speed drifts slows both; what counts is the ratio of medians.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::process::{Running, wait_until};
use super::statistics::{self, verdict};
use crate::{command, tools, workspace_root};

/// Options of `cargo xtask bench rest`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; each measures every server once for every route.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
}

const API_KEY: &str = "bench-key-0123456789";
const GATEWAY: &str = "127.0.0.1:18000";
const BARE: &str = "127.0.0.1:18001";
const GRPC: &str = "127.0.0.1:18002";
const METRICS: &str = "127.0.0.1:18003";
const INSTANCE: &str = "bench-rest";
const CONNECTION_COUNT: u32 = 32;
const KEY_COUNT: usize = 100;
const P99_MAX_MS: f64 = 10.0;

/// A route to measure, and the share of the bare route's requests per second that it should reach.
struct Route {
    title: &'static str,
    pattern: &'static str,
    path: String,
    goal: f64,
}

/// What wrk says of one measurement.
#[derive(Clone, Copy)]
struct Figures {
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tools::install_missing(&[("curl", "curl"), ("wrk", "wrk")])?;
    ensure!(
        tools::is_on_path("wrk"),
        "there is no wrk to make the load with: apt-get install wrk"
    );
    let build = |extra: &[&str]| command::run(command::cargo().args(["build", "--release"]).args(extra));
    build(&["--package", "portmeter"])?;
    build(&["--package", "portmeter-gateway", "--example", "bare_route"])?;

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
    for route in &routes {
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
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        ours.push(wrk(GATEWAY, &route.path, arguments.seconds)?);
        theirs.push(wrk(BARE, &route.path, arguments.seconds)?);
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

fn wrk(address: &str, path: &str, seconds: u32) -> Result<Figures> {
    let output = Command::new("wrk")
        .args([
            "--threads",
            "1",
            "--connections",
            &CONNECTION_COUNT.to_string(),
            "--latency",
        ])
        .args([
            "--duration",
            &format!("{seconds}s"),
            "--header",
            &format!("X-API-Key: {API_KEY}"),
        ])
        .arg(format!("http://{address}{path}"))
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(!text.contains("Non-2xx"), "{address} answered with errors:\n{text}");
    let value = |label: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(label));
        line.and_then(|line| line.split_whitespace().nth(1))
            .with_context(|| format!("wrk did not say {label}:\n{text}"))
    };
    Ok(Figures {
        requests_per_second: value("Requests/sec:")?.parse()?,
        p50_ms: milliseconds(value("50%")?)?,
        p99_ms: milliseconds(value("99%")?)?,
    })
}

/// wrk writes `850.00us`, `1.20ms` or `1.05s`.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("wrk's time {text} has no known unit")
}

fn median(figures: &[Figures]) -> Figures {
    let of = |pick: fn(&Figures) -> f64| {
        let values: Vec<f64> = figures.iter().map(pick).collect();
        statistics::median(&values)
    };
    Figures {
        requests_per_second: of(|one| one.requests_per_second),
        p50_ms: of(|one| one.p50_ms),
        p99_ms: of(|one| one.p99_ms),
    }
}
