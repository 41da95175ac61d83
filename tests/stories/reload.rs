//! SIGHUP: the configuration is read again while the agent runs, and nothing that is wrong with it ends anything.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portmeter_proto::v1::GetCollectorRequest;
use portmeter_proto::v1::collector_service_client::CollectorServiceClient;
use portmeter_tests::agent::{self, API_KEY, Agent, GRPC_ADDRESS};
use portmeter_tests::events::listed;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::rest::Rest;
use portmeter_tests::service_manager::ServiceManager;
use portmeter_tests::traffic::background::Background;
use portmeter_tests::{command, count, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    (
        "what_can_change_does_without_a_break",
        what_can_change_does_without_a_break,
    ),
    ("a_broken_file_changes_nothing", a_broken_file_changes_nothing),
    ("what_cannot_be_meant_is_taken_back", what_cannot_be_meant_is_taken_back),
    ("a_gateway_apart_reloads", a_gateway_apart_reloads),
    (
        "wrong_settings_are_told_with_line_and_remedy",
        wrong_settings_are_told_with_line_and_remedy,
    ),
];

/// Tells an agent to read its configuration again.
pub(crate) fn hang_up(agent: &Agent<'_>) -> Result<()> {
    let process = Pid::from_raw(i32::try_from(agent.process_id()?)?);
    Ok(kill(process, Signal::SIGHUP)?)
}

/// An agent with a configuration file of the story's, and a service manager that hears when it has been read.
struct Configured<'lab> {
    agent: Agent<'lab>,
    manager: ServiceManager,
    file: PathBuf,
}

impl<'lab> Configured<'lab> {
    fn started(host: &'lab Namespace, text: &str) -> Result<Self> {
        let manager = ServiceManager::listen()?;
        let agent = Agent::new(host)?
            .argument("--config")
            .argument("portmeter.toml")
            .variable("NOTIFY_SOCKET", &manager.path().display().to_string());
        let file = agent.home().join("portmeter.toml");
        fs::write(&file, text)?;
        let agent = agent.started_in_place()?;
        manager.wait_for("READY")?;
        Ok(Self { agent, manager, file })
    }

    /// Writes the file, has it read, and waits until that is over.
    fn reload(&self, text: &str) -> Result<()> {
        fs::write(&self.file, text)?;
        hang_up(&self.agent)?;
        self.manager.wait_for("RELOADING")?;
        self.manager.wait_for("READY")?;
        Ok(())
    }

    /// What the last event of a reload says.
    fn last_event(&self) -> Result<String> {
        let events = listed(self.agent.rest(), "type=SETTINGS")?;
        let last = events.last().context("no event")?;
        Ok(last["message"].as_str().unwrap_or_default().to_owned())
    }
}

fn what_can_change_does_without_a_break() -> Result<()> {
    let pair = Pair::new()?;
    let one = Configured::started(&pair.server, "[ledger]\ncommit_interval_seconds = 60\n")?;
    let port = one.agent.rest().create_key("customer")?.port;
    let stream = Background::tcp(&pair.server, &pair.client, (SERVER_V4, port).into())?;
    stream.wait_for(100_000)?;
    let (process, state) = (one.agent.process_id()?, one.agent.grpc()?.state()?);
    let links = || -> Result<String> {
        let keys = one.agent.rest().shown("/api/keys")?;
        let id = keys[0]["id"].as_str().context("no key")?.to_owned();
        Ok(one.agent.rest().shown(&format!("/api/keys/{id}/config"))?.to_string())
    };
    ensure!(!links()?.contains("reload.example"), "{}", links()?);

    one.reload(
        "[ledger]\ncommit_interval_seconds = 1\n[http]\npanel_auth = \"open\"\npublic_url = \"https://reload.example/\"\n\
         [xray]\nserver_host = \"host.reload.example\"\n[log]\nlevel = \"debug\"\n[capture]\nports = \"10001-10200\"\n",
    )?;
    let link = links()?;
    ensure!(
        link.contains("https://reload.example/sub/") && link.contains("host.reload.example"),
        "{link}"
    );
    let without_key = Rest::new(&pair.server, agent::REST_ADDRESS, "no-key-at-all-here");
    ensure!(without_key.get("/api/live/now")?.status == 200, "the panel is not open");
    ensure!(
        commit_interval_seconds(&one.agent)? == 1,
        "it commits as seldom as before"
    );
    let event = one.last_event()?;
    ensure!(
        event.contains("in force: ") && event.contains("ledger.commit_interval_seconds") && event.contains("log.level"),
        "{event}"
    );
    ensure!(event.contains("after a restart: capture.ports"), "{event}");
    ensure!(
        one.agent
            .read_log("stderr")
            .contains("\"needs_restart\":\"capture.ports\""),
        "the log does not say what waits"
    );

    // And back; the same process counts the same stream all the time.
    one.reload("[http]\npanel_auth = \"key\"\n")?;
    ensure!(without_key.get("/api/live/now")?.status == 401, "the panel stays open");
    ensure!(!links()?.contains("reload.example"), "{}", links()?);
    stream.wait_for(100_000)?;
    ensure!(one.agent.process_id()? == process, "another process");
    ensure!(one.agent.grpc()?.state()?.map_life == state.map_life, "other counters");
    stream.stop()?;
    let counted = count::of(&one.agent.rest().counts()?, port);
    ensure!(counted.bytes() > 200_000, "{counted:?}");
    Ok(())
}

