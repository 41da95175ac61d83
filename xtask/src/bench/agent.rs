//! `cargo xtask bench agent`: what the agent itself takes: memory, CPU time, and the time of one sample.
//!
//! The release binary runs in a namespace and counts on a cable; another namespace sends to the tracked ports, because
//! an agent with nothing to book would be measured asleep.

use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::lab::{self, Host, Lab, SERVER_ADDRESS};
use super::machine;
use super::portmeter::{self, Portmeter};
use super::process::{cpu_time_ns, resident_kib};
use super::statistics::verdict;
use crate::{command, tools};

/// Options of `cargo xtask bench agent`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Seconds over which CPU time is taken
    #[arg(long, default_value_t = 60)]
    cpu_seconds: u64,
    /// Seconds over which memory is watched; a commit comes every five
    #[arg(long, default_value_t = 20)]
    memory_seconds: u64,
}

const KEYS_MEMORY_MAX_MEGABYTES: f64 = 30.0;
const PORTS_MEMORY_MAX_MEGABYTES: f64 = 40.0;
const CPU_MAX_PERCENT: f64 = 0.3;
/// How often every port of the traffic gets a packet.
const TRAFFIC_INTERVAL: Duration = Duration::from_millis(500);
/// Requests before memory is looked at, so that what they need is there.
const REQUEST_COUNT: usize = 100;

/// How an agent is set up.
struct Case {
    name: &'static str,
    ports: RangeInclusive<u16>,
    key_count: usize,
    /// Those of the ports that packets go to.
    busy_ports: RangeInclusive<u16>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tools::install_missing(&lab::TOOLS)?;
    portmeter::build()?;
    let lab = Lab::new()?;
    let folder = portmeter::fresh_folder("bench-agent")?;
    machine::describe()?;

    let keys = Case {
        name: "100 keys",
        ports: 10_001..=10_100,
        key_count: 100,
        busy_ports: 10_001..=10_100,
    };
    memory(&lab, &folder, &keys, arguments, KEYS_MEMORY_MAX_MEGABYTES)?;
    let many_ports = Case {
        name: "10,000 ports, 100 keys",
        ports: 10_001..=20_000,
        key_count: 100,
        busy_ports: 10_001..=20_000,
    };
    memory(&lab, &folder, &many_ports, arguments, PORTS_MEMORY_MAX_MEGABYTES)?;
    let clock = Case {
        name: "1,000 ports, 100 keys",
        ports: 10_001..=11_000,
        key_count: 100,
        busy_ports: 10_001..=10_100,
    };
    cpu(&lab, &folder, &clock, arguments)?;
    sample(&lab.server)
}

/// Resident memory: the highest reading of several, while every port is busy and commits are made.
fn memory(lab: &Lab, folder: &Path, case: &Case, arguments: &Arguments, goal_megabytes: f64) -> Result<()> {
    let portmeter = start(lab, folder, case)?;
    ask(&portmeter)?;
    let highest_kib = under_traffic(&lab.client, &case.busy_ports, || {
        let mut highest_kib = 0;
        each_second(arguments.memory_seconds, || {
            highest_kib = highest_kib.max(resident_kib(portmeter.process_id())?);
            Ok(())
        })?;
        Ok(highest_kib)
    })?;
    check_counted(&portmeter, case)?;
    let megabytes = highest_kib as f64 * 1024.0 / 1e6;
    println!(
        "resident memory, {}: {megabytes:.1} MB (highest of {} s, every port busy, after {REQUEST_COUNT} requests)   goal <= \
         {goal_megabytes} MB {}",
        case.name,
        arguments.memory_seconds,
        verdict(megabytes <= goal_megabytes)
    );
    Ok(())
}

/// CPU time at the default intervals.
fn cpu(lab: &Lab, folder: &Path, case: &Case, arguments: &Arguments) -> Result<()> {
    let portmeter = start(lab, folder, case)?;
    let process = portmeter.process_id();
    let (used_ns, elapsed) = under_traffic(&lab.client, &case.busy_ports, || {
        let (before_ns, started) = (cpu_time_ns(process)?, Instant::now());
        thread::sleep(Duration::from_secs(arguments.cpu_seconds));
        Ok((cpu_time_ns(process)? - before_ns, started.elapsed()))
    })?;
    check_counted(&portmeter, case)?;
    let percent = used_ns as f64 / elapsed.as_nanos() as f64 * 100.0;
    println!(
        "CPU time, {}, {} of them busy: {percent:.3} % of a core ({:.1} ms in {:.0} s: a sample a second, a commit every \
         5 s)   goal <= {CPU_MAX_PERCENT} % {}",
        case.name,
        case.busy_ports.clone().count(),
        used_ns as f64 / 1e6,
        elapsed.as_secs_f64(),
        verdict(percent <= CPU_MAX_PERCENT)
    );
    Ok(())
}

/// The time of one sample, by the agent crate's own bench; the namespace keeps its maps from any other agent's.
fn sample(host: &Host) -> Result<()> {
    let cargo = command::cargo();
    let mut bench = host.command(&cargo.get_program().to_string_lossy());
    bench.args(["bench", "--quiet", "--package", "portmeter", "--bench", "sample"]);
    command::run(&mut bench)
}

fn start<'lab>(lab: &'lab Lab, folder: &Path, case: &Case) -> Result<Portmeter<'lab>> {
    let data = folder.join(case.name.replace([' ', ','], "-"));
    let ports = format!("{}-{}", case.ports.start(), case.ports.end());
    let portmeter = Portmeter::start(&lab.server, &data, &[("PORTMETER_CAPTURE__PORTS", &ports)])?;
    portmeter.make_keys(case.key_count)?;
    Ok(portmeter)
}

/// What a panel and a Prometheus ask for.
fn ask(portmeter: &Portmeter<'_>) -> Result<()> {
    for _ in 0..REQUEST_COUNT {
        portmeter.get("/api/keys")?;
        portmeter.get("/api/traffic/simple")?;
        portmeter.metrics()?;
    }
    Ok(())
}

fn check_counted(portmeter: &Portmeter<'_>, case: &Case) -> Result<()> {
    let port = *case.busy_ports.end();
    ensure!(portmeter.received_packets(port)? > 0, "port {port} was not counted");
    Ok(())
}

/// Does `work` while every one of `ports` gets a small packet now and then.
pub(super) fn under_traffic<T>(
    client: &Host,
    ports: &RangeInclusive<u16>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(client, ports, &is_over));
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent.and(result)
    })
}

fn send(client: &Host, ports: &RangeInclusive<u16>, is_over: &AtomicBool) -> Result<()> {
    client.enter()?;
    // Not connected, so that answers that nobody listens there do not come back as errors.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    while !is_over.load(Ordering::Relaxed) {
        for port in ports.clone() {
            socket.send_to(&[0; 64], (SERVER_ADDRESS, port))?;
        }
        thread::sleep(TRAFFIC_INTERVAL);
    }
    Ok(())
}

fn each_second(seconds: u64, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 0..seconds {
        thread::sleep(Duration::from_secs(1));
        work()?;
    }
    Ok(())
}
