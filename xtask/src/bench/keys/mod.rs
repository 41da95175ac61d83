//! `cargo xtask bench keys`: what making and deleting a key takes, beside what the systems before Portmeter did.
//!
//! Portmeter runs a real core and is asked over REST; a key counts as made when the call has answered and its port is
//! open. Beside it, in turns, so that a machine whose speed drifts slows both: the configuration file is written and the
//! core restarted for each change, which is over when every port is back. That other way is measured without a server
//! or a store around it: the least that it can take.

mod cores;
mod http;
mod restarting;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::lab::{self, Host, Lab};
use super::machine;
use super::portmeter::{self, Portmeter};
use super::process::wait_until;
use super::statistics::{quantile, verdict};
use crate::{tools, xray};
use cores::{Cores, listening_ports};
use http::request;
use restarting::Restarting;

/// Options of `cargo xtask bench keys`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Keys that are made and deleted in each measurement
    #[arg(long, default_value_t = 200)]
    changes: usize,
}

/// How many other keys there are while one comes and goes.
const OTHERS: [usize; 2] = [1, 500];
const P50_MAX_MS: f64 = 20.0;
const P99_MAX_MS: f64 = 100.0;
const MANY_KEYS: usize = 1_000;
const START_MAX: Duration = Duration::from_secs(3);
const SYNC_COUNT: usize = 20;
const FIRST_PORT: u16 = 10_001;

/// Milliseconds of each change.
#[derive(Default)]
struct Changes {
    creates: Vec<f64>,
    deletes: Vec<f64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tools::install_missing(&lab::TOOLS)?;
    let core = xray::installed()?;
    portmeter::build()?;
    let lab = Lab::new()?;
    let folder = portmeter::fresh_folder("bench-keys")?;
    machine::describe()?;

    // Dropped last, when nobody starts another core.
    let cores = Cores::of(&lab.server);
    let portmeter = start(&lab.server, &folder, &core)?;
    println!(
        "\nA key made and deleted {} times, milliseconds:\n\n{:<26} {:>6} {:>11} {:>8} {:>11} {:>8}",
        arguments.changes, "", "others", "create p50", "p99", "delete p50", "p99"
    );
    for others in OTHERS {
        portmeter.make_keys(others)?;
        wait_until_open(&lab.server, others)?;
        let mut restarting = Restarting::start(&lab.client, &core, &folder.join("restarting.json"), others)?;
        let (mut ours, mut theirs) = (Changes::default(), Changes::default());
        for _ in 0..arguments.changes {
            change(&lab.server, others, &mut ours)?;
            theirs.creates.push(timed(|| restarting.change(others + 1))?);
            theirs.deletes.push(timed(|| restarting.change(others))?);
        }
        row("a restart for each change", others, &theirs, "");
        let meets = |share, most| {
            [&ours.creates, &ours.deletes]
                .iter()
                .all(|all| quantile(all, share) <= most)
        };
        let goals = format!(
            "   goal p50 <= {P50_MAX_MS} ms {}, p99 <= {P99_MAX_MS} ms {}",
            verdict(meets(0.5, P50_MAX_MS)),
            verdict(meets(0.99, P99_MAX_MS))
        );
        row("Portmeter", others, &ours, &goals);
    }
    portmeter.make_keys(MANY_KEYS)?;
    wait_until_open(&lab.server, MANY_KEYS)?;
    portmeter.kill()?;
    cores.kill()?;
    let portmeter = time_start(&lab.server, &folder, &core)?;
    time_synchronization(&lab.server, &folder, &cores)?;
    drop(portmeter);
    drop(cores);
    Ok(fs::remove_dir_all(folder)?)
}

/// Nothing connects to a key here, so nobody has to lend REALITY its handshake.
fn start<'lab>(host: &'lab Host, folder: &Path, core: &Path) -> Result<Portmeter<'lab>> {
    let core = core.to_str().context("the core's path is not UTF-8")?;
    let last_port = usize::from(FIRST_PORT) + MANY_KEYS - 1;
    Portmeter::start(
        host,
        &folder.join("data"),
        &[
            ("PORTMETER_CAPTURE__PORTS", &format!("{FIRST_PORT}-{last_port}")),
            ("PORTMETER_XRAY__MODE", "supervised"),
            ("PORTMETER_XRAY__BINARY", core),
            ("PORTMETER_XRAY__DEST", "127.0.0.1:443"),
            ("PORTMETER_XRAY__SERVER_NAMES", "bench.example"),
            ("PORTMETER_XRAY__SERVER_HOST", lab::SERVER_ADDRESS),
        ],
    )
}

