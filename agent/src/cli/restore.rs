//! `portmeter restore`: a backup becomes the ledger of an agent that does not run.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use chrono::Utc;
use clap::Args;

use super::backup::facts;
use super::{Place, progress};
use crate::config;
use crate::instance::{DataLock, Undo};
use crate::rights;
use crate::store;

/// From where, and which agent's ledger.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The backup
    file: PathBuf,
    /// Check the backup, say what it holds, change nothing; the agent may run
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let folder = config::load(&arguments.place.flags(), std::env::vars_os())?
        .agent
        .data_dir;
    let file = arguments.file;
    // Before anything is made or locked.
    let spinner = progress::spinner("checking the backup");
    let checked = store::check_backup(&file);
    spinner.finish_and_clear();
    let found = checked?;
    if arguments.dry_run {
        println!("{} can be restored: {}", file.display(), facts(&found));
        return Ok(());
    }
    check_owner(&folder)?;
    let mut undo = Undo::default();
    let _lock = DataLock::take(&folder, &mut undo)?;
    let bar = progress::copying_bar();
    let mut each_step = |progress| progress::show_copy(&bar, progress);
    let restored = store::restore(&file, &folder, Utc::now(), &mut each_step);
    bar.finish_and_clear();
    let restored = restored?;
    undo.keep();
    let kept = restored.kept.map_or_else(
        || "there was none before".to_owned(),
        |kept| format!("the one before is kept as {}", kept.display()),
    );
    let renamed = match restored.is_renamed {
        true => format!(", a new id for ledger {} because another was here", found.ledger_id),
        false => String::new(),
    };
    println!(
        "restored from {}: {}{renamed}; {kept}",
        file.display(),
        facts(&restored.facts)
    );
    Ok(())
}

/// The agent has to be able to work on what comes, and root is not led by links in a folder of somebody else.
fn check_owner(folder: &Path) -> Result<()> {
    let Ok(metadata) = folder.metadata() else {
        return Ok(());
    };
    let (owner, own) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    ensure!(
        owner == own,
        "the data folder {} belongs to {}, and this is {}: restore as that user",
        folder.display(),
        rights::name_of(owner),
        rights::name_of(own)
    );
    Ok(())
}
