//! What is refused, with one sentence and nothing changed.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use portmeter_tests::agent::Agent;
use portmeter_tests::network::Pair;
use portmeter_tests::snapshot;

use super::Place;
use crate::refusals::run_to_refusal;

/// The user that owns nothing.
const NOBODY: u32 = 65_534;

pub(super) fn backups() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?;
    let place = Place::new(&agent)?;
    let refused = |agent: &Agent<'_>, words: &[&str]| run_to_refusal(&mut agent.portmeter(words));
    let sentence = refused(&agent, &["backup", place.name()?])?;
    ensure!(sentence.contains("there is no ledger in"), "{sentence}");
    ensure!(!agent.data_folder().exists(), "a refused backup has made a data folder");

    agent.start()?;
    agent.rest().create_keys(1)?;
    fs::write(&place.file, "precious")?;
    let sentence = refused(&agent, &["backup", place.name()?])?;
    ensure!(sentence.contains("--force"), "{sentence}");
    let own = agent.data_folder().join("ledger.db");
    let own = own.to_str().context("the ledger's path")?;
    let sentence = refused(&agent, &["backup", "--force", own])?;
    ensure!(sentence.contains("a file of the agent itself"), "{sentence}");
    let sentence = refused(&agent, &["backup", "nowhere/backup"])?;
    ensure!(sentence.contains("nowhere cannot be written"), "{sentence}");
    ensure!(
        fs::read(&place.file)? == b"precious",
        "a refused backup has replaced a file"
    );
    ensure!(place.names()? == ["backup"], "{:?} is left", place.names()?);
    super::run(&agent, &["backup", "--force", place.name()?])?;
    place.dry_run(&agent)?;

    agent.stop()?;
    damage(&agent.data_folder().join("ledger.db"))?;
    let before = snapshot::of(agent.home())?;
    let sentence = refused(&agent, &["backup", "--force", place.name()?])?;
    ensure!(sentence.contains("is damaged"), "{sentence}");
    ensure!(
        snapshot::of(agent.home())? == before,
        "a refused backup has changed something"
    );
    Ok(())
}

pub(super) fn restores() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(1)?;
    let place = Place::new(&agent)?;
    place.back_up(&agent)?;
    let good = fs::read(&place.file)?;

    let files = snapshot::paths_of(&agent.data_folder())?;
    let sentence = run_to_refusal(&mut agent.portmeter(&["restore", place.name()?]))?;
    ensure!(
        sentence.contains("another portmeter works on the data folder"),
        "{sentence}"
    );
    ensure!(
        snapshot::paths_of(&agent.data_folder())? == files,
        "a refused restore has left something"
    );
    ensure!(
        agent.rest().is_ready() && agent.rest().keys()? == keys,
        "the agent noticed"
    );
    agent.stop()?;

    let refused = |file: &Path, part: &str| {
        let before = snapshot::of(agent.home())?;
        let mut restore = agent.portmeter(&["restore", file.to_str().context("the file's path")?]);
        let sentence = run_to_refusal(&mut restore)?;
        ensure!(sentence.contains(part), "{sentence}");
        ensure!(
            snapshot::of(agent.home())? == before,
            "a refused restore has changed something"
        );
        anyhow::Ok(())
    };
    refused(&place.folder, "cannot be read")?;
    refused(&place.folder.join("nothing"), "cannot be read")?;
    refused(&agent.data_folder().join("ledger.db"), "is the ledger itself")?;
    fs::write(&place.file, "hello")?;
    refused(&place.file, "is not a backup of a Portmeter ledger")?;
    // The header's user_version, as the file format has it.
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    fs::write(&place.file, newer)?;
    refused(&place.file, "has schema 9999")?;
    fs::write(&place.file, &good)?;
    damage(&place.file)?;
    refused(&place.file, "is damaged")?;

    fs::write(&place.file, &good)?;
    chown(agent.data_folder(), Some(NOBODY), Some(NOBODY))?;
    refused(&place.file, "restore as that user")?;
    chown(agent.data_folder(), Some(0), Some(0))?;
    place.restore(&agent)?;
    agent.start()?;
    ensure!(agent.rest().keys()? == keys, "the key is not there");
    Ok(())
}

/// Ctrl-C in the middle.
pub(super) fn an_interrupted_backup() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    agent.rest().create_keys(1)?;
    let place = Place::new(&agent)?;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let backup = place.held_backup(&agent)?;
        backup.signal(signal)?;
        let output = backup.run_on()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && said.contains("nothing is left"),
            "{output:?}"
        );
        ensure!(place.names()?.is_empty(), "{:?} is left", place.names()?);
    }
    place.back_up(&agent)?;
    Ok(())
}

/// The second page, which every ledger has.
fn damage(file: &Path) -> Result<()> {
    let mut bytes = fs::read(file)?;
    bytes[4_096..8_192].fill(0xff);
    fs::write(file, bytes).context("damaging a file")
}
