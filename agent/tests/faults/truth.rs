//! What was counted, and what the ledgers say of it, looked at from outside.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portmeter::counters::{Counter, CounterReader};
use tempfile::TempDir;
use uuid::Uuid;

use super::counters::Counters;
use super::life::{FAILURES, Mishap, Order, PLAN, Plan};

/// The ledger of most lives, and the other one.
const LEDGERS: [&str; 2] = ["first", "second"];

pub(crate) struct World {
    folder: TempDir,
    boot_id: Uuid,
    /// What was counted in lives of the maps that are over.
    past: Counter,
    /// What no ledger may book: uncommitted when the maps were lost, or when another ledger took them over.
    unbooked: Counter,
    kills: u32,
    full_disk_failures: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for ledger in LEDGERS {
            std::fs::create_dir(folder.path().join(ledger)).unwrap();
        }
        Counters::make(&folder.path().join("counters"));
        Self {
            folder,
            boot_id: Uuid::new_v4(),
            past: Counter::default(),
            unbooked: Counter::default(),
            kills: 0,
            full_disk_failures: 0,
        }
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "{} bytes counted, {} of them in lost maps or between two ledgers; {} lives killed, {} changes refused by a \
             full disk",
            (self.past + self.counters().sum()).total_bytes(),
            self.unbooked.total_bytes(),
            self.kills,
            self.full_disk_failures
        )
    }

    /// One life of the first ledger, with what its mishap leaves behind.
    pub(crate) fn live(&mut self, plan: &Plan) -> Result<(), String> {
        self.life(LEDGERS[0], plan)?;
        match plan.mishap {
            Mishap::LostMaps => self.lose_maps(),
            Mishap::Booted => {
                self.boot_id = Uuid::new_v4();
                self.lose_maps()
            }
            Mishap::AnotherLedger => {
                self.check()?;
                let mishap = Mishap::Stopped;
                self.life(LEDGERS[1], &Plan { mishap, ..*plan })
            }
            _ => Ok(()),
        }
    }

    fn lose_maps(&mut self) -> Result<(), String> {
        let counted = self.counters().sum();
        self.unbooked += self.beyond_checkpoint(counted)?;
        self.past += counted;
        Counters::make(&self.folder.path().join("counters"));
        Ok(())
    }

    fn life(&mut self, ledger: &str, plan: &Plan) -> Result<(), String> {
        let before = self.counters();
        let (owner, open) = (before.ledger_id(), self.beyond_checkpoint(before.sum())?);
        let output = self.child(ledger, plan)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let failures = text.lines().find_map(|line| line.strip_prefix(FAILURES));
        self.full_disk_failures += failures
            .and_then(|number| number.parse::<u32>().ok())
            .unwrap_or_default();
        match output.status.signal() {
            Some(9) if plan.mishap.kills() => self.kills += 1,
            // The point was not reached so often.
            None if output.status.success() => {}
            _ => {
                return Err(format!(
                    "{}: {}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr)
                ));
            }
        }
        if owner.is_some() && self.counters().ledger_id() != owner {
            self.unbooked += open;
        }
        Ok(())
    }

    fn child(&self, ledger: &str, plan: &Plan) -> Result<Output, String> {
        let (kill, delay) = match plan.mishap {
            Mishap::KilledAt { point, passes } => (Some((point.to_owned(), passes)), None),
            Mishap::SlowDisk { point, passes } => (None, Some((point.to_owned(), passes))),
            mishap if mishap.kills() => (Some(("booking.booked".to_owned(), 4)), None),
            _ => (None, None),
        };
        let order = Order {
            seed: plan.seed,
            kill,
            delay,
            fills_disk: matches!(plan.mishap, Mishap::FullDisk),
            locks: matches!(plan.mishap, Mishap::Locked),
            folder: self.folder.path().join(ledger),
            counters: self.folder.path().join("counters"),
            boot_id: self.boot_id,
        };
        let order = serde_json::to_string(&order).map_err(|error| error.to_string())?;
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        Command::new(own)
            .env(PLAN, order)
            .output()
            .map_err(|error| error.to_string())
    }

    /// Everything that was ever counted is booked, once, or is beyond a checkpoint, or may not be booked; in every
    /// ledger all tables say the same.
    pub(crate) fn check(&self) -> Result<(), String> {
        let counters = self.counters();
        let counted = self.past + counters.sum();
        let mut booked = Counter::default();
        for ledger in LEDGERS {
            booked += Ledger::open(&self.folder.path().join(ledger))?
                .map_or(Ok(Counter::default()), |ledger| ledger.booked())?;
        }
        let known = booked + self.unbooked + self.beyond_checkpoint(counters.sum())?;
        if known == counted {
            return Ok(());
        }
        Err(format!(
            "counted {counted:?}, known of {known:?}, of which booked {booked:?}"
        ))
    }

    /// After an ordinary stop nothing is beyond a checkpoint.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        self.life(
            LEDGERS[0],
            &Plan {
                seed: 1,
                mishap: Mishap::Stopped,
            },
        )?;
        self.check()?;
        let open = self.beyond_checkpoint(self.counters().sum())?;
        if open != Counter::default() {
            return Err(format!("not booked at the end: {open:?}"));
        }
        if self.kills == 0 || self.full_disk_failures == 0 {
            return Err(format!("too little went wrong: {}", self.summary()));
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        Counters::open(&self.folder.path().join("counters"))
    }

    /// What the life's own ledger has not booked of `counted`.
    fn beyond_checkpoint(&self, counted: Counter) -> Result<Counter, String> {
        let counters = self.counters();
        let mut checkpoint = Counter::default();
        for ledger in LEDGERS {
            let Some(ledger) = Ledger::open(&self.folder.path().join(ledger))? else {
                continue;
            };
            if counters.ledger_id().is_none_or(|owner| owner == ledger.id) {
                checkpoint += ledger.checkpoint(counters.map_life().0)?;
            }
        }
        counted
            .since(checkpoint)
            .ok_or_else(|| format!("the checkpoint {checkpoint:?} is ahead of the counters {counted:?}"))
    }
}

