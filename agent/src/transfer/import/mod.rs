//! Import: files of other programs become a plan, and the plan a decision about what it changes in the ledger.
//!
//! Reading files ([`read`]) and deciding ([`decide`]) are plain functions; the store looks up what is there and carries the
//! decision out. So a dry run says exactly what a run would do, and a broken file is found before anything is touched.

mod decide;
mod error;
mod fields;
mod json;
mod old_server;
mod owners;
mod plan;
mod report;
mod settle;
mod source;
mod vnstat;
mod xray_config;

pub use decide::{
    Booking, DecidedKey, Decision, DecisionError, MatchedKey, Ports, Present, PresentImport, PresentKey, decide,
};
pub use error::ImportError;
pub use plan::{Figures, ImportPlan, ImportedHistory, ImportedKey, OldInbound, Owner, Skipped};
pub use report::report;
pub use settle::{Booked, Change, Changes};
pub use source::{File, Options, read};
pub use xray_config::without_inbounds;

#[cfg(test)]
mod tests;
