//! The agent as a service: what its unit allows is enough and little, and the service manager is told how it is.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use portmeter_tests::agent::{self, API_KEY, Agent, GRPC_ADDRESS};
use portmeter_tests::capture::Capture;
use portmeter_tests::exactness;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::ordinary_user::{self, COUNTING, NAME, every_thread_has};
use portmeter_tests::rest::Rest;
use portmeter_tests::service_manager::{Notice, ServiceManager};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;
use portmeter_tests::unit_file::UnitFile;
use portmeter_tests::{command, needs};
use serde_json::json;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("what_the_unit_allows_is_enough", what_the_unit_allows_is_enough),
    ("the_units_are_hardened", the_units_are_hardened),
    ("the_agent_tells_how_it_is", the_agent_tells_how_it_is),
    (
        "a_writer_that_hangs_is_not_called_alive",
        a_writer_that_hangs_is_not_called_alive,
    ),
    ("the_gateway_tells_how_it_is", the_gateway_tells_how_it_is),
    (
        "a_gateway_that_ends_at_once_says_so",
        a_gateway_that_ends_at_once_says_so,
    ),
    ("an_agent_that_begins_anew_says_so", an_agent_that_begins_anew_says_so),
];

/// The most that `systemd-analyze security` may find, in tenths.
const EXPOSURE_MAX: &str = "20";

/// Word that came too late was lost in one end of fifty.
const QUICK_ENDS: usize = 200;

/// How often the played service manager wants to hear of a service.
const WATCHDOG: Duration = Duration::from_secs(6);

/// The unit's own capabilities, in the sets that its systemd would give them in, and no new privileges: a start, traffic, a
/// reload, a stop and a start, all counted.
fn what_the_unit_allows_is_enough() -> Result<()> {
    let pair = Pair::new()?;
    for name in ["portmeter.service", "portmeter-agent.service"] {
        let unit = UnitFile::read(name)?;
        ensure!(
            unit.value("NoNewPrivileges")? == "yes" && unit.value("User")? != "root",
            "{name}"
        );
        let (ambient, bounding) = (unit.list("AmbientCapabilities"), unit.list("CapabilityBoundingSet"));
        let mut agent = Agent::new(&pair.server)?;
        ordinary_user::make_reachable(&mut agent)?;
        ordinary_user::prepare(&agent, NAME)?;
        let sets = [
            format!("--inh-caps={}", capabilities(&ambient)),
            format!("--ambient-caps={}", capabilities(&ambient)),
            format!("--bounding-set={}", capabilities(&bounding)),
        ];
        let mut wrapper = vec![
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--no-new-privs",
        ];
        wrapper.extend(sets.iter().map(String::as_str));
        wrapper.push("--");
        agent.change_wrapper(&wrapper);
        counts_exactly(&pair, &mut agent).with_context(|| name.to_owned())?;
    }
    Ok(())
}

fn counts_exactly(pair: &Pair, agent: &mut Agent<'_>) -> Result<()> {
    agent.start()?;
    for (set, expected) in [
        ("CapEff", COUNTING),
        ("CapPrm", COUNTING),
        ("CapBnd", COUNTING),
        ("NoNewPrivs", 1),
    ] {
        every_thread_has(agent.process_id()?, set, expected)?;
    }
    let port = agent.rest().create_key("customer")?.port;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    send(pair, port)?;
    crate::reload::hang_up(agent)?;
    send(pair, port)?;
    agent.stop()?;
    send(pair, port)?;
    agent.start()?;
    send(pair, port)?;
    exactness::all_faces_equal(agent, &capture.finish(SERVER_V4.into())?, &[port])?;
    agent.stop()
}

/// `+bpf,+net_admin` for `CAP_BPF CAP_NET_ADMIN`, without all others.
fn capabilities(names: &[&str]) -> String {
    let plain = names.iter().map(|name| name.trim_start_matches("CAP_").to_lowercase());
    let added: Vec<String> = plain.map(|name| format!(",+{name}")).collect();
    format!("-all{}", added.concat())
}

