//! What the agent has no use for any more goes back to the system.
//!
//! The allocator keeps for each thread what it has freed, a page for each size, and gives back what all have freed when it
//! is asked for more. An agent has a few hours a day in which panels ask for long lists, and threads that then have nothing
//! to do: it would hold for months what its busiest minute took.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::kernel;

/// A busy thread rests thousands of times a second, and takes the same pages again.
const INTERVAL: Duration = Duration::from_secs(1);

/// Gives back what this thread has freed and what others have given up, at most once a second.
///
/// For a thread that is about to wait.
pub(crate) fn give_back_at_rest() {
    thread_local! {
        static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    if LAST.get().is_none_or(|last| now - last >= INTERVAL) {
        LAST.set(Some(now));
        kernel::give_back_freed_memory();
    }
}
