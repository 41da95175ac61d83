//! The header of the panel: the host, the services, and restarts that nobody's traffic notices.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::ordinary_user::{self, COUNTING, NAME, every_thread_has};
use portmeter_tests::rest::Answer;
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::settle;
use portmeter_tests::xray::{Client, Site, Supervised};
use portmeter_tests::{exactness, ledger_file, wait};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("the_resources_are_this_hosts", the_resources_are_this_hosts),
    ("a_front_end_that_comes_and_goes", a_front_end_that_comes_and_goes),
    ("an_agent_begins_anew_under_traffic", || {
        an_agent_begins_anew_under_traffic(|_| Ok(()))
    }),
    ("an_agent_with_filters_begins_anew", || {
        an_agent_begins_anew_under_traffic(|agent| {
            agent.change_variable("PORTMETER_CAPTURE__HOOK", "clsact");
            Ok(())
        })
    }),
    ("an_ordinary_users_agent_begins_anew", || {
        an_agent_begins_anew_under_traffic(|agent| {
            agent.change_wrapper(&ordinary_user::WITH_RIGHTS);
            ordinary_user::make_reachable(agent)?;
            ordinary_user::prepare(agent, NAME)?;
            Ok(())
        })
    }),
    ("the_core_goes_on_beside_a_restart", the_core_goes_on_beside_a_restart),
    ("a_restarted_core_keeps_its_keys", a_restarted_core_keeps_its_keys),
    ("nothing_else_is_restarted", nothing_else_is_restarted),
    (
        "a_restart_that_would_fail_is_refused",
        a_restart_that_would_fail_is_refused,
    ),
];

const BYTES_PER_SECOND: u64 = 1_000_000;
/// Longer than a story can take.
const DOWNLOAD_SECONDS: u64 = 300;
/// Passes before, while and after an agent begins anew.
const PASSES: u64 = 1_000_000;

fn the_resources_are_this_hosts() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let shown = agent.rest().shown("/api/system/resources")?;
    let count = fs::read_to_string("/proc/stat")?
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    ensure!(shown["cpu"]["count"] == count, "{shown:#}");
    let memory = memory_bytes("MemTotal")?;
    ensure!(shown["memory"]["total"] == memory, "{shown:#}");
    let disk = statvfs("/")?;
    ensure!(
        shown["disk"]["total"] == disk.blocks() * disk.fragment_size(),
        "{shown:#}"
    );
    let figure = |part: &str, name: &str| shown[part][name].as_u64().context("a figure");
    ensure!(
        figure("memory", "used")? + figure("memory", "available")? == memory,
        "{shown:#}"
    );
    // What is available moves all the time, by much less than this.
    let available = memory_bytes("MemAvailable")?;
    ensure!(
        figure("memory", "available")?.abs_diff(available) < memory / 2,
        "{available} are available, {shown:#}"
    );
    for part in ["cpu", "memory", "disk"] {
        let percent = shown[part]["percent"].as_f64().context("a share")?;
        ensure!((0.0..=100.0).contains(&percent), "{shown:#}");
    }
    ensure!(shown["ram"] == shown["memory"]["percent"], "{shown:#}");
    let ping = agent.rest().shown("/api/ping")?;
    ensure!(ping["message"] == "pong", "{ping}");
    Ok(())
}

fn memory_bytes(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib: u64 = line.context("a line")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

fn a_front_end_that_comes_and_goes() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_PANEL__URL", "http://127.0.0.1:3000/login");
    agent.start()?;
    let status = || agent.rest().shown("/api/system/status");
    let front_end = |state: &str, status_code: u16| {
        json!({
            "active": state == "active", "state": state, "port": 3000, "url": "http://127.0.0.1:3000/login",
            "status_code": status_code,
        })
    };
    let shown = status()?;
    ensure!(shown["nextjs"] == front_end("inactive", 0), "{shown:#}");
    ensure!(
        shown["ui"] == json!({"active": true, "state": "active", "service": "portmeter"}),
        "{shown:#}"
    );
    ensure!(shown["xray"]["state"] == "unknown", "{shown:#}");
    {
        let listener = pair.server.enter(|| TcpListener::bind("127.0.0.1:3000"))?;
        let served = pair.server.spawn_thread(move || -> Result<()> {
            for status in ["200 OK", "503 No"] {
                let (mut stream, _) = listener.accept()?;
                ensure!(stream.read(&mut [0; 1024])? > 0, "no request");
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nhello")?;
            }
            Ok(())
        })?;
        let shown = status()?;
        ensure!(shown["nextjs"] == front_end("active", 200), "{shown:#}");
        let shown = status()?;
        ensure!(shown["nextjs"] == front_end("failed", 503), "{shown:#}");
        served.join().expect("the front end's thread")?;
    }
    wait::until("the front end is gone", || {
        Ok(status()?["nextjs"] == front_end("inactive", 0))
    })
}

