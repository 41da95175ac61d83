//! Beside FastAPI and uvicorn over SQLite: what clients get from the kind of program that they have today.
//!
//! Ours is the release binary in a namespace of its own: real kernel maps, a ledger with 60 days of each key, packets
//! to every port meanwhile, commits as always. Theirs have the same figures in a database, and answer with the same
//! bodies: one is written as FastAPI's documentation shows it, the other for speed alone. All are asked by wrk within
//! that namespace.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::lab::{Host, Lab, SERVER_ADDRESS};
use super::super::portmeter::{self, API_KEY, Portmeter};
use super::super::process::{Running, wait_until};
use super::super::statistics::verdict;
use super::wrk::{Figures, Load, median};
use super::{Arguments, P99_MAX_MS, past};
use crate::{command, python, tools, workspace_root};

/// What the other program is made of, at the versions that are compared.
const PACKAGES: [&str; 9] = [
    "fastapi==0.165.0",
    "starlette==1.10.0",
    "pydantic==2.14.4",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
    "orjson==3.13.0",
    "sqlmodel==0.0.50",
    "sqlalchemy==2.1.9",
];

const OURS: &str = "127.0.0.1:8000";

/// A program that ours is measured beside.
struct Contender {
    title: &'static str,
    script_name: &'static str,
    script: &'static str,
    port: &'static str,
    /// How many times its requests per second ours should be.
    ratio_min: Option<f64>,
}

const CONTENDERS: [Contender; 2] = [
    Contender {
        title: "FastAPI as documented",
        script_name: "fastapi_documented.py",
        script: include_str!("fastapi_documented.py"),
        port: "18001",
        ratio_min: Some(25.0),
    },
    // An answer of half a megabyte 25 times as often as this one sends it would be more than loopback carries.
    Contender {
        title: "FastAPI for speed alone",
        script_name: "fastapi_tuned.py",
        script: include_str!("fastapi_tuned.py"),
        port: "18002",
        ratio_min: None,
    },
];

const KEY_COUNTS: [usize; 2] = [100, 1_000];

/// Enough to keep both processors busy, and two in the queue: what a request waits for beyond that is its own turn.
const CONNECTION_COUNT: u32 = 4;

/// How often every port gets a packet.
const TRAFFIC_INTERVAL: Duration = Duration::from_millis(500);

const ROUTES: [(&str, &str); 4] = [
    ("keys", "/api/keys"),
    ("simple", "/api/traffic/simple"),
    ("history", "/api/traffic/history"),
    ("monthly", "/api/traffic/monthly"),
];

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let python = environment()?;
    let lab = Lab::new()?;
    let folder = portmeter::fresh_folder("bench-rest-fastapi")?;
    for contender in &CONTENDERS {
        fs::write(folder.join(contender.script_name), contender.script)?;
    }
    println!(
        "\nbeside {} over SQLite: wrk, {CONNECTION_COUNT} connections, {} rounds of {} s each, medians\n",
        PACKAGES.join(" "),
        arguments.rounds,
        arguments.seconds
    );
    println!(
        "{:<34} {:>8} {:>9} {:>8} {:>8}   {:<7} goal",
        "route", "bytes", "req/s", "p50 ms", "p99 ms", "ratio"
    );
    for key_count in KEY_COUNTS {
        measure(&lab, &folder.join(key_count.to_string()), &python, key_count, arguments)?;
    }
    Ok(())
}

