//! What the ledger costs: commits, answers, and the size of its file after a year. Run by `cargo xtask bench ledger`.
//!
//! The code under test is the agent's; the counters and the clock are the test's, so that a year passes in a minute.
//! Beside it the same bookings are written by the straightforward design, an UPDATE for each key in a transaction of its
//! own, on the same disk and with the same guarantees.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::TimeDelta;
use portmeter::counters::CounterReader;
use portmeter::ledger::Clock;
use portmeter::retention::Retention;
use portmeter::store::{Granularity, Range, Store};

use support::{FakeKernel, Lab, write_keys};

const FIRST_PORT: u16 = 10_001;
const MANY_KEYS: u16 = 10_000;
const KEYS: u16 = 1_000;
const COMMITS: usize = 21;
const ANSWERS: usize = 101;
/// The default interval between two commits.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

const EVER: Range = Range {
    first: i64::MIN,
    last: i64::MAX,
};

fn main() -> Result<()> {
    // Named by xtask: a folder on the disk that is measured.
    let folder = std::env::var_os("PORTMETER_BENCH_FOLDER").context("run `cargo xtask bench ledger`")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(measure(&PathBuf::from(folder)))
}

async fn measure(folder: &Path) -> Result<()> {
    let (lab, store) = ledger(folder, "many", MANY_KEYS)?;
    let many_ms = commits(&lab, &store).await?;
    goal("commit of 10,000 active keys", median(&many_ms), "ms", 150.0);
    let straightforward_ms = straightforward(&folder.join("straightforward"), &lab)?;
    println!(
        "the same by one UPDATE a key, each its own transaction: {straightforward_ms:.0} ms, {:.0} times as long",
        straightforward_ms / median(&many_ms)
    );
    let month = Range {
        first: store.calendar().month(lab.clock.now()).0.into(),
        last: i64::MAX,
    };
    let mut monthly_ms = Vec::new();
    for _ in 0..ANSWERS {
        let started = Instant::now();
        let (rows, _) = store
            .each_key_periods(Granularity::Month, month, None, usize::MAX)
            .await?;
        let histories = store.state().histories();
        monthly_ms.push(milliseconds(started.elapsed()));
        ensure!(
            [rows.len(), histories.len()] == [usize::from(MANY_KEYS); 2],
            "rows are missing"
        );
    }
    goal("monthly of 10,000 keys", median(&monthly_ms), "ms", 50.0);
    store.close().await?;

    let (lab, store) = ledger(folder, "year", KEYS)?;
    let thousand_ms = commits(&lab, &store).await?;
    let share = 100.0 * median(&thousand_ms) / milliseconds(COMMIT_INTERVAL);
    goal("writer, 1,000 active keys", share, "% of a core", 5.0);
    let started = Instant::now();
    let longest_ms = year(&lab, &store).await?;
    println!(
        "a year of 1,000 keys was played in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    goal("longest piece of a clean-up", longest_ms, "ms", 50.0);
    let key = store.snapshot().entries[500].key.id;
    let mut year_ms = Vec::new();
    for _ in 0..ANSWERS {
        let started = Instant::now();
        let page = store.key_periods(key, Granularity::Day, EVER, usize::MAX).await?;
        year_ms.push(milliseconds(started.elapsed()));
        ensure!(page.rows.len() >= 365, "{} days are not a year", page.rows.len());
    }
    goal("history of one key over a year", median(&year_ms), "ms", 1.0);
    store.close().await?;
    let bytes = std::fs::metadata(folder.join("year/ledger.db"))?.len();
    goal("database of 1,000 keys after a year", bytes as f64 / 1e6, "MB", 400.0);
    Ok(())
}

fn ledger(folder: &Path, name: &str, keys: u16) -> Result<(Lab, Arc<Store>)> {
    let mut lab = Lab::new();
    lab.kernel = FakeKernel::with_ports((FIRST_PORT..FIRST_PORT + keys).collect());
    lab.clock.set("2025-01-01T00:00:00Z");
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder)?;
    write_keys(&folder, lab.kernel.ports());
    let store = Arc::new(lab.start_in(&folder));
    Ok((lab, store))
}

/// Every key moves something.
fn pass(lab: &Lab) {
    for port in lab.kernel.ports() {
        lab.kernel.pass(*port, 1_400 * u64::from(*port));
    }
}

/// Commits of all keys, in milliseconds; each in a minute of its own, so that each makes new rows.
async fn commits(lab: &Lab, store: &Store) -> Result<Vec<f64>> {
    let mut durations = Vec::new();
    for _ in 0..COMMITS {
        lab.clock.move_by(TimeDelta::seconds(60));
        pass(lab);
        let started = Instant::now();
        store.book().await?;
        durations.push(milliseconds(started.elapsed()));
    }
    Ok(durations)
}

/// A year with every row that there can be: days before 60 days ago, hours before 48 hours ago, minutes since. Gives the
/// longest that a clean-up held the writer, from outside: a booking of nothing waits for it.
async fn year(lab: &Lab, store: &Arc<Store>) -> Result<f64> {
    let retention = Retention {
        minutes: TimeDelta::hours(48),
        hours: TimeDelta::days(60),
        days: 730,
        events: TimeDelta::days(90),
    };
    let mut longest_ms: f64 = 0.0;
    for (steps, step) in [
        (305, TimeDelta::days(1)),
        (58 * 24, TimeDelta::hours(1)),
        (48 * 60, TimeDelta::minutes(1)),
    ] {
        for number in 0..steps {
            lab.clock.move_by(step);
            pass(lab);
            store.book().await?;
            if number % 24 == 0 {
                let first_kept = retention.first_kept(store.calendar(), lab.clock.now());
                let cleaner = tokio::spawn({
                    let store = Arc::clone(store);
                    async move { store.clean_up(first_kept).await }
                });
                while !cleaner.is_finished() {
                    let started = Instant::now();
                    store.book().await?;
                    longest_ms = longest_ms.max(milliseconds(started.elapsed()));
                }
                cleaner.await??;
            }
        }
    }
    Ok(longest_ms)
}

/// One UPDATE a key, each in its own transaction, for one booking of every key; in milliseconds.
fn straightforward(folder: &Path, lab: &Lab) -> Result<f64> {
    std::fs::create_dir_all(folder)?;
    let ledger = rusqlite::Connection::open(folder.join("ledger.db"))?;
    ledger.pragma_update(None, "journal_mode", "WAL")?;
    ledger.pragma_update(None, "synchronous", "FULL")?;
    ledger.execute_batch("CREATE TABLE traffic (port INTEGER PRIMARY KEY, rx_bytes INTEGER, tx_bytes INTEGER)")?;
    ledger.execute_batch("BEGIN")?;
    for port in lab.kernel.ports() {
        ledger.execute("INSERT INTO traffic VALUES (?1, 0, 0)", [port])?;
    }
    ledger.execute_batch("COMMIT")?;
    let started = Instant::now();
    for port in lab.kernel.ports() {
        let counter = lab.kernel.read(*port);
        let sql = "UPDATE traffic SET rx_bytes = rx_bytes + ?2, tx_bytes = tx_bytes + ?3 WHERE port = ?1";
        ledger.execute(
            sql,
            (port, counter.rx_bytes.cast_signed(), counter.tx_bytes.cast_signed()),
        )?;
    }
    Ok(milliseconds(started.elapsed()))
}

fn goal(what: &str, figure: f64, unit: &str, at_most: f64) {
    let verdict = if figure <= at_most { "met" } else { "NOT MET" };
    println!("{what}: {figure:.2} {unit}   goal <= {at_most} {unit} {verdict}");
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
