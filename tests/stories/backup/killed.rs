//! `kill -9` of a restore between any two system calls.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::stepped::Stepped;
use portmeter_tests::{count, exactness};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Place, carry, folder_names, run};

const SEED: u64 = 0x706d_7472;

/// How many restores are killed while the new ledger is made ready, and how many while it takes the old one's place;
/// each in a part of that work of its own.
const KILLS: [usize; 2] = [10, 30];

/// Before the kill the ledger has two keys, one of them only in the log that a killed agent has left; the backup has
/// one. Afterwards it is one of the two, a restore that is not killed goes through, and the figures are exact.
pub(super) fn a_restore_at_any_point() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("in the backup")?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    carry(&pair, &key)?;
    let place = Place::new(&agent)?;
    place.back_up(&agent)?;
    agent.rest().create_key("in the log")?;
    carry(&pair, &key)?;
    agent.kill()?;
    let present = Copy::of(&agent)?;

    let mut random = StdRng::seed_from_u64(SEED);
    let mut outcomes = [0; 2];
    for (steps, kills) in work(&agent, &place)?.into_iter().zip(KILLS) {
        ensure!(steps.len() > kills, "{steps:?} are too few for {kills} kills");
        for number in 0..kills {
            let part = steps.start + steps.len() * number / kills..steps.start + steps.len() * (number + 1) / kills;
            let step = random.random_range(part);
            present.bring_back(&agent)?;
            kill_at(&agent, &place, step)?;
            let is_new = outcome(&agent, &place).with_context(|| format!("killed at step {step} of {steps:?}"))?;
            outcomes[usize::from(is_new)] += 1;
            place.restore(&agent)?;
            let is_new = outcome(&agent, &place).with_context(|| format!("again after step {step} of {steps:?}"))?;
            ensure!(is_new, "the second restore did nothing");
            let left = folder_names(&agent.data_folder())?;
            ensure!(!left.iter().any(|name| name.contains("restoring")), "{left:?} is left");
        }
    }
    ensure!(outcomes.iter().all(|count| *count > 0), "old and new: {outcomes:?}");

    agent.start()?;
    let truth = capture.finish(SERVER_V4.into())?;
    exactness::equal("REST", &agent.rest().counts()?, &count::only(&truth, [key.port]))
}

/// The steps of a restore from its first change in the data folder until it opens the present ledger, and from there to
/// its end.
fn work(agent: &Agent<'_>, place: &Place) -> Result<[Range<usize>; 2]> {
    let mut restore = restore(agent, place)?;
    let (ledger, process) = (
        agent.data_folder().join("ledger.db").canonicalize()?,
        restore.process_id(),
    );
    let workshop = agent.data_folder().join("ledger.db.restoring");
    let mut steps = 0;
    let mut lead_until = |restore: &mut Stepped, condition: &dyn Fn() -> Result<bool>| {
        let goes_on = restore.lead_until(|| {
            steps += 1;
            condition()
        });
        ensure!(goes_on?, "over before it should be");
        steps -= 1;
        Ok(steps)
    };
    let first = lead_until(&mut restore, &|| Ok(workshop.exists()))?;
    let second = lead_until(&mut restore, &|| has_open(process, &ledger))?;
    let mut end = second;
    while restore.step()? {
        end += 1;
    }
    Ok([first..second, second..end])
}

fn has_open(process: u32, file: &Path) -> Result<bool> {
    let mut files = fs::read_dir(format!("/proc/{process}/fd"))?;
    Ok(files.any(|entry| entry.is_ok_and(|entry| fs::read_link(entry.path()).is_ok_and(|open| open == file))))
}

/// Its steps are not always as many; one that is over before has been killed too late.
fn kill_at(agent: &Agent<'_>, place: &Place, step: usize) -> Result<()> {
    let mut restore = restore(agent, place)?;
    for _ in 0..step {
        if !restore.step()? {
            break;
        }
    }
    restore.kill()
}

fn restore(agent: &Agent<'_>, place: &Place) -> Result<Stepped> {
    Stepped::start(&agent.portmeter(&["restore", place.name()?]))
}

/// Whether the ledger is the backup's; fails when it is neither that nor the one before, or when that is not kept.
fn outcome(agent: &Agent<'_>, place: &Place) -> Result<bool> {
    let checked = place.folder.join("checked");
    let checked = checked.to_str().context("a path")?;
    // It reads all of the ledger and checks it.
    let said = run(agent, &["backup", "--force", checked])?;
    let is_new = said.contains(", 1 key,");
    ensure!(is_new || said.contains(", 2 keys,"), "{said}");
    let kept: Vec<PathBuf> = fs::read_dir(agent.data_folder())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().contains("before-restore"))
        .collect();
    ensure!(!is_new || !kept.is_empty(), "the one before is gone");
    let holds_two = |path: &PathBuf| anyhow::Ok(dry_run(agent, path)?.contains(", 2 keys"));
    let two = kept.iter().map(holds_two).collect::<Result<Vec<_>>>()?;
    ensure!(
        !is_new || two.contains(&true),
        "the one before is not kept whole: {kept:?}"
    );
    Ok(is_new)
}

fn dry_run(agent: &Agent<'_>, file: &Path) -> Result<String> {
    run(agent, &["restore", "--dry-run", file.to_str().context("a path")?])
}

/// A data folder as it was.
struct Copy {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Copy {
    fn of(agent: &Agent<'_>) -> Result<Self> {
        let entries = fs::read_dir(agent.data_folder())?;
        let paths = entries.map(|entry| Ok(entry?.path()));
        // The core's folder is not the ledger's.
        let files: Vec<(PathBuf, Vec<u8>)> = paths
            .filter(|path: &Result<PathBuf>| path.as_ref().is_ok_and(|path| path.is_file()))
            .map(|path| {
                let path = path?;
                let contents = fs::read(&path)?;
                Ok((path, contents))
            })
            .collect::<Result<_>>()?;
        let has_log = files
            .iter()
            .any(|(path, bytes)| path.ends_with("ledger.db-wal") && !bytes.is_empty());
        ensure!(has_log, "the killed agent has left no log");
        Ok(Self { files })
    }

    fn bring_back(&self, agent: &Agent<'_>) -> Result<()> {
        fs::remove_dir_all(agent.data_folder())?;
        fs::create_dir(agent.data_folder())?;
        for (path, contents) in &self.files {
            fs::write(path, contents)?;
        }
        Ok(())
    }
}