/// One key comes and goes.
fn change(host: &Host, others: usize, changes: &mut Changes) -> Result<()> {
    host.inside(|| {
        let mut key = Value::Null;
        changes.creates.push(timed(|| {
            key = request("POST", "/api/keys", "{\"name\":\"one more\"}")?;
            Ok(())
        })?);
        let port = FIRST_PORT + u16::try_from(others)?;
        ensure!(key["port"] == port, "the key has another port: {key}");
        ensure!(
            listening_ports()?.contains(&port),
            "answered before port {port} was open"
        );
        let path = format!("/api/keys/{}", key["id"].as_str().context("the key has no id")?);
        changes.deletes.push(timed(|| request("DELETE", &path, "").map(drop))?);
        ensure!(
            !listening_ports()?.contains(&port),
            "answered before port {port} was closed"
        );
        Ok(())
    })
}

/// Everything is killed; from the start of the agent until it is ready and every port is open.
fn time_start<'lab>(host: &'lab Host, folder: &Path, core: &Path) -> Result<Portmeter<'lab>> {
    let started = Instant::now();
    let portmeter = start(host, folder, core)?;
    wait_until_open(host, MANY_KEYS)?;
    let took = started.elapsed();
    println!(
        "\n{MANY_KEYS} keys: start to all ports open {:.2} s   goal <= {} s {}",
        took.as_secs_f64(),
        START_MAX.as_secs(),
        verdict(took <= START_MAX)
    );
    Ok(portmeter)
}

/// A sync that finds everything as it should be, and leaves it so.
fn time_synchronization(host: &Host, folder: &Path, cores: &Cores<'_>) -> Result<()> {
    let file = folder.join("data/xray/config.json");
    let sync = || host.inside(|| request("POST", "/api/system/sync-config", ""));
    // The first one may have to wait for what the start has left to do.
    sync()?;
    let before = (cores.process_ids()?, file_state(&file)?);
    let mut times = Vec::new();
    for _ in 0..SYNC_COUNT {
        times.push(timed(|| sync().map(drop))?);
    }
    let is_untouched = (cores.process_ids()?, file_state(&file)?) == before;
    println!(
        "{MANY_KEYS} keys: sync of an unchanged configuration {:.1} ms (median of {SYNC_COUNT})   goal: core and file \
         untouched {}",
        quantile(&times, 0.5),
        verdict(is_untouched)
    );
    Ok(())
}

fn file_state(file: &PathBuf) -> Result<(u64, i64, i64)> {
    let metadata = fs::metadata(file).with_context(|| format!("looking at {}", file.display()))?;
    Ok((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

fn wait_until_open(host: &Host, count: usize) -> Result<()> {
    let wanted = ports(count)?;
    wait_until("the ports of all keys are open", || {
        host.inside(listening_ports)
            .is_ok_and(|listening| wanted.iter().all(|port| listening.contains(port)))
    })
}

/// The ports of so many keys: the lowest free one each.
fn ports(count: usize) -> Result<Vec<u16>> {
    let last = FIRST_PORT + u16::try_from(count)?;
    Ok((FIRST_PORT..last).collect())
}

/// Milliseconds of what succeeds.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64() * 1_000.0)
}

fn row(name: &str, others: usize, changes: &Changes, rest: &str) {
    let Changes { creates, deletes } = changes;
    println!(
        "{name:<26} {others:>6} {:>11.1} {:>8.1} {:>11.1} {:>8.1}{rest}",
        quantile(creates, 0.5),
        quantile(creates, 0.99),
        quantile(deletes, 0.5),
        quantile(deletes, 0.99)
    );
}

/// Where the agent's REST face listens in its namespace.
fn rest_address() -> SocketAddr {
    ([127, 0, 0, 1], 8_000).into()
}
