//! What the agent knows about its own health: is it counting, is it booking.

use std::collections::BTreeMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use portmeter_metrics::Durations;

use crate::kernel::Attached;

/// The agent's health, written by the tasks that know and read by the system service. One lock, tiny critical
/// sections.
pub struct AgentState {
    /// The instance's name.
    pub instance: String,
    /// When this agent started.
    pub started_at: DateTime<Utc>,
    /// How long samples took.
    pub sample_durations: Durations,
    facts: RwLock<Facts>,
    connection_corrections: AtomicU64,
}

#[derive(Default)]
struct Facts {
    attached: BTreeMap<u32, Attached>,
    attach_failures: Vec<String>,
    is_ledger_writable: bool,
}

impl AgentState {
    /// A state that is not ready yet.
    pub fn new(instance: String) -> Self {
        Self {
            instance,
            started_at: Utc::now(),
            sample_durations: Durations::default(),
            facts: RwLock::default(),
            connection_corrections: AtomicU64::new(0),
        }
    }

    /// Notes what is attached, and one sentence for each interface that should be and is not.
    pub fn set_attached(&self, attached: impl Iterator<Item = Attached>, failures: Vec<String>) {
        let mut facts = self.facts.write().expect("nothing panics while it holds this lock");
        facts.attached = attached.map(|one| (one.target.index, one)).collect();
        facts.attach_failures = failures;
    }

    /// Notes whether the last booking went through.
    pub fn set_ledger_writable(&self, is_writable: bool) {
        self.facts
            .write()
            .expect("nothing panics while it holds this lock")
            .is_ledger_writable = is_writable;
    }

    /// Whether the last booking went through.
    pub fn is_ledger_writable(&self) -> bool {
        self.facts
            .read()
            .expect("nothing panics while it holds this lock")
            .is_ledger_writable
    }

    /// Notes that the count of active connections was corrected by this many.
    pub fn add_connection_corrections(&self, connections: u64) {
        self.connection_corrections.fetch_add(connections, Ordering::Relaxed);
    }

    /// By how many connections this agent corrected the count of active ones.
    pub fn connection_corrections(&self) -> u64 {
        self.connection_corrections.load(Ordering::Relaxed)
    }

    /// The interfaces that are counted on.
    pub fn attached(&self) -> Vec<Attached> {
        self.facts
            .read()
            .expect("nothing panics while it holds this lock")
            .attached
            .values()
            .cloned()
            .collect()
    }

    /// One sentence for each interface that should be counted and is not.
    pub fn attach_failures(&self) -> Vec<String> {
        let facts = self.facts.read().expect("nothing panics while it holds this lock");
        facts.attach_failures.clone()
    }

    /// Why the agent is not ready, one sentence each; empty when it is.
    pub fn problems(&self) -> Vec<String> {
        let facts = self.facts.read().expect("nothing panics while it holds this lock");
        let mut problems = facts.attach_failures.clone();
        if facts.attached.is_empty() {
            problems.push("no interface is counted".to_owned());
        }
        if !facts.is_ledger_writable {
            problems.push("the ledger cannot be written".to_owned());
        }
        problems
    }
}