/// Both servers with this many keys.
fn measure(lab: &Lab, folder: &Path, python: &Path, key_count: usize, arguments: &Arguments) -> Result<()> {
    fs::create_dir(folder)?;
    let ports = format!("10001-{}", 10_000 + key_count);
    let settings = [("PORTMETER_CAPTURE__PORTS", ports.as_str())];
    let data = folder.join("data");
    import(&lab.server, folder, &data, key_count, &settings)?;
    let ours = Portmeter::start(&lab.server, &data, &settings)?;
    check_freshness(&lab.client, &ours)?;
    under_traffic(&lab.client, key_count, || {
        wait_until("the last port's packets are counted", || {
            received_packets(&ours, 10_000 + key_count).is_ok_and(|packets| packets > 0)
        })?;
        for (name, path) in ROUTES {
            fs::write(folder.join(format!("{name}.json")), ours.get(path)?)?;
        }
        let theirs: Vec<Running> = CONTENDERS
            .iter()
            .map(|contender| contender.start(&lab.server, folder, python))
            .collect::<Result<_>>()?;
        for (name, path) in ROUTES.into_iter().filter(|(_, path)| path.contains(&arguments.route)) {
            for contender in &CONTENDERS {
                check_same_body(contender, &ours, &lab.server, folder, (name, path))?;
            }
            turns(&lab.server, &ours, path, key_count, arguments)?;
        }
        drop(theirs);
        Ok(())
    })
}

/// Measures one route in turns.
fn turns(host: &Host, ours: &Portmeter<'_>, path: &str, key_count: usize, arguments: &Arguments) -> Result<()> {
    let measured = |address: &str| {
        let load = Load {
            address,
            path,
            connection_count: CONNECTION_COUNT,
            seconds: arguments.seconds,
        };
        load.run(host.command("wrk"))
    };
    let (mut our_figures, mut their_figures) = (Vec::new(), [const { Vec::new() }; CONTENDERS.len()]);
    for _ in 0..arguments.rounds {
        our_figures.push(measured(OURS)?);
        for (contender, figures) in CONTENDERS.iter().zip(&mut their_figures) {
            figures.push(measured(&contender.address())?);
        }
    }
    let bytes = ours.get(path)?.len();
    let row = |title: &str, figures: Figures, rest: &str| {
        println!(
            "{title:<34} {bytes:>8} {:>9.0} {:>8.2} {:>8.2}   {rest}",
            figures.requests_per_second, figures.p50_ms, figures.p99_ms
        );
    };
    let our_median = median(&our_figures);
    let p99_goal = format!("p99 <= {P99_MAX_MS} ms {}", verdict(our_median.p99_ms <= P99_MAX_MS));
    row(&format!("{path}, {key_count} keys"), our_median, &p99_goal);
    for (contender, figures) in CONTENDERS.iter().zip(&their_figures) {
        let their_median = median(figures);
        let ratio = our_median.requests_per_second / their_median.requests_per_second;
        let goal = contender
            .ratio_min
            .map(|least| format!("ours >= {least} times as many {}", verdict(ratio >= least)))
            .unwrap_or_default();
        row(contender.title, their_median, &format!("{ratio:<7.1} {goal}"));
    }
    Ok(())
}

/// Brings the past into a new ledger.
fn import(host: &Host, folder: &Path, data: &Path, key_count: usize, settings: &[(&str, &str)]) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let files = past::write(folder, key_count, i64::try_from(now)?)?;
    let binary = workspace_root().join("target/release/portmeter");
    let mut import = host.command(binary.to_str().context("the workspace's path is not UTF-8")?);
    import
        .args(["import", "--time-zone", "UTC", "--data-dir"])
        .arg(data)
        .args(files)
        .env("PORTMETER_XRAY__MODE", "none")
        .env("PORTMETER_AGENT__INSTANCE", "bench")
        .envs(settings.iter().copied());
    command::output(&mut import).map(drop)
}

impl Contender {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Fills its database with what we answer and serves it, a process for each processor.
    fn start(&self, host: &Host, folder: &Path, python: &Path) -> Result<Running> {
        let scripts = folder.parent().context("no folder for the script")?;
        let script = scripts.join(self.script_name);
        let database = folder.join(self.script_name).with_extension("db");
        command::output(Command::new(python).arg(&script).arg("fill").arg(&database).arg(folder))?;
        let log = folder.join(self.script_name).with_extension("log");
        let mut serve = host.command(python.to_str().context("the environment's path is not UTF-8")?);
        serve
            .arg(&script)
            .arg("serve")
            .arg(&database)
            .arg(self.port)
            .arg(thread::available_parallelism()?.to_string())
            .env("PORTMETER_API_KEY", API_KEY)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?);
        let running = Running::start(&mut serve)?;
        wait_until(&format!("{} answers", self.title), || {
            ask(host, &self.address(), "/api/keys").is_ok()
        })
        .with_context(|| format!("see {}", log.display()))?;
        Ok(running)
    }
}

