//! Waiting for a condition, with a deadline and a name.

use std::sync::LazyLock;
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Result, bail};

/// How long anything in a story may take. Far above what is needed, so that a busy machine fails no story.
const PATIENCE: Duration = Duration::from_secs(30);

/// A whole number by which every time limit is multiplied, for machines that are slow by their nature: an emulated
/// processor, for example.
const PATIENCE_VARIABLE: &str = "PORTMETER_TEST_PATIENCE";

/// How often a condition is asked for. It only sets how late a story notices, never whether it does.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A time limit as it holds on this machine.
pub fn patient(limit: Duration) -> Duration {
    static FACTOR: LazyLock<u32> = LazyLock::new(|| factor(env::var(PATIENCE_VARIABLE).ok().as_deref()));
    limit * *FACTOR
}

/// What is no whole number above zero would make every limit wrong, so it ends the run.
fn factor(named: Option<&str>) -> u32 {
    named.map_or(1, |text| match text.parse() {
        Ok(factor) if factor > 0 => factor,
        _ => panic!("{PATIENCE_VARIABLE} must be a whole number above zero, not {text}"),
    })
}

/// Waits until `condition` holds; fails after half a minute ([`patient`]), naming `what` was waited for.
pub fn until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    until_some(what, || Ok(condition()?.then_some(())))
}

/// Waits until `condition` holds; fails unless it did when it was asked for at most `limit` after this call.
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    loop {
        // Answering takes its time, which is not the product's.
        let asked = start.elapsed();
        if asked > limit {
            bail!("not within {} ms: {what}", limit.as_millis());
        }
        if condition()? {
            return Ok(());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until `attempt` gives a value; fails after half a minute ([`patient`]), naming `what` was waited for.
pub fn until_some<T>(what: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let patience = patient(PATIENCE);
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain: {what}", patience.as_secs());
        }
        thread::sleep(POLL_INTERVAL);
    }
}