fn commit_interval_seconds(agent: &Agent<'_>) -> Result<u64> {
    let grpc = agent.grpc()?;
    let mut client = CollectorServiceClient::new(grpc.channel());
    let answer = grpc.block_on(client.get_collector(grpc.request(GetCollectorRequest {})))?;
    let collector = answer.into_inner().collector;
    Ok(collector.context("no collector")?.commit_interval_seconds.into())
}

fn a_broken_file_changes_nothing() -> Result<()> {
    let host = Namespace::new("server")?;
    let one = Configured::started(&host, "[http]\npublic_url = \"https://first.example\"\n")?;
    let id = one.agent.rest().create_key("customer")?.id;
    for (text, line) in [
        ("[http\n", 1),
        ("[http]\n\npublic_url = 5\nlisten = \"nowhere\"\n", 4),
        ("[htp]\n", 1),
    ] {
        one.reload(text)?;
        let shown = one.agent.rest().shown(&format!("/api/keys/{id}/config"))?;
        ensure!(shown.to_string().contains("https://first.example"), "{shown}");
        let event = one.last_event()?;
        ensure!(event.contains("the earlier one stays in force"), "{event}");
        ensure!(
            !event.contains(&one.file.display().to_string()),
            "where files lie is nobody's business: {event}"
        );
        let place = format!("portmeter.toml, line {line}: ");
        let log = one.agent.read_log("stderr");
        ensure!(
            log.contains(&place) && log.contains("the configuration is wrong"),
            "no {place:?} in {log}"
        );
    }
    fs::remove_file(&one.file)?;
    hang_up(&one.agent)?;
    one.manager.wait_for("READY")?;
    ensure!(one.agent.rest().is_ready(), "a file that is gone has ended the agent");
    one.reload("")?;
    let shown = one.agent.rest().shown(&format!("/api/keys/{id}/config"))?;
    ensure!(!shown.to_string().contains("first.example"), "{shown}");
    Ok(())
}

/// A mistyped interface ends no counting, and the rest of the same file is taken over.
fn what_cannot_be_meant_is_taken_back() -> Result<()> {
    let pair = Pair::new()?;
    let one = Configured::started(&pair.server, "")?;
    let attached = one.agent.grpc()?.is_attached("eth0")?;
    one.reload("[capture]\ninterfaces = [\"nothing0\"]\n[events]\nretention_days = 7\n")?;
    ensure!(
        attached && one.agent.grpc()?.is_attached("eth0")?,
        "eth0 is counted no longer"
    );
    let event = one.last_event()?;
    ensure!(
        event.contains("in force: events.retention_days") && event.contains("not taken over: capture.interfaces"),
        "{event}"
    );
    one.reload("[capture]\ninterfaces = [\"eth0\"]\n")?;
    wait::until("only eth0 is counted", || {
        let grpc = one.agent.grpc()?;
        Ok(grpc.is_attached("eth0")? && !grpc.is_attached("lo")?)
    })?;
    one.reload("")?;
    wait::until("lo is counted again", || one.agent.grpc()?.is_attached("lo"))
}

