//! Starts that must fail: with one sentence that says what to do, and without a trace.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::{self, Agent};
use portmeter_tests::command;
use portmeter_tests::metrics::METRICS_ADDRESS;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::Pair;
use portmeter_tests::snapshot::{self, Snapshot};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("not_root", not_root),
    ("no_right_to_load_programs", no_right_to_load_programs),
    ("a_port_is_taken", a_port_is_taken),
    ("the_data_is_in_use", the_data_is_in_use),
    ("the_instance_is_in_use", the_instance_is_in_use),
    ("the_database_is_newer", the_database_is_newer),
    ("a_bad_configuration", a_bad_configuration),
    ("no_named_interface_exists", no_named_interface_exists),
];

/// The user that owns nothing.
const NOBODY: &str = "65534";

fn not_root() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::new(&host)?.through(&["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    // What has nothing to do with it is open to everybody.
    fs::set_permissions(agent.home(), fs::Permissions::from_mode(0o777))?;
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(sentence.contains("run it as root"), "{sentence}");
    Ok(())
}

/// Root in name only, as in many containers.
fn no_right_to_load_programs() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::new(&host)?.through(&["setpriv", "--bounding-set", "-bpf,-sys_admin,-perfmon"]);
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(
        sentence.contains("BPF") && sentence.contains("run it as root"),
        "{sentence}"
    );
    Ok(())
}

fn a_port_is_taken() -> Result<()> {
    let host = Namespace::new("server")?;
    for address in [agent::REST_ADDRESS, agent::GRPC_ADDRESS, METRICS_ADDRESS] {
        let _holder = host.enter(|| TcpListener::bind(address))?;
        let agent = Agent::new(&host)?;
        let sentence = refused(&agent, &mut agent.command())?;
        ensure!(
            sentence.contains(address) && sentence.contains("choose another"),
            "{sentence}"
        );
    }
    // Where there was an agent before, its data and its counters stay as they are.
    let mut agent = Agent::started(&host)?;
    agent.rest().create_keys(1)?;
    agent.stop()?;
    let _holder = host.enter(|| TcpListener::bind(agent::REST_ADDRESS))?;
    refused(&agent, &mut agent.command())?;
    Ok(())
}

/// Two agents on one data folder; the first one does not notice.
fn the_data_is_in_use() -> Result<()> {
    let host = Namespace::new("server")?;
    let running = Agent::started(&host)?;
    let key = running.rest().create_key("customer")?;
    let life = running.grpc()?.state()?.map_life;
    let other = elsewhere(Agent::new(&host)?);
    let mut command = other.command_as(other.instance(), &running.data_folder());
    let sentence = refused_beside(&running, &host, &mut command)?;
    ensure!(sentence.contains("choose another --data-dir"), "{sentence}");
    ensure!(
        !other.pin_folder().exists() && !other.run_folder().exists(),
        "a refused start has left a trace"
    );
    ensure!(
        running.rest().keys()? == [key] && running.grpc()?.state()?.map_life == life,
        "the first one noticed"
    );
    Ok(())
}

/// Two agents of one name, also from different namespaces: pins and socket are the machine's.
fn the_instance_is_in_use() -> Result<()> {
    let pair = Pair::new()?;
    let running = Agent::started(&pair.server)?;
    let key = running.rest().create_key("customer")?;
    for host in [&pair.server, &pair.client] {
        let other = elsewhere(Agent::new(host)?);
        let mut command = other.command_as(running.instance(), &other.data_folder());
        let sentence = refused_beside(&running, host, &mut command)?;
        ensure!(
            sentence.contains(running.instance()) && sentence.contains("choose another --instance"),
            "{sentence}"
        );
        ensure!(!other.data_folder().exists(), "a refused start has made a data folder");
    }
    ensure!(running.rest().keys()? == [key], "the first one noticed");
    Ok(())
}

/// An agent whose listeners are in nobody's way.
fn elsewhere(agent: Agent<'_>) -> Agent<'_> {
    agent
        .argument("--http")
        .argument("127.0.0.1:8001")
        .argument("--grpc")
        .argument("127.0.0.1:50052")
        .argument("--metrics")
        .argument("127.0.0.1:9437")
}

fn the_database_is_newer() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = Agent::started(&host)?;
    agent.rest().create_keys(1)?;
    agent.stop()?;
    raise_schema_version(&agent)?;
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(sentence.contains("run the newer version"), "{sentence}");
    Ok(())
}

fn a_bad_configuration() -> Result<()> {
    let host = Namespace::new("server")?;
    let tried = VALUES
        .map(|value| a_bad_value(&host, value))
        .into_iter()
        .chain(FILES.map(|file| a_bad_file(&host, file)));
    let wrong: Vec<String> = tried
        .filter_map(|tried| tried.err().map(|error| format!("{error:#}")))
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));

    let agent = Agent::new(&host)?;
    let sentence = refused(&agent, &mut agent.command_as("Not A Name", &agent.data_folder()))?;
    ensure!(sentence.contains("instance"), "{sentence}");
    let agent = Agent::new(&host)?.argument("--config").argument("missing.toml");
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(sentence.contains("missing.toml"), "{sentence}");
    Ok(())
}

