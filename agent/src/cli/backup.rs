//! `portmeter backup`: the ledger into one file, beside a running agent or without one.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{Place, progress};
use crate::config;
use crate::store::{self, Backup, BackupFacts, CopyProgress};

/// The pause between two steps of the copy, which leaves the disk to the agent.
const PAUSE: Duration = Duration::from_millis(2);

/// Where to, and which agent's ledger.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file to make; nobody but its owner can read it
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let folder = config::load(&arguments.place.flags(), std::env::vars_os())?
        .agent
        .data_dir;
    // A signal ends the copy between two steps, so that nothing of it stays behind.
    let shutdown = super::shutdown_on_signal()?;
    let bar = progress::copying_bar();
    let mut each_step = |progress: CopyProgress| {
        progress::show_copy(&bar, progress);
        if shutdown.is_cancelled() {
            return ControlFlow::Break(());
        }
        thread::sleep(PAUSE);
        ControlFlow::Continue(())
    };
    let made = store::back_up(&folder, &arguments.file, arguments.force, &mut each_step);
    bar.finish_and_clear();
    println!("{}", sentence(&made?));
    Ok(())
}

fn sentence(backup: &Backup) -> String {
    let booked = backup.booked_at.map_or_else(
        || "at an unknown time".to_owned(),
        |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    );
    let path = backup.path.display();
    format!("backed up to {path}: {}, last booking {booked}", facts(&backup.facts))
}

/// What a backup holds, in words.
pub(super) fn facts(facts: &BackupFacts) -> String {
    let keys = match facts.key_count {
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    };
    let (size, schema, ledger) = (facts.size_bytes, facts.schema_version, facts.ledger_id);
    format!("{size} bytes, schema {schema}, ledger {ledger}, {keys}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_says_what_was_backed_up() {
        let backup = Backup {
            path: "/root/ledger.backup".into(),
            facts: BackupFacts {
                ledger_id: "6f2b3c1e-0d4a-4a57-9a70-0c5b1f1f2d11".parse().unwrap(),
                schema_version: 2,
                key_count: 1,
                size_bytes: 81_920,
            },
            booked_at: Some("2026-05-01T12:00:00Z".parse().unwrap()),
        };
        assert_eq!(
            sentence(&backup),
            "backed up to /root/ledger.backup: 81920 bytes, schema 2, ledger 6f2b3c1e-0d4a-4a57-9a70-0c5b1f1f2d11, \
             1 key, last booking 2026-05-01 12:00:00 UTC"
        );
    }
}
