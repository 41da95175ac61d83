//! The log: one line for each event, for people on a terminal and as JSON otherwise; more or less of it while the agent
//! runs; no secret in it at any level, and nobody's address above `debug`.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portmeter_tests::agent::{self, API_KEY, Agent, GRPC_ADDRESS};
use portmeter_tests::network::{CLIENT_V4, Pair};
use portmeter_tests::rest::Rest;
use portmeter_tests::xray::{Client, Site, Supervised};
use portmeter_tests::{command, wait};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("an_event_is_a_line_of_json", an_event_is_a_line_of_json),
    ("on_a_terminal_it_is_for_people", on_a_terminal_it_is_for_people),
    (
        "its_level_changes_while_the_agent_runs",
        its_level_changes_while_the_agent_runs,
    ),
    ("it_holds_no_secret_at_any_level", it_holds_no_secret_at_any_level),
];

/// A key of the right length that is not the right one.
const WRONG_KEY: &str = "b-key-for-the-stories";

/// Where REST listens for everybody, and where a client finds it.
const EVERYWHERE: &str = "0.0.0.0:8000";
const AT_SERVER: &str = "10.77.0.1:8000";

/// What everybody is told of who sends wrong keys, at `debug`.
const TOO_MANY: &str = "further wrong API keys of this minute are refused";

/// Every line of a log, which all have to be objects.
fn lines(log: &str) -> Result<Vec<Value>> {
    let read = |line: &str| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
    log.lines().map(read).collect()
}

fn an_event_is_a_line_of_json() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    agent.rest().delete_key(&key.id)?;
    agent.stop()?;
    let lines = lines(&agent.read_log("stderr"))?;
    for line in &lines {
        for name in ["timestamp", "level", "message", "target"] {
            ensure!(line[name].is_string(), "no {name} in {line}");
        }
    }
    let created = lines.iter().find(|line| line["message"] == "key created");
    let created = created.context("a created key is not told")?;
    ensure!(created["port"] == key.port && created["key_id"] == key.id, "{created}");
    let runs = lines.iter().find(|line| line["message"] == "the agent runs");
    let runs = runs.context("the start is not told")?;
    ensure!(
        runs["http"] == agent::REST_ADDRESS && runs["grpc"] == GRPC_ADDRESS,
        "{runs}"
    );
    Ok(())
}

/// `script` gives a program a terminal; what the program writes there it writes to its output.
fn on_a_terminal_it_is_for_people() -> Result<()> {
    let pair = Pair::new()?;
    let folder = tempfile::tempdir()?;
    let (binary, process) = (agent::binary().context("the binary")?, folder.path().join("process"));
    for (format, is_json) in [("auto", false), ("json", true)] {
        let line = format!(
            "echo $$ >{}; exec {} gateway --agent {GRPC_ADDRESS} --http 127.0.0.1:8001",
            process.display(),
            binary.display()
        );
        let output = folder.path().join(format);
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("PORTMETER_API_KEY", API_KEY)
            .env("PORTMETER_LOG__FORMAT", format)
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::null())
            .stdout(fs::File::create(&output)?)
            .stderr(Stdio::null());
        let mut script = pair.server.spawn(&mut script)?;
        let served = wait::until("the gateway says that it serves", || {
            Ok(fs::read_to_string(&output)?.contains("REST is served"))
        });
        let id: i32 = fs::read_to_string(&process)?.trim().parse()?;
        kill(Pid::from_raw(id), Signal::SIGTERM)?;
        command::ended("the terminal", &mut script)?;
        served?;
        let said = fs::read_to_string(&output)?;
        let line = said
            .lines()
            .find(|line| line.contains("REST is served"))
            .unwrap_or_default();
        ensure!(line.starts_with('{') == is_json, "{format}: {said}");
        if !is_json {
            let plain = without_colours(line);
            ensure!(plain.contains("INFO REST is served address=127.0.0.1:8001"), "{plain}");
        }
    }
    Ok(())
}

/// A line without the sequences that colour it.
fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}

/// By the settings and by a reload, with what is set over what is configured.
fn its_level_changes_while_the_agent_runs() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::new(&pair.server)?
        .rest_at(EVERYWHERE)
        .argument("--config")
        .argument("portmeter.toml");
    let file = agent.home().join("portmeter.toml");
    // One wrong key may pass; the second is told of at debug, once a minute for each address.
    let written = |level: &str| format!("[log]\nlevel = \"{level}\"\n[http]\nfailed_keys_per_minute = 1\n");
    fs::write(&file, written("warn"))?;
    let agent = agent.started_in_place()?;
    let rest = Rest::new(&pair.server, agent::REST_ADDRESS, API_KEY);
    let guess = |from: &str| -> Result<()> {
        pair.client.run(&format!("ip address replace {from}/24 dev eth0"))?;
        for _ in 0..2 {
            let line = format!("curl --silent --interface {from} -H X-API-Key:{WRONG_KEY} http://{AT_SERVER}/api/keys");
            pair.client.run(&line)?;
        }
        Ok(())
    };
    let told = || agent.read_log("stderr").matches(TOO_MANY).count();
    let has_line = |part: &str| agent.read_log("stderr").contains(part);
    guess("10.77.0.10")?;
    ensure!(!has_line("the agent runs"), "info is told at warn");

    set_level(&rest, "debug")?;
    guess("10.77.0.11")?;
    ensure!(told() == 1 && has_line("10.77.0.11"), "debug is not told");
    ensure!(shown_level(&rest)? == "debug", "the settings do not show it");

    // What is set wins over the file, also when that is read again.
    fs::write(&file, written("info"))?;
    reload(&agent, "log.level")?;
    guess("10.77.0.12")?;
    ensure!(told() == 2, "a reload has taken back what was set");

    // Set back to what is configured, it follows the file again.
    set_level(&rest, "info")?;
    guess("10.77.0.13")?;
    ensure!(told() == 2, "debug is told at info");
    fs::write(&file, written("debug"))?;
    reload(&agent, "log.level")?;
    guess("10.77.0.14")?;
    ensure!(told() == 3, "a reload does not change the level");
    let refused = rest.post("/api/settings", Some(json!({"log": {"level": "loud"}})))?;
    ensure!(
        refused.status == 400 && refused.body.to_string().contains("log.level"),
        "{refused:?}"
    );
    Ok(())
}