fn send(pair: &Pair, port: u16) -> Result<()> {
    let transfer = Transfer::new(SERVER_V4, port, 40_000, 50_000);
    tcp::bulk(&pair.server, &pair.client, &[transfer])?;
    let address = SocketAddr::new(SERVER_V6.into(), port);
    udp::echoed(&pair.server, &pair.client, address, &[1, 1_000])
}

/// systemd's own judgement, without a running systemd.
fn the_units_are_hardened() -> Result<()> {
    needs::program("systemd-analyze", "systemd")?;
    for name in [
        "portmeter.service",
        "portmeter-agent.service",
        "portmeter-gateway.service",
    ] {
        let unit = UnitFile::read(name)?;
        let mut analyze = Command::new("systemd-analyze");
        analyze
            .args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX])
            .arg(unit.path());
        let said = command::output(&mut analyze).with_context(|| format!("{name} is exposed"))?;
        let verdict = said.lines().last().unwrap_or_default();
        println!("{}", verdict.trim());
        ensure!(verdict.contains("Overall exposure level"), "{said}");
    }
    Ok(())
}

/// A service's environment, as the played service manager has it.
fn managed<'lab>(agent: Agent<'lab>, manager: &ServiceManager) -> Agent<'lab> {
    agent
        .variable("NOTIFY_SOCKET", &manager.path().display().to_string())
        .variable("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string())
}

fn the_agent_tells_how_it_is() -> Result<()> {
    let host = Namespace::new("server")?;
    let manager = ServiceManager::listen()?;
    let mut agent = managed(Agent::new(&host)?, &manager);
    agent.begin_start()?;
    // How it is, in words for people, is there when it is ready.
    let status = manager.wait_until("a status", |notice| notice.get("STATUS").is_some())?;
    let status = status.get("STATUS").unwrap_or_default().to_owned();
    ensure!(status.starts_with("counting 100 ports on lo; 0 keys"), "{status}");
    manager.wait_for("READY")?;
    ensure!(agent.rest().is_ready(), "told to be ready before it is");
    ensure!(agent.read_log("stdout").is_empty(), "{}", agent.read_log("stdout"));
    // Alive more often than it has to be.
    for _ in 0..2 {
        manager.wait_for("WATCHDOG")?;
    }
    agent.rest().create_key("customer")?;
    manager.wait_until("a new status", |notice| says(notice, "1 keys"))?;

    crate::reload::hang_up(&agent)?;
    let reloading = manager.wait_for("RELOADING")?;
    let at: u64 = reloading.get("MONOTONIC_USEC").context("no MONOTONIC_USEC")?.parse()?;
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    let now = u64::try_from(now.tv_sec())? * 1_000_000;
    ensure!(at.abs_diff(now) < 120_000_000, "{at} is no moment of now, {now}");
    manager.wait_for("READY")?;

    agent.stop()?;
    manager.wait_for("STOPPING")?;
    Ok(())
}

fn says(notice: &Notice, part: &str) -> bool {
    notice.get("STATUS").is_some_and(|status| status.contains(part))
}

/// Somebody holds the ledger, so that its writer waits: the process is there, answers, and is not alive.
fn a_writer_that_hangs_is_not_called_alive() -> Result<()> {
    let host = Namespace::new("server")?;
    let manager = ServiceManager::listen()?;
    let mut agent = managed(Agent::new(&host)?, &manager);
    agent.start()?;
    manager.wait_for("WATCHDOG")?;
    let holder = Holder::of(&agent.data_folder().join("ledger.db"))?;
    // Somebody wants something written, and does not wait for it.
    let (address, key) = (portmeter_tests::agent::REST_ADDRESS, portmeter_tests::agent::API_KEY);
    let asked =
        format!("curl --silent --max-time 1 -H X-API-Key:{key} -d {{\"name\":\"a\"}} http://{address}/api/keys");
    ensure!(host.run(&asked).is_err(), "it was written");
    manager.wait_until("the trouble", |notice| says(notice, "writer does not answer"))?;
    ensure!(agent.rest().is_ready(), "answers go on");
    // From one word of trouble to the end of it, life is not told.
    drop(holder);
    let end = manager.wait_until("life or its end", |notice| {
        notice.says("WATCHDOG") || says(notice, "counting")
    })?;
    ensure!(end.says("WATCHDOG"), "{end:?}");
    manager.wait_until("the end of the trouble", |notice| says(notice, "counting"))?;
    agent.stop()
}

