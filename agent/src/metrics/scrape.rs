//! What one scrape has read: plain data.

use std::sync::Arc;

use portmeter_gateway::RequestFigures;
use portmeter_metrics::{Process, Recorded};

use crate::counters::Counter;
use crate::grpc::CallFigures;
use crate::kernel::{Dropped, MapUse, ProgramRuns, Unattributed};
use crate::store::{Entry, Snapshot};
use crate::xray::core::CoreState;

/// Everything a scrape tells.
pub(super) struct Scrape {
    /// Every port that is or was tracked, ascending.
    pub(super) ports: Vec<PortFigures>,
    pub(super) kernel: KernelFigures,
    pub(super) agent: AgentFigures,
    pub(super) core: CoreFigures,
    /// The keys and what is booked to them; not later than the ports' figures.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) with_key_names: bool,
    pub(super) calls: CallFigures,
    /// `None` where another process serves REST.
    pub(super) requests: Option<RequestFigures>,
    pub(super) process: Process,
}

/// One port as the kernel counted it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PortFigures {
    pub(super) port: u16,
    pub(super) counter: Counter,
    pub(super) active_connections: u64,
}

/// The programs and maps.
pub(super) struct KernelFigures {
    pub(super) unattributed: Vec<Unattributed>,
    pub(super) dropped: Vec<Dropped>,
    /// None where the kernel keeps no statistics of them.
    pub(super) programs: Vec<ProgramRuns>,
    pub(super) maps: Vec<MapUse>,
}

/// The agent itself.
pub(super) struct AgentFigures {
    pub(super) is_ready: bool,
    pub(super) counted_interfaces: usize,
    pub(super) failed_interfaces: usize,
    pub(super) connection_corrections: u64,
    pub(super) samples: Recorded,
    pub(super) commits: Recorded,
    pub(super) commit_failures: u64,
    /// `None` before the first booking of all ports.
    pub(super) ledger_lag_seconds: Option<f64>,
    pub(super) is_collecting: bool,
}

/// The Xray core.
pub(super) struct CoreFigures {
    /// `None` where nobody runs one.
    pub(super) state: Option<CoreState>,
    pub(super) restart_count: u64,
    /// Keys that are no clients of it, and clients that are no keys.
    pub(super) drift_count: usize,
}

/// One key, as fresh as the ports.
pub(super) struct KeyFigures<'a> {
    pub(super) entry: &'a Entry,
    /// Its id as it is written.
    pub(super) id: String,
    /// What it has moved in its life.
    pub(super) total: Counter,
    /// Of its port.
    pub(super) active_connections: u64,
}

impl Scrape {
    /// Every key, in the order of creation.
    pub(super) fn keys(&self) -> Vec<KeyFigures<'_>> {
        self.snapshot.entries.iter().map(|entry| self.key(entry)).collect()
    }

    fn key<'a>(&self, entry: &'a Entry) -> KeyFigures<'a> {
        let at = entry.key.port.and_then(|port| {
            let at = self.ports.binary_search_by_key(&port, |figures| figures.port);
            at.ok()
        });
        let port = at.map(|at| &self.ports[at]);
        // Without a port there is nothing beyond what is booked.
        let counter = port.map_or(entry.figures.checkpoint, |port| port.counter);
        KeyFigures {
            entry,
            id: entry.key.id.0.to_string(),
            total: entry.figures.total(counter),
            active_connections: port.map_or(0, |port| port.active_connections),
        }
    }
}