/// Not a byte, a connection or a counter is lost, and the same process goes on with the rights it had.
fn an_agent_begins_anew_under_traffic(change: fn(&mut Agent<'_>) -> Result<()>) -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.argument("--detach-on-exit");
    change(&mut agent)?;
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let stream = Background::tcp(&pair.server, &pair.client, SocketAddr::new(SERVER_V4.into(), key.port))?;
    stream.wait_for(PASSES)?;
    let life = agent.grpc()?.state()?.map_life;
    let process = agent.process_id()?;
    for _ in 0..2 {
        agent.begin_anew()?;
        ensure!(agent.grpc()?.state()?.map_life == life, "other counters");
        stream.wait_for(PASSES)?;
    }
    ensure!(agent.process_id()? == process, "another process");
    for set in ["CapPrm", "CapEff"] {
        every_thread_has(process, set, COUNTING)?;
    }
    for set in ["CapInh", "CapAmb"] {
        every_thread_has(process, set, 0)?;
    }
    let connections = agent.rest().connections_of(&key.id)?;
    ensure!(connections.active == 1 && connections.opened == 1, "{connections:?}");
    ensure!(
        events(&agent)?
            .iter()
            .filter(|event| *event == "system warning restart_ui")
            .count()
            == 2,
        "{:?}",
        events(&agent)?
    );
    stream.stop()?;
    settle::tcp_is_over(&pair.server, &pair.client)?;
    exactness::all_faces_equal(&agent, &capture.finish(SERVER_V4.into())?, &[key.port])?;
    // And it can be stopped like any other, which detaches it.
    agent.stop()?;
    let counters = agent.pin_folder().join("maps/port_counters");
    ensure!(!counters.exists(), "{} stays behind", counters.display());
    Ok(())
}

fn the_core_goes_on_beside_a_restart() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::new(&pair.server, &site)?;
    // Which is about a stop.
    agent.change_variable("PORTMETER_XRAY__STOP_WITH_AGENT", "true");
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    let client = Client::start(&pair.client, &agent.link(&key)?)?;
    let download = client.download(BYTES_PER_SECOND, DOWNLOAD_SECONDS)?;
    download.wait_for(BYTES_PER_SECOND / 2)?;
    let core = agent.core_process_id()?;
    agent.begin_anew()?;
    download.wait_for(BYTES_PER_SECOND / 2)?;
    ensure!(!download.has_ended(), "the download was broken off");
    ensure!(agent.core_process_id()? == core, "another core");
    agent.wait_until_synchronized()?;
    client.works()?;
    // The core is the child of a process that has forgotten it: it is watched all the same, and leaves nothing behind.
    agent.kill_core()?;
    agent.wait_until_open(std::slice::from_ref(&key))?;
    client.works()?;
    wait::until("nothing is left of the killed core", || {
        Ok(!std::path::Path::new(&format!("/proc/{core}")).exists())
    })
}

fn a_restarted_core_keeps_its_keys() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let keys = agent.rest().create_keys(3)?;
    let core = agent.core_process_id()?;
    let shown = agent.rest().shown("/api/system/status")?;
    ensure!(
        shown["xray"] == json!({"active": true, "state": "active", "service": "xray"}),
        "{shown:#}"
    );
    let answer = restart(&agent, "xray")?.expect_success()?;
    ensure!(
        answer == json!({"ok": true, "message": "restarted", "service": "xray"}),
        "{answer}"
    );
    ensure!(agent.core_process_id()? != core, "the same core");
    agent.wait_until_open(&keys)?;
    for key in &keys {
        Client::start_humbly(&pair.client, &agent.link(key)?)?.works()?;
    }
    let events = events(&agent)?;
    ensure!(
        events.iter().any(|event| event == "system warning restart_xray"),
        "{events:?}"
    );
    Ok(())
}

fn nothing_else_is_restarted() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let started = agent.grpc()?.state()?.started_at;
    for target in ["", "agent", "sshd.service", "../ui", "ui xray"] {
        let refused = restart(&agent, target)?;
        ensure!(refused.status == 400, "{target}: {refused:?}");
        let text = format!("invalid_target: {target}. Valid: ui, xray, nextjs");
        ensure!(
            refused.body == json!({"ok": false, "error": text, "code": 400}),
            "{refused:?}"
        );
    }
    for (target, text) in [
        ("xray", "xray.mode is none"),
        (
            "nextjs",
            "No systemd unit is configured for the front end (panel.service)",
        ),
    ] {
        let refused = restart(&agent, target)?;
        ensure!(
            refused.body == json!({"ok": false, "error": text, "code": 500}),
            "{refused:?}"
        );
    }
    ensure!(agent.grpc()?.state()?.started_at == started, "the agent was restarted");
    let events = events(&agent)?;
    for action in ["system error restart_xray", "system error restart_nextjs"] {
        ensure!(events.iter().any(|event| event == action), "{events:?}");
    }
    Ok(())
}

/// What would keep the next start from succeeding is found while this agent still runs.
fn a_restart_that_would_fail_is_refused() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::new(&pair.server)?;
    let file = agent.home().join("portmeter.toml");
    fs::write(&file, "[ledger]\ncommit_interval_seconds = 1\n")?;
    let mut agent = agent.argument("--config").argument("portmeter.toml");
    agent.start()?;
    let started = agent.grpc()?.state()?.started_at;
    for bad in [
        "[ledger]\ncommit_interval_seconds = 0\n",
        "[ledger\n",
        "[http]\nlisten = \"127.0.0.1:80\"\n",
    ] {
        fs::write(&file, bad)?;
        let refused = restart(&agent, "ui")?;
        ensure!(refused.status == 500, "{refused:?}");
        let text = refused.body["error"].as_str().context("a sentence")?;
        ensure!(
            text.contains("would not come up again") && !text.contains('/'),
            "{text}"
        );
    }
    ensure!(agent.rest().is_ready(), "it is not ready");
    ensure!(agent.grpc()?.state()?.started_at == started, "the agent was restarted");
    fs::write(&file, "[ledger]\ncommit_interval_seconds = 2\n")?;
    agent.begin_anew()
}

fn restart(agent: &Agent<'_>, target: &str) -> Result<Answer> {
    agent
        .rest()
        .post("/api/system/restart", Some(json!({ "target": target })))
}

/// Every event of the ledger: type, severity and action.
fn events(agent: &Agent<'_>) -> Result<Vec<String>> {
    let rows = ledger_file::query(&agent.data_folder(), "SELECT type, severity, action FROM events")?;
    let words = |row: &Vec<Value>| row.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    Ok(rows.iter().map(words).collect())
}
