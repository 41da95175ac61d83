//! `cargo xtask bench scrape`: what a scrape of the metrics takes, from the request to its last byte.
//!
//! The release binary runs in a namespace with real kernel maps and a key on every port; another namespace sends to all of
//! them meanwhile. It is asked as Prometheus asks: over one kept connection, for OpenMetrics, with a pause in between; and
//! for the classic format too.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::agent::under_traffic;
use super::lab::{self, Host, Lab};
use super::machine;
use super::portmeter::{self, METRICS_ADDRESS, Portmeter};
use super::process::cpu_time_ns;
use super::statistics::{median, quantile, verdict};
use crate::{command, tools, workspace_root};

/// Options of `cargo xtask bench scrape`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Scrapes of each format and case
    #[arg(long, default_value_t = 100)]
    count: usize,
}

/// Between two scrapes, so that other work comes in between and what was in the caches goes.
const PAUSE: Duration = Duration::from_millis(100);

/// The formats, and how they are asked for.
const FORMATS: [(&str, &str); 2] = [
    ("OpenMetrics", "application/openmetrics-text;version=1.0.0"),
    ("classic", "text/plain;version=0.0.4"),
];

struct Case {
    name: &'static str,
    ports: RangeInclusive<u16>,
    goal_ms: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tools::install_missing(&lab::TOOLS)?;
    portmeter::build()?;
    let lab = Lab::new()?;
    let folder = portmeter::fresh_folder("bench-scrape")?;
    machine::describe()?;
    println!(
        "\n{} scrapes each, {} ms apart, a key on every port, every port busy\n",
        arguments.count,
        PAUSE.as_millis()
    );
    println!(
        "{:<14} {:<12} {:>10} {:>9} {:>8} {:>8} {:>8} {:>9}   goal",
        "ports", "format", "bytes", "median ms", "p99 ms", "most ms", "first ms", "CPU ms"
    );
    for case in [
        Case {
            name: "1,000",
            ports: 10_001..=11_000,
            goal_ms: 5.0,
        },
        Case {
            name: "10,000",
            ports: 10_001..=20_000,
            goal_ms: 50.0,
        },
    ] {
        measure(&lab, &folder, &case, arguments.count)?;
    }
    Ok(())
}

fn measure(lab: &Lab, folder: &Path, case: &Case, count: usize) -> Result<()> {
    let data = folder.join(case.name.replace(',', ""));
    let ports = format!("{}-{}", case.ports.start(), case.ports.end());
    let settings = [("PORTMETER_CAPTURE__PORTS", ports.as_str())];
    make_keys(&lab.server, folder, &data, case, &settings)?;
    let portmeter = Portmeter::start(&lab.server, &data, &settings)?;
    under_traffic(&lab.client, &case.ports, || {
        for (format, accept) in FORMATS {
            let (process, port_count) = (portmeter.process_id(), case.ports.clone().count());
            let figures = lab
                .server
                .inside(|| scrapes(accept, count, port_count, process))
                .with_context(|| format!("{} ports, {format}", case.name))?;
            let middle = median(&figures.milliseconds);
            println!(
                "{:<14} {format:<12} {:>10} {middle:>9.2} {:>8.2} {:>8.2} {:>8.2} {:>9.2}   <= {} ms {}",
                case.name,
                figures.bytes,
                quantile(&figures.milliseconds, 0.99),
                quantile(&figures.milliseconds, 1.0),
                figures.first_ms,
                figures.cpu_ms,
                case.goal_ms,
                verdict(middle <= case.goal_ms)
            );
        }
        Ok(())
    })
}

/// What the scrapes of one format came to.
struct Figures {
    bytes: usize,
    milliseconds: Vec<f64>,
    /// The very first, of which nothing is in memory yet.
    first_ms: f64,
    /// CPU time of the agent's for one, with what else it does meanwhile.
    cpu_ms: f64,
}

fn scrapes(accept: &str, count: usize, port_count: usize, process: u32) -> Result<Figures> {
    let mut connection = BufReader::new(TcpStream::connect(METRICS_ADDRESS)?);
    connection.get_ref().set_nodelay(true)?;
    let mut timed = || -> Result<(f64, Vec<u8>)> {
        let began_at = Instant::now();
        let page = scrape(&mut connection, accept)?;
        Ok((began_at.elapsed().as_secs_f64() * 1e3, page))
    };
    let (first_ms, page) = timed()?;
    check(&page, port_count)?;
    let before_ns = cpu_time_ns(process)?;
    let (mut milliseconds, mut bytes) = (Vec::with_capacity(count), 0);
    for _ in 0..count {
        thread::sleep(PAUSE);
        let (took_ms, page) = timed()?;
        milliseconds.push(took_ms);
        bytes = page.len();
    }
    let cpu_ns = cpu_time_ns(process)? - before_ns;
    Ok(Figures {
        bytes,
        milliseconds,
        first_ms,
        cpu_ms: cpu_ns as f64 / 1e6 / count as f64,
    })
}

/// One answer over a kept connection, whole.
fn scrape(connection: &mut BufReader<TcpStream>, accept: &str) -> Result<Vec<u8>> {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {METRICS_ADDRESS}\r\nAccept: {accept}\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes())?;
    let (mut length, mut line) = (None, String::new());
    connection.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200 "), "the answer is {line}");
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = Some(value.trim().parse()?);
        }
    }
    let mut page = vec![0; length.context("the answer tells no length")?];
    connection.read_exact(&mut page)?;
    Ok(page)
}

/// A page that is short of rows would be measured for nothing.
fn check(page: &[u8], port_count: usize) -> Result<()> {
    let text = std::str::from_utf8(page)?;
    for metric in [
        "portmeter_port_receive_bytes_total{",
        "portmeter_key_transmit_packets_total{",
    ] {
        let rows = text.lines().filter(|line| line.starts_with(metric)).count();
        ensure!(rows == port_count, "{rows} rows of {metric}…}} for {port_count} ports");
    }
    Ok(())
}

/// A key for every port, brought in as from the old server.
fn make_keys(host: &Host, folder: &Path, data: &Path, case: &Case, settings: &[(&str, &str)]) -> Result<()> {
    let key = |port: u16| {
        json!({
            "id": format!("{port:08x}-0000-4000-8000-0000000000aa"),
            "uuid": format!("{port:08x}-0000-4000-8000-0000000000bb"),
            "name": format!("customer {port}"),
            "created_at": "2026-01-01T00:00:00.000000",
            "is_active": true,
            "port": port,
        })
    };
    let keys: Vec<serde_json::Value> = case.ports.clone().map(key).collect();
    let file = folder.join("keys.json");
    fs::write(&file, serde_json::to_vec(&keys)?)?;
    let binary = workspace_root().join("target/release/portmeter");
    let mut import = host.command(binary.to_str().context("the workspace's path is not UTF-8")?);
    import
        .args(["import", "--time-zone", "UTC", "--data-dir"])
        .arg(data)
        .arg(file)
        .env("PORTMETER_XRAY__MODE", "none")
        .env("PORTMETER_AGENT__INSTANCE", portmeter::INSTANCE)
        .envs(settings.iter().copied());
    command::output(&mut import).map(drop)
}
