//! The ledger: there, whole, writable, with room on its disk.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{Finding, Vantage};
use crate::store::{self, LedgerFacts};

/// Less than this is nearly nothing: SQLite needs some to bring its log home.
const LITTLE_BYTES: u64 = 32 << 20;
/// Less than this fills up sooner or later.
const SCARCE_BYTES: u64 = 512 << 20;

/// What could be learnt about the data folder and its ledger.
pub(super) struct Ledger {
    pub(super) folder: PathBuf,
    /// `None` where there is no ledger.
    pub(super) facts: Result<Option<LedgerFacts>, String>,
    /// Whether this process could write into the folder, or why not.
    pub(super) is_folder_writable: Result<(), String>,
    pub(super) free_bytes: Option<u64>,
}

impl Ledger {
    /// Ports that keys have.
    pub(super) fn key_ports(&self) -> Vec<u16> {
        match &self.facts {
            Ok(Some(facts)) => facts.key_ports.clone(),
            _ => Vec::new(),
        }
    }
}

/// Reads the ledger in `folder`.
pub(super) fn gather(folder: &Path, vantage: Vantage) -> Ledger {
    let statistics = statvfs(folder).ok();
    Ledger {
        folder: folder.to_owned(),
        facts: match vantage {
            Vantage::Outside => store::inspect(folder),
            Vantage::Agent { .. } => store::inspect_own(folder).map(Some),
        }
        .map_err(|error| error.to_string()),
        is_folder_writable: access(folder, AccessFlags::W_OK).map_err(|error| error.desc().to_lowercase()),
        free_bytes: statistics.map(|statistics| statistics.blocks_available() * statistics.fragment_size()),
    }
}

/// The user whose data folder it is.
pub(super) fn owner(folder: &Path) -> Option<u32> {
    std::fs::metadata(folder).ok().map(|metadata| metadata.uid())
}

pub(super) fn check(ledger: &Ledger) -> Vec<Finding> {
    let facts = match &ledger.facts {
        Ok(None) => {
            return vec![Finding::warning(
                "ledger",
                format!("there is none in {}; the first start makes it", ledger.folder.display()),
                "start the agent with `portmeter run`, or name its folder with --data-dir",
            )];
        }
        Err(why) => {
            let remedy = "stop the agent, keep a copy of the data folder, and restore a backup of it";
            return vec![Finding::error("ledger", why.clone(), remedy), folder(ledger)];
        }
        Ok(Some(facts)) => facts,
    };
    let keys = facts.key_ports.len();
    let found = format!(
        "{} is whole; {keys} keys have a port",
        ledger.folder.join("ledger.db").display()
    );
    let state = if (facts.schema_version as usize) < facts.known_schema_version {
        let (old, new) = (facts.schema_version, facts.known_schema_version);
        Finding::warning(
            "ledger",
            format!("{found}; its schema is {old}, and this build writes {new}"),
            "nothing needs to be done: the next start brings it up to date; keep a backup from before",
        )
    } else {
        Finding::ok("ledger", found)
    };
    vec![state, folder(ledger)]
}

fn folder(ledger: &Ledger) -> Finding {
    let name = "disk";
    let place = ledger.folder.display();
    if let Err(why) = &ledger.is_folder_writable {
        let found = format!("{place} cannot be written: {why}");
        return Finding::error(
            name,
            found,
            "make it writable for the agent's user, or choose another --data-dir",
        );
    }
    let Some(free) = ledger.free_bytes else {
        let found = format!("the room left for {place} cannot be told");
        return Finding::warning(name, found, "see `df` for it");
    };
    let found = format!("{} MiB are free for {place}", free >> 20);
    match free {
        ..LITTLE_BYTES => Finding::error(name, found, "free some room: without it nothing can be booked"),
        LITTLE_BYTES..SCARCE_BYTES => Finding::warning(name, found, "free some room before it runs out"),
        _ => Finding::ok(name, found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn levels(change: impl FnOnce(&mut Ledger)) -> Vec<Level> {
        let mut ledger = Ledger {
            folder: PathBuf::from("/d"),
            facts: Ok(Some(LedgerFacts {
                id: None,
                schema_version: 1,
                known_schema_version: 1,
                last_written_at: None,
                key_ports: Vec::new(),
            })),
            is_folder_writable: Ok(()),
            free_bytes: Some(1 << 40),
        };
        change(&mut ledger);
        check(&ledger).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_ledger_is_there_whole_and_writable() {
        use Level::{Error, Ok as Fine, Warning};
        assert_eq!(levels(|_| {}), [Fine, Fine]);
        assert_eq!(levels(|ledger| ledger.facts = Ok(None)), [Warning]);
        assert_eq!(levels(|ledger| ledger.facts = Err("damaged".into())), [Error, Fine]);
        assert_eq!(
            levels(|ledger| ledger.is_folder_writable = Err("no".into())),
            [Fine, Error]
        );
        assert_eq!(levels(|ledger| ledger.free_bytes = Some(1 << 20)), [Fine, Error]);
        assert_eq!(levels(|ledger| ledger.free_bytes = Some(100 << 20)), [Fine, Warning]);
        let old = |ledger: &mut Ledger| {
            if let Ok(Some(facts)) = &mut ledger.facts {
                facts.known_schema_version = 2;
            }
        };
        assert_eq!(levels(old), [Warning, Fine]);
    }
}