/// Another process that has begun to write to a database.
struct Holder(Child);

impl Holder {
    fn of(database: &std::path::Path) -> Result<Self> {
        let script = "import sqlite3, sys\n\
                      held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n\
                      held.execute('BEGIN IMMEDIATE')\n\
                      print('held', flush=True)\n\
                      sys.stdin.read()\n";
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(database);
        let mut holder = Self(python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut said = [0; 4];
        let stdout = holder.0.stdout.as_mut().context("it has no output")?;
        stdout.read_exact(&mut said).context("the ledger cannot be held")?;
        Ok(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn the_gateway_tells_how_it_is() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let manager = ServiceManager::listen()?;
    let mut gateway = gateway(&host, &manager)?;
    let told = tells_all(&gateway, &manager, &Rest::new(&host, "127.0.0.1:8001", API_KEY));
    ends_well(&mut gateway, told)?;
    drop(agent);
    Ok(())
}

/// One that nobody asks anything has nothing to finish, so it ends as quickly as it can: what it says must be out by then.
fn a_gateway_that_ends_at_once_says_so() -> Result<()> {
    let host = Namespace::new("server")?;
    let manager = ServiceManager::listen()?;
    for _ in 0..QUICK_ENDS {
        let mut gateway = gateway(&host, &manager)?;
        let told = manager
            .wait_for("READY")
            .and_then(|_| command::signal(&gateway, Signal::SIGTERM));
        ends_well(&mut gateway, told)?;
        manager.wait_for("STOPPING")?;
    }
    Ok(())
}

/// A gateway that the manager watches.
fn gateway(host: &Namespace, manager: &ServiceManager) -> Result<Child> {
    let mut gateway = Command::new(agent::binary().context("the binary")?);
    gateway
        .args(["gateway", "--agent", GRPC_ADDRESS, "--http", "127.0.0.1:8001"])
        .env("PORTMETER_API_KEY", API_KEY)
        .env("NOTIFY_SOCKET", manager.path())
        .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(host.spawn(&mut gateway)?)
}

/// After `told`, that is: one that has not told what it must is killed, so that nothing is left of it.
fn ends_well(gateway: &mut Child, told: Result<()>) -> Result<()> {
    let ended = match told.is_ok() {
        true => command::ended("the gateway", gateway),
        false => gateway.kill().and_then(|()| gateway.wait()).map_err(Into::into),
    };
    told?;
    ensure!(ended?.success(), "the gateway has not ended well");
    Ok(())
}

fn tells_all(gateway: &Child, manager: &ServiceManager, rest: &Rest<'_>) -> Result<()> {
    manager.wait_for("READY")?;
    ensure!(rest.is_ready(), "told to be ready before it is");
    for _ in 0..2 {
        manager.wait_for("WATCHDOG")?;
    }
    command::signal(gateway, Signal::SIGHUP)?;
    ensure!(
        manager.wait_for("RELOADING")?.get("MONOTONIC_USEC").is_some(),
        "no moment"
    );
    manager.wait_for("READY")?;
    command::signal(gateway, Signal::SIGTERM)?;
    manager.wait_for("STOPPING")?;
    Ok(())
}

/// Without systemd's help the process executes itself: for the service manager it is one that reloads.
fn an_agent_that_begins_anew_says_so() -> Result<()> {
    let host = Namespace::new("server")?;
    let manager = ServiceManager::listen()?;
    let mut agent = managed(Agent::new(&host)?, &manager);
    agent.start()?;
    manager.wait_for("READY")?;
    let process = agent.process_id()?;
    let asked = agent
        .rest()
        .post("/api/system/restart", Some(json!({"target": "ui"})))?;
    asked.expect_success()?;
    manager.wait_for("RELOADING")?;
    manager.wait_for("READY")?;
    ensure!(
        agent.rest().is_ready() && agent.process_id()? == process,
        "not the same process"
    );
    manager.wait_for("WATCHDOG")?;
    agent.stop()?;
    manager.wait_for("STOPPING")?;
    Ok(())
}