/// Both answer with the same fields, and, for what does not move, the same values; what is asked for is the past that
/// was saved, since ours goes on counting.
fn check_same_body(
    theirs: &Contender,
    ours: &Portmeter<'_>,
    host: &Host,
    folder: &Path,
    (name, path): (&str, &str),
) -> Result<()> {
    let title = theirs.title;
    let saved: Value = serde_json::from_slice(&fs::read(folder.join(format!("{name}.json")))?)?;
    let theirs: Value = serde_json::from_str(&ask(host, &theirs.address(), path)?)?;
    let fresh: Value = serde_json::from_str(&ours.get(path)?)?;
    let (saved_shape, their_shape) = (shape(&saved), shape(&theirs));
    ensure!(
        saved_shape == their_shape,
        "{path}, {title}: the bodies differ: {saved_shape} and {their_shape}"
    );
    ensure!(shape(&fresh) == their_shape, "{path}: the body has changed its shape");
    if name == "keys" {
        ensure!(saved == theirs, "{path}, {title}: the keys differ");
    }
    Ok(())
}

/// The names and the kinds of values, without the values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
        Value::Array(values) => values.iter().map(shape).collect(),
        Value::String(_) | Value::Null => Value::from("text"),
        Value::Number(number) if number.is_f64() => Value::from("float"),
        Value::Number(_) => Value::from("int"),
        Value::Bool(_) => Value::from("bool"),
    }
}

/// What is measured reads the kernel: a packet shows in the very next answer, though samples are a second apart.
fn check_freshness(client: &Host, ours: &Portmeter<'_>) -> Result<()> {
    let mut expected = received_packets(ours, 10_001)?;
    for _ in 0..10 {
        client.inside(|| Ok(UdpSocket::bind(("0.0.0.0", 0))?.send_to(&[0; 64], (SERVER_ADDRESS, 10_001))?))?;
        expected += 1;
        let shown = received_packets(ours, 10_001)?;
        ensure!(shown == expected, "after {expected} packets the answer shows {shown}");
    }
    Ok(())
}

/// Packets that a port has received, by the live route.
fn received_packets(ours: &Portmeter<'_>, port: usize) -> Result<u64> {
    let simple: Value = serde_json::from_str(&ours.get("/api/traffic/simple")?)?;
    let packets = simple["data"]["ports"][port.to_string()]["rx_packets"].as_u64();
    packets.with_context(|| format!("port {port} has no row"))
}

/// Does `work` while every port gets a packet now and then.
fn under_traffic<T>(client: &Host, key_count: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let is_over = AtomicBool::new(false);
    let send = || -> Result<()> {
        client.enter()?;
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        while !is_over.load(Ordering::Relaxed) {
            for port in (10_001_u16..).take(key_count) {
                // Nobody listens there, which the host may tell.
                let _ = socket.send_to(&[0; 64], (SERVER_ADDRESS, port));
            }
            thread::sleep(TRAFFIC_INTERVAL);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let sender = scope.spawn(send);
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.and_then(|value| sent.map(|()| value))
    })
}

fn ask(host: &Host, address: &str, path: &str) -> Result<String> {
    let mut curl = host.command("curl");
    curl.args(["-sf", "-H", &format!("X-API-Key: {API_KEY}")])
        .arg(format!("http://{address}{path}"));
    command::output(&mut curl)
}

/// The Python of an environment that has the packages, made if need be.
fn environment() -> Result<PathBuf> {
    let folder = tools::tools_folder()?.join(format!("fastapi-{}", PACKAGES[0].trim_start_matches("fastapi==")));
    if !python::can_import(&folder, "fastapi, uvicorn, orjson, sqlmodel") {
        println!("installing {}", PACKAGES.join(" "));
        python::make_environment(&folder, |environment| {
            let mut install = python::pip(environment, &["install", "--only-binary", ":all:"]);
            command::output(install.args(PACKAGES)).map(drop)
        })?;
    }
    Ok(python::interpreter(&folder))
}
