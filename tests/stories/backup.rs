//! Backups made beside an agent and without one, and restored: nothing is lost, nothing is counted twice, and whoever
//! is refused or killed leaves a complete ledger.

mod killed;
mod refused;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::rest::Key;
use portmeter_tests::stepped::Stepped;
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::{settle, udp};
use portmeter_tests::{command, count, exactness, snapshot, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("restored_on_the_same_boot", restored_on_the_same_boot),
    ("keys_are_those_of_the_backup", keys_are_those_of_the_backup),
    ("another_machines_ledger", another_machines_ledger),
    ("the_agent_goes_on_meanwhile", the_agent_goes_on_meanwhile),
    ("at_rest_nothing_is_touched", at_rest_nothing_is_touched),
    ("refused_backups", refused::backups),
    ("refused_restores", refused::restores),
    ("an_interrupted_backup", refused::an_interrupted_backup),
    ("a_restore_killed_at_any_point", killed::a_restore_at_any_point),
];

/// Under traffic that never ends: what passed after the backup is booked once more, because the ledger has forgotten it,
/// whether the agent was stopped or killed, and after a second restore again.
fn restored_on_the_same_boot() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(2)?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let stream = Background::tcp(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), keys[0].port),
    )?;
    let flood = Background::flood(&pair.client, SocketAddr::new(SERVER_V6.into(), keys[1].port))?;
    let pass = || stream.wait_for(500_000).and_then(|()| flood.wait_for(100));
    pass()?;
    let file = Place::new(&agent)?;
    let said = file.back_up(&agent)?;
    ensure!(said.contains("2 keys") && said.contains("last booking 20"), "{said}");
    pass()?;
    agent.stop()?;
    pass()?;
    file.restore(&agent)?;
    pass()?;
    agent.start()?;
    pass()?;
    agent.kill()?;
    file.restore(&agent)?;
    agent.start()?;
    pass()?;
    stream.stop()?;
    flood.stop()?;
    settle::tcp_is_over(&pair.server, &pair.client)?;
    let truth = capture.finish(SERVER_V4.into())?;
    exactness::all_faces_equal(&agent, &truth, &[keys[0].port, keys[1].port])
}

/// A key made after the backup is gone, and its bytes are nobody's; one deleted after it is back, with what its port
/// carried since.
fn keys_are_those_of_the_backup() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let early = agent.rest().create_key("early")?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    carry(&pair, &early)?;
    let file = Place::new(&agent)?;
    file.back_up(&agent)?;
    let late = agent.rest().create_key("late")?;
    carry(&pair, &late)?;
    agent.rest().delete_key(&early.id)?;
    carry(&pair, &early)?;
    agent.stop()?;
    file.restore(&agent)?;
    agent.start()?;
    ensure!(agent.rest().keys()? == [early.clone()], "{:?}", agent.rest().keys()?);
    let truth = capture.finish(SERVER_V4.into())?;
    exactness::all_faces_equal(&agent, &truth, &[early.port])?;
    let next = agent.rest().create_key("next")?;
    let shown = agent.rest().count_of(&next.id)?;
    ensure!(next.port == late.port && shown.is_zero(), "{next:?}: {shown:?}");
    Ok(())
}

/// The kernel's counters are another ledger's: what they hold is not booked, what comes is; and the same when the
/// machine's own ledger comes back.
fn another_machines_ledger() -> Result<()> {
    let pair = Pair::new()?;
    let mut there = Agent::started(&pair.client)?;
    let theirs = there.rest().create_key("theirs")?;
    let at_home = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), theirs.port);
    udp::echoed(&pair.client, &pair.client, at_home, &[100; 50])?;
    let brought = there.rest().count_of(&theirs.id)?;
    ensure!(!brought.is_zero(), "nothing was counted there");
    there.stop()?;
    let file = Place::new(&there)?;
    file.back_up(&there)?;

    let mut agent = Agent::started(&pair.server)?;
    let own = agent.rest().create_key("own")?;
    ensure!(
        own.port == theirs.port,
        "both should have the first port: {own:?}, {theirs:?}"
    );
    carry(&pair, &own)?;
    let at_stop = agent.rest().count_of(&own.id)?;
    agent.stop()?;
    let said = file.restore(&agent)?;
    carry(&pair, &own)?;
    agent.start()?;
    ensure!(agent.rest().keys()? == [theirs.clone()], "{:?}", agent.rest().keys()?);
    let shown = agent.rest().count_of(&theirs.id)?;
    ensure!(shown == brought, "{shown:?} is shown, {brought:?} was brought");
    let passed = captured(&pair, &own)?;
    let shown = agent.rest().count_of(&theirs.id)?;
    ensure!(shown.since(&brought) == passed, "{shown:?}, {brought:?}, {passed:?}");

    // A second time: the counters are those of a ledger that is gone by now.
    agent.stop()?;
    file.restore(&agent)?;
    agent.start()?;
    let shown = agent.rest().count_of(&theirs.id)?;
    ensure!(shown == brought, "{shown:?} is shown, {brought:?} was brought");

    // And once more, from a backup that was made here: it is the ledger that counts here.
    let here = agent.home().join("here");
    let here = here.to_str().context("a path")?;
    run(&agent, &["backup", here])?;
    let passed = captured(&pair, &own)?;
    agent.stop()?;
    run(&agent, &["restore", here])?;
    agent.start()?;
    let shown = agent.rest().count_of(&theirs.id)?;
    ensure!(shown.since(&brought) == passed, "{shown:?}, {brought:?}, {passed:?}");

    agent.stop()?;
    let kept = said.trim().rsplit(' ').next().context("the file that is kept")?;
    run(&agent, &["restore", kept])?;
    agent.start()?;
    let shown = agent.rest().count_of(&own.id)?;
    ensure!(shown == at_stop, "{shown:?} is shown, {at_stop:?} was booked");
    let passed = captured(&pair, &own)?;
    let shown = agent.rest().count_of(&own.id)?;
    ensure!(shown.since(&at_stop) == passed, "{shown:?}, {at_stop:?}, {passed:?}");
    Ok(())
}