/// A ledger's file, as another program reads it.
struct Ledger {
    connection: rusqlite::Connection,
    id: Uuid,
}

impl Ledger {
    fn open(folder: &Path) -> Result<Option<Self>, String> {
        let path: PathBuf = folder.join("ledger.db");
        if !path.exists() {
            return Ok(None);
        }
        let connection = rusqlite::Connection::open(path).map_err(|error| error.to_string())?;
        // Killed before its first migration: an empty file.
        let id: Result<String, _> = connection.query_row("SELECT id FROM ledger", [], |row| row.get(0));
        Ok(id.ok().map(|id| Self {
            connection,
            id: id.parse().unwrap(),
        }))
    }

    fn sum(&self, table: &str, condition: &str) -> Result<Counter, String> {
        let sum = |name: &str| format!("ifnull(sum({name}), 0)");
        let names = ["rx_bytes", "rx_packets", "tx_bytes", "tx_packets", "connections_opened"];
        let sql = format!("SELECT {} FROM {table} {condition}", names.map(sum).join(", "));
        let figure = |row: &rusqlite::Row<'_>, at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let counter = |row: &rusqlite::Row<'_>| {
            Ok(Counter {
                rx_bytes: figure(row, 0)?,
                rx_packets: figure(row, 1)?,
                tx_bytes: figure(row, 2)?,
                tx_packets: figure(row, 3)?,
                connections_opened: figure(row, 4)?,
            })
        };
        self.connection
            .query_row(&sql, [], counter)
            .map_err(|error| format!("{sql}: {error}"))
    }

    fn checkpoint(&self, life: Uuid) -> Result<Counter, String> {
        self.sum("checkpoints", &format!("WHERE map_life = '{life}'"))
    }

    /// What is booked, once all tables agree on it.
    fn booked(&self) -> Result<Counter, String> {
        let totals = self.sum("key_totals", "")? + self.sum("deleted_key_totals", "")?;
        for table in ["minute_rows", "hour_rows", "day_rows", "month_rows"] {
            let sum = self.sum(table, "")?;
            if sum != totals {
                return Err(format!("{table} has {sum:?}, the totals {totals:?}"));
            }
        }
        Ok(totals + self.sum("port_totals", "")?)
    }
}
