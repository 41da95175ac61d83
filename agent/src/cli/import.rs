//! `portmeter import`: keys and history of other programs, into the ledger of an agent that does not run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use super::{Place, old_inbounds, progress};
use crate::calendar::Calendar;
use crate::config::Config;
use crate::counters::{CounterReader, NoCounters};
use crate::instance::{Locks, Undo};
use crate::kernel;
use crate::network::listeners::SocketProbe;
use crate::rights;
use crate::store::{LifeOrigin, OpenStore, PortProbe, Store, StoreError, preview_import};
use crate::transfer::import::{self, Decision, File, ImportPlan, Options, Ports};

/// Stands for standard input among the files.
const STANDARD_INPUT: &str = "-";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Say what would come, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The zone of times that have none in the files, as Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The key, by id or uuid, that vnStat's figures belong to
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// keys.json, ports.json, traffic_history.json, an Xray config.json, or what `vnstat --json` prints; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let options = Options {
        time_zone: arguments.time_zone.as_deref().map(zone).transpose()?,
        key: arguments.key.as_deref().map(key).transpose()?,
    };
    let config = arguments.place.load()?;
    let plan = read(&arguments.files, &options)?;
    let (decision, kept) = match arguments.dry_run {
        true => (preview(&config, plan)?, Ok(None)),
        false => import(&config, plan).await?,
    };
    let mut report = import::report(&decision, arguments.dry_run);
    if let Ok(Some(kept)) = &kept {
        let _ = writeln!(
            report,
            "{} has the old inbounds no more, a core that runs has them until it is restarted; as it was, it is {}",
            config.xray_configuration().display(),
            kept.display()
        );
    }
    // Whoever reads only the first lines (`| head`) closes the pipe early.
    let _ = std::io::stdout().write_all(report.as_bytes());
    kept.map(drop)
}

fn zone(name: &str) -> Result<chrono_tz::Tz> {
    let unknown = || {
        format!(
            "--time-zone is \"{}\": a zone looks like Europe/Berlin or UTC",
            name.escape_debug()
        )
    };
    name.parse().ok().with_context(unknown)
}

fn key(text: &str) -> Result<Uuid> {
    let wrong = || {
        let text = text.escape_debug();
        format!("--key is \"{text}\", which is neither an id nor a uuid: `portmeter key list` shows them")
    };
    Uuid::parse_str(text).ok().with_context(wrong)
}

fn read(paths: &[PathBuf], options: &Options) -> Result<ImportPlan> {
    let mut contents = Vec::new();
    for path in paths {
        let name = match path == Path::new(STANDARD_INPUT) {
            true => "standard input".to_owned(),
            false => path.display().to_string(),
        };
        let bytes = read_file(path).with_context(|| format!("{name} cannot be read"))?;
        contents.push((name, bytes));
    }
    let files: Vec<_> = contents.iter().map(|(name, bytes)| File { name, bytes }).collect();
    Ok(import::read(&files, options)?)
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    if path != Path::new(STANDARD_INPUT) {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What an import would do, beside a running agent or without one.
fn preview(config: &Config, plan: ImportPlan) -> Result<Decision> {
    let ports = Ports {
        configured: config.capture.ports.iter().collect(),
        held: held_ports()?,
    };
    Ok(preview_import(&config.agent.data_dir, plan, &ports)?)
}

fn held_ports() -> Result<BTreeSet<u16>> {
    Ok(SocketProbe.held_ports().map_err(StoreError::PortProbe)?)
}

/// Both locks are held meanwhile, for keys are made and ports given: a running agent is refused. What was imported stays
/// imported where the core's configuration, as it was before, cannot be kept and changed.
async fn import(config: &Config, plan: ImportPlan) -> Result<(Decision, Result<Option<PathBuf>>)> {
    if !nix::unistd::geteuid().is_root() {
        rights::check_folders(config)?;
    }
    // The run folder is taken back in the end, a ledger that had to be made only when the import fails.
    let (mut places, mut ledger) = (Undo::default(), Undo::default());
    let _locks = Locks::take(&config.agent.data_dir, &config.agent.instance, &mut places)?;
    for suffix in ["", "-wal", "-shm"] {
        ledger.watch_file(config.agent.data_dir.join(format!("ledger.db{suffix}")));
    }
    let store = open(config)?;
    let bar = progress::counting_bar("histories");
    let shown = bar.clone();
    let progress = move |done: usize, all: usize| {
        shown.set_length(all as u64);
        shown.set_position(done as u64);
    };
    let decision = store.import(plan, progress).await;
    bar.finish_and_clear();
    store.close().await.context("the last bytes cannot be booked")?;
    let decision = decision?;
    ledger.keep();
    let kept = old_inbounds::take_out(&config.xray_configuration(), &decision.inbounds);
    Ok((decision, kept))
}

/// The ledger with the counters that it books: what they hold of a port before a key gets it is not the key's.
fn open(config: &Config) -> Result<Store> {
    let store = OpenStore::open(&config.agent.data_dir)?.with_calendar(Calendar::new(config.ledger.time_zone));
    let mut pinned = kernel::pinned_counters(&config.agent.instance)?;
    if pinned.len() > 1 {
        bail!(
            "a move between kernel maps was cut short: start the agent once, which ends it, stop it, and import then"
        );
    }
    let own = pinned.pop().filter(|found| found.origin.ledger_id == store.ledger_id());
    let (reader, origin): (Arc<dyn CounterReader>, _) = match own {
        Some(found) => (found.counters, found.origin),
        None => {
            let origin = LifeOrigin {
                ledger_id: store.ledger_id(),
                boot_id: kernel::boot_id()?,
            };
            (Arc::new(NoCounters::default()), origin)
        }
    };
    let ports = config.capture.ports.iter().collect();
    Ok(store.start(reader, &origin, ports, Box::new(SocketProbe))?)
}