fn set_level(rest: &Rest<'_>, level: &str) -> Result<()> {
    rest.post("/api/settings", Some(json!({"log": {"level": level}})))?
        .expect_success()?;
    Ok(())
}

fn shown_level(rest: &Rest<'_>) -> Result<String> {
    let settings = rest.shown("/api/settings")?;
    Ok(settings["settings"]["log"]["level"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// Has the configuration read again, and waits until an event says so of `setting`.
fn reload(agent: &Agent<'_>, setting: &str) -> Result<()> {
    let rest = Rest::new(agent.host(), agent::REST_ADDRESS, API_KEY);
    let events = || -> Result<usize> {
        let events = portmeter_tests::events::listed(&rest, "type=SETTINGS")?;
        let messages = events.iter().filter_map(|event| event["message"].as_str());
        Ok(messages
            .filter(|message| message.contains("read anew") && message.contains(setting))
            .count())
    };
    let before = events()?;
    crate::reload::hang_up(agent)?;
    wait::until("the configuration has been read again", || Ok(events()? > before))
}

/// A day in the life of a server at its most talkative: keys, links, customers, wrong keys, a rotation, a refusal.
fn it_holds_no_secret_at_any_level() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::new(&pair.server, &site)?;
    agent.change_variable("PORTMETER_LOG", "trace");
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    let shown = agent.rest().shown(&format!("/api/keys/{}/config", key.id))?;
    let (link, subscription) = (text(&shown, "vless_url")?, text(&shown, "subscription_path")?);
    let token = subscription.rsplit('/').next().unwrap_or_default().to_owned();
    agent.rest().get(&format!("/api/keys/{}/qr.svg", key.id))?;
    agent.rest().get(&subscription)?;
    Client::start(&pair.client, &agent.link(&key)?)?.works()?;
    // The core is told before its file is written.
    let private_key = wait::until_some("the core's configuration has the inbound", || {
        Ok(private_key(&agent.read_core_configuration()?))
    })?;
    for client in [
        Rest::new(&pair.server, agent::REST_ADDRESS, WRONG_KEY),
        Rest::new(&pair.server, agent::REST_ADDRESS, "short"),
    ] {
        ensure!(client.get("/api/keys")?.status == 401, "a wrong key is let in");
    }
    ensure!(
        agent.grpc_over_tcp(Some(WRONG_KEY))?.keys_refused_with().is_some(),
        "over gRPC"
    );
    ensure!(agent.grpc_over_tcp(Some(API_KEY))?.keys()?.len() == 1, "over gRPC");
    agent.rest().post("/api/system/verify-reality", None)?;
    agent.rest().delete_key(&key.id)?;
    agent.stop()?;

    let log = agent.read_log("stderr") + &agent.read_log("stdout");
    let link_name = link.split('?').next().unwrap_or_default();
    for (what, secret) in [
        ("the API key", API_KEY),
        ("a wrong API key", WRONG_KEY),
        ("a link", link_name),
        ("a subscription's token", token.as_str()),
        ("the private key", private_key.as_str()),
    ] {
        ensure!(secret.len() >= 16, "{what} is no secret: {secret}");
        ensure!(!log.contains(secret), "{what} is in the log");
    }
    for line in lines(&agent.read_log("stderr"))? {
        let is_quiet = ["DEBUG", "TRACE"].contains(&line["level"].as_str().unwrap_or_default());
        ensure!(
            is_quiet || !line.to_string().contains(&CLIENT_V4.to_string()),
            "a client's address: {line}"
        );
    }
    Ok(())
}

fn text(value: &Value, name: &str) -> Result<String> {
    let found = value[name].as_str();
    Ok(found.with_context(|| format!("{name} in {value}"))?.to_owned())
}

/// The REALITY private key in the core's configuration.
fn private_key(configuration: &Value) -> Option<String> {
    let inbounds = configuration["inbounds"].as_array()?;
    let found = inbounds
        .iter()
        .find_map(|inbound| inbound["streamSettings"]["realitySettings"]["privateKey"].as_str());
    found.map(str::to_owned)
}
