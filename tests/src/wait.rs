//! Waiting for a condition, with a deadline and a name.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything in a story may take. Far above what is needed, so that a busy machine fails no story.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is asked for. It only sets how late a story notices, never whether it does.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `condition` holds; fails after [`PATIENCE`], naming `what` was waited for.
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

/// Waits until `attempt` gives a value; fails after [`PATIENCE`], naming `what` was waited for.
pub fn until_some<T>(what: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain: {what}", PATIENCE.as_secs());
        }
        thread::sleep(POLL_INTERVAL);
    }
}