/// Held in the middle of the copy, a backup keeps nobody from booking or changing keys, and has none of it.
fn the_agent_goes_on_meanwhile() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_LEDGER__COMMIT_INTERVAL_SECONDS", "1");
    agent.start()?;
    let key = agent.rest().create_key("before")?;
    let file = Place::new(&agent)?;
    let backup = file.held_backup(&agent)?;

    let late = agent.rest().create_key("meanwhile")?;
    let log = agent.data_folder().join("ledger.db-wal");
    let before = fs::metadata(&log)?.modified()?;
    carry(&pair, &key)?;
    wait::until("what passed is booked", || Ok(fs::metadata(&log)?.modified()? > before))?;
    ensure!(agent.rest().is_ready(), "the ledger cannot be written during a backup");
    agent.rest().delete_key(&late.id)?;
    agent.rest().create_keys(2)?;

    let output = backup.run_on()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.contains(", 1 key,"), "{output:?}");
    ensure!(
        file.dry_run(&agent)?.contains(", 1 key"),
        "it holds something else than it said"
    );
    ensure!(file.names()? == ["backup"], "{:?} is left", file.names()?);
    agent.stop()?;
    let left = folder_names(&agent.data_folder())?;
    ensure!(left == ["ledger.db", "lock", "xray"], "{left:?} is left");
    Ok(())
}

fn at_rest_nothing_is_touched() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    agent.rest().create_keys(3)?;
    agent.stop()?;
    let file = Place::new(&agent)?;
    let before = snapshot::of(&agent.data_folder())?;
    let said = file.back_up(&agent)?;
    ensure!(said.lines().count() == 1 && said.contains("3 keys"), "{said}");
    let size = fs::metadata(&file.file)?.len();
    ensure!(said.contains(&format!("{size} bytes")), "{said}: {size}");
    let mode = fs::metadata(&file.file)?.permissions().mode() & 0o7777;
    ensure!(mode == 0o600, "mode {mode:o}");
    file.dry_run(&agent)?;
    ensure!(snapshot::of(&agent.data_folder())? == before, "the data was touched");
    ensure!(file.names()? == ["backup"], "{:?} is left", file.names()?);

    // A data folder that has never been one.
    agent.change_data_folder("elsewhere");
    file.restore(&agent)?;
    let modes: Vec<u32> = [agent.data_folder(), agent.data_folder().join("ledger.db")]
        .iter()
        .map(|path| Ok(fs::metadata(path)?.permissions().mode() & 0o7777))
        .collect::<Result<_>>()?;
    ensure!(modes == [0o700, 0o600], "{modes:?}");
    agent.start()?;
    ensure!(agent.rest().keys()?.len() == 3, "keys are missing");
    Ok(())
}

/// Where a story keeps its backup.
struct Place {
    folder: PathBuf,
    file: PathBuf,
}

impl Place {
    fn new(agent: &Agent<'_>) -> Result<Self> {
        let folder = agent.home().join("backups");
        fs::create_dir(&folder)?;
        Ok(Self {
            file: folder.join("backup"),
            folder,
        })
    }

    fn names(&self) -> Result<Vec<String>> {
        folder_names(&self.folder)
    }

    fn back_up(&self, agent: &Agent<'_>) -> Result<String> {
        run(agent, &["backup", self.name()?])
    }

    fn restore(&self, agent: &Agent<'_>) -> Result<String> {
        run(agent, &["restore", self.name()?])
    }

    fn dry_run(&self, agent: &Agent<'_>) -> Result<String> {
        run(agent, &["restore", "--dry-run", self.name()?])
    }

    /// A backup that has read the ledger and written the first of its own file.
    fn held_backup(&self, agent: &Agent<'_>) -> Result<Stepped> {
        let mut backup = Stepped::start(&agent.portmeter(&["backup", self.name()?]))?;
        let has_begun = backup.lead_until(|| {
            let workshops = fs::read_dir(&self.folder)?;
            let files = workshops.filter_map(|entry| fs::metadata(entry.ok()?.path().join("ledger.db")).ok());
            Ok(files.map(|file| file.len()).sum::<u64>() > 0)
        })?;
        ensure!(has_begun, "the backup was over before it could be held");
        Ok(backup)
    }

    fn name(&self) -> Result<&str> {
        self.file.to_str().context("the backup's path")
    }
}

fn run(agent: &Agent<'_>, words: &[&str]) -> Result<String> {
    let mut command: Command = agent.portmeter(words);
    command::output(&mut command)
}

fn folder_names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    let mut names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

fn carry(pair: &Pair, key: &Key) -> Result<()> {
    let transfer = Transfer::new(SERVER_V4, key.port, 70_000, 50_000);
    tcp::bulk(&pair.server, &pair.client, &[transfer])
}

/// The same, with what the wire saw of it.
fn captured(pair: &Pair, key: &Key) -> Result<count::Count> {
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    carry(pair, key)?;
    Ok(count::of(&capture.finish(SERVER_V4.into())?, key.port))
}