/// Environment variables with values that cannot be, and what the sentence must name.
const VALUES: [(&str, &str, &str); 8] = [
    ("PORTMETER_CAPTURE__HOOK", "socket", "hook"),
    ("PORTMETER_CAPTURE__PORTS", "10001-", "ports"),
    ("PORTMETER_CAPTURE__PORTS", "10100-10001", "ports"),
    ("PORTMETER_HTTP__LISTEN", "everywhere", "listen"),
    ("PORTMETER_METRICS__LISTEN", "0.0.0.0:9435", "allow_on_network"),
    ("PORTMETER_LEDGER__TIME_ZONE", "Atlantis/Capital", "time_zone"),
    ("PORTMETER_CAPTURE__COLOUR", "blue", "colour"),
    ("PORTMETER_API_KEY", "short", "at least 16"),
];

/// Configuration files that cannot be used, and what the sentence must name.
const FILES: [(&str, &str); 4] = [
    ("[capture\nports = 1", "settings.toml"),
    ("[capture]\nhook = 7", "hook"),
    ("[capture]\nports = \"all\"", "ports"),
    ("[kapture]\nhook = \"auto\"", "kapture"),
];

fn a_bad_value(host: &Namespace, (name, value, named): (&str, &str, &str)) -> Result<()> {
    let agent = Agent::new(host)?.variable(name, value);
    let sentence = refused(&agent, &mut agent.command()).with_context(|| format!("{name}={value}"))?;
    ensure!(sentence.contains(named), "{name}={value}: no {named} in: {sentence}");
    Ok(())
}

fn a_bad_file(host: &Namespace, (text, named): (&str, &str)) -> Result<()> {
    let agent = Agent::new(host)?.argument("--config").argument("settings.toml");
    fs::write(agent.home().join("settings.toml"), text)?;
    let sentence = refused(&agent, &mut agent.command()).with_context(|| text.to_owned())?;
    ensure!(sentence.contains(named), "{text}: no {named} in: {sentence}");
    Ok(())
}

fn no_named_interface_exists() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::new(&host)?.argument("--interface").argument("nothing0");
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(
        sentence.contains("nothing0") && sentence.contains("this host has"),
        "{sentence}"
    );
    Ok(())
}

/// Runs a start of `agent` that must fail; returns its sentence when nothing at all has changed.
pub(crate) fn refused(agent: &Agent<'_>, command: &mut Command) -> Result<String> {
    let before = World::of(agent)?;
    let sentence = agent.host().enter(|| run_to_refusal(command))?;
    let after = World::of(agent)?;
    ensure!(
        before == after,
        "a refused start ({sentence}) has changed something:\n{before:#?}\n{after:#?}"
    );
    Ok(sentence)
}

/// The same beside a running agent, whose files go on changing: none may appear or go.
fn refused_beside(running: &Agent<'_>, host: &Namespace, command: &mut Command) -> Result<String> {
    let files = || {
        let folders = [running.data_folder(), running.pin_folder(), running.run_folder()];
        folders
            .iter()
            .map(|folder| snapshot::paths_of(folder))
            .collect::<Result<Vec<_>>>()
    };
    let before = files()?;
    let sentence = host.enter(|| run_to_refusal(command))?;
    ensure!(
        before == files()?,
        "a refused start ({sentence}) has touched a running one's files"
    );
    ensure!(
        running.rest().is_ready(),
        "a refused start ({sentence}) has broken the running one"
    );
    Ok(sentence)
}

pub(crate) fn run_to_refusal(command: &mut Command) -> Result<String> {
    let output = command::output_in_time(command)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "{command:?} should have failed");
    ensure!(
        output.status.code().is_some(),
        "{command:?} ended with {}: {said}",
        output.status
    );
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    ensure!(
        lines.len() == 1,
        "{} lines where one sentence is due:\n{said}",
        lines.len()
    );
    // Traces of the code, and of a message of several lines with arrows that was squeezed into one.
    let technical = ["panicked", "Os {", "Error(", "Some(", "::", "enum ", " | ", "   "];
    ensure!(
        !technical.iter().any(|word| lines[0].contains(word)),
        "not written for a user: {said}"
    );
    Ok(lines[0].to_owned())
}

/// What a start could change.
#[derive(Debug, PartialEq, Eq)]
struct World {
    home: Vec<PathBuf>,
    data: Snapshot,
    pins: Snapshot,
    sockets: Snapshot,
    filters: String,
}

impl World {
    fn of(agent: &Agent<'_>) -> Result<Self> {
        Ok(Self {
            home: snapshot::paths_of(agent.home())?,
            data: snapshot::of(&agent.data_folder())?,
            pins: snapshot::of(&agent.pin_folder())?,
            sockets: snapshot::of(&agent.run_folder())?,
            filters: agent.host().run("tc qdisc show")?,
        })
    }
}

/// Makes the ledger look as if a later version had written it.
fn raise_schema_version(agent: &Agent<'_>) -> Result<()> {
    let ledger = fs::read_dir(agent.data_folder())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| fs::read(path).is_ok_and(|contents| contents.starts_with(b"SQLite format 3\0")))
        .context("no SQLite file in the data folder")?;
    let mut contents = fs::read(&ledger)?;
    // The header's user_version, big-endian (the SQLite file format, section 1.3). A stopped agent leaves no
    // write-ahead log that would hold another copy of the page.
    ensure!(
        !ledger.with_extension("db-wal").exists(),
        "the agent has left a write-ahead log"
    );
    contents[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    fs::write(&ledger, contents).context("writing the ledger's header")
}