fn a_gateway_apart_reloads() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let manager = ServiceManager::listen()?;
    let file = agent.home().join("gateway.toml");
    let write = |panel: &str| {
        let text = format!(
            "[gateway]\nagent = \"{GRPC_ADDRESS}\"\n[http]\nlisten = \"127.0.0.1:8001\"\npanel_auth = \"{panel}\"\n\
             # The agent's, in the same file.\n[ledger]\ncommit_interval_seconds = 7\n"
        );
        fs::write(&file, text)
    };
    write("key")?;
    let mut gateway = Command::new(agent::binary().context("the binary")?);
    gateway
        .args(["gateway", "--config"])
        .arg(&file)
        .env("PORTMETER_API_KEY", API_KEY)
        .env("NOTIFY_SOCKET", manager.path())
        .stdout(Stdio::null())
        .stderr(fs::File::create(agent.home().join("gateway.log"))?);
    let gateway = Ended(host.spawn(&mut gateway)?);
    manager.wait_for("READY")?;
    let reload = || -> Result<()> {
        command::signal(&gateway.0, Signal::SIGHUP)?;
        manager.wait_for("RELOADING")?;
        manager.wait_for("READY")?;
        Ok(())
    };
    let without_key = Rest::new(&host, "127.0.0.1:8001", "no-key-at-all-here");
    ensure!(without_key.get("/api/live/now")?.status == 401, "open from the start");
    write("open")?;
    reload()?;
    ensure!(without_key.get("/api/live/now")?.status == 200, "the panel is not open");
    write("ajar")?;
    reload()?;
    let log = fs::read_to_string(agent.home().join("gateway.log"))?;
    ensure!(
        log.contains("gateway.toml, line 5: ") && log.contains("is none of"),
        "{log}"
    );
    ensure!(
        without_key.get("/api/live/now")?.status == 200,
        "a broken file has closed the panel"
    );
    Ok(())
}

/// A process, ended when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wrong_settings_are_told_with_line_and_remedy() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::new(&host)?;
    let text = "[http]\nlissten = \"127.0.0.1:1\"\n[capture]\nports = \"1-\"\n\n[ledger]\ncommit_interval_seconds = \"often\"\n";
    fs::write(agent.home().join("wrong.toml"), text)?;
    let mut check = agent.portmeter(&["check-config", "--config", "wrong.toml"]);
    let said = host.enter(|| command::output_in_time(&mut check))?;
    let (status, said) = (said.status, String::from_utf8_lossy(&said.stderr).into_owned());
    ensure!(!status.success(), "{said}");
    for part in [
        "wrong.toml, line 2: `http.lissten`: there is no such setting; did you mean `http.listen`?",
        "wrong.toml, line 4: `capture.ports`: \"1-\" is neither a port",
        "wrong.toml, line 7: `ledger.commit_interval_seconds`: \"often\" cannot be used",
    ] {
        ensure!(said.contains(part), "no {part:?} in\n{said}");
    }
    ensure!(said.lines().count() == 3, "{said}");

    // The same for a gateway, with what is its own.
    fs::write(
        agent.home().join("gateway.toml"),
        "[gateway]\nagent_key = \"/k\"\n[http]\ntls = \"self-signed\"\n",
    )?;
    let mut check = agent.wrapped(&["check-config", "--gateway", "--config", "gateway.toml"]);
    let said = host.enter(|| command::output_in_time(&mut check))?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(
        said.contains("line 2: `gateway.agent_key`") && said.contains("line 4: `http.tls`"),
        "{said}"
    );

    // The example is a configuration, and changes nothing.
    let mut example = agent.wrapped(&["check-config", "--example"]);
    let example = host.enter(|| command::output(&mut example))?;
    fs::write(agent.home().join("example.toml"), &example)?;
    let mut check = agent.portmeter(&["check-config", "--config", "example.toml"]);
    let said = host.enter(|| command::output(&mut check))?;
    ensure!(said == "the configuration is good\n", "{said}");
    Ok(())
}
