//! The ledger's rules over plain data: what a sample adds to which minute, and what has been sampled but not booked yet.
//!
//! Nothing here reads a file, a clock or the kernel; the store carries the decisions out.

mod pending;
mod recent;
mod samples;
mod tally;

pub use pending::{MinuteTally, Pending, PortPending};
pub use recent::Moment;
pub use samples::{Gap, Peak, PortStart, Samples, Taken, TakenPort, Unbooked};
pub use tally::Tally;

use chrono::{DateTime, SubsecRound, Utc};

/// Tells the time; tests have one that they move.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// In whole microseconds: what is answered today must equal what is read back tomorrow.
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}
