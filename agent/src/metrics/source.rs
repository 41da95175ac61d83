//! Where a scrape reads, and in which order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use portmeter_gateway::RequestFigures;
use portmeter_metrics::Process;

use super::scrape::{AgentFigures, CoreFigures, KernelFigures, PortFigures, Scrape};
use crate::config::Live;
use crate::counters::{ConnectionSource, CounterReader};
use crate::grpc::CallFigures;
use crate::kernel::Kernel;
use crate::network::sockets;
use crate::reconciler::Reconciler;
use crate::state::AgentState;
use crate::store::{Snapshot, Store};
use crate::xray::core::CoreMode;

/// Where a scrape reads.
#[derive(Clone)]
pub struct MetricsSource {
    /// The counters.
    pub reader: Arc<dyn CounterReader>,
    /// The kernel side.
    pub kernel: Arc<Mutex<Kernel>>,
    /// The ledger.
    pub store: Arc<Store>,
    /// What the agent knows of itself.
    pub state: Arc<AgentState>,
    /// What keeps the core at the wanted state.
    pub reconciler: Reconciler,
    /// Calls over gRPC.
    pub calls: CallFigures,
    /// Requests over REST, where this process serves them.
    pub requests: Option<RequestFigures>,
    /// The configuration in force, which says whether keys are told by their names too.
    pub live: Live,
}

impl MetricsSource {
    /// Everything, at this moment. It may block: listing sockets does, and so does the kernel's lock while something is
    /// attached.
    pub(super) fn scrape(&self) -> anyhow::Result<Scrape> {
        let listed = match self.reader.connection_source() {
            ConnectionSource::Kernel => HashMap::new(),
            ConnectionSource::SocketTables => sockets::connections_by_port()?,
        };
        let kernel = self.kernel()?;
        // Before the counters, which then are never behind what it has booked.
        let snapshot = self.store.snapshot();
        Ok(Scrape {
            ports: self.ports(&listed),
            kernel,
            agent: self.agent(&snapshot),
            core: self.core(),
            snapshot,
            with_key_names: self.live.now().metrics.key_names,
            calls: self.calls.clone(),
            requests: self.requests.clone(),
            process: Process::read(),
        })
    }

    /// Every port, ascending. `listed` are connections by port, where the kernel programs do not count them.
    fn ports(&self, listed: &HashMap<u16, u64>) -> Vec<PortFigures> {
        let mut ports = Vec::with_capacity(self.reader.ports().len());
        self.reader.read_all(&mut |port, counter| {
            let active = self.reader.active_connections(port);
            ports.push(PortFigures {
                port,
                counter,
                active_connections: active.unwrap_or_else(|| listed.get(&port).copied().unwrap_or_default()),
            });
        });
        ports
    }

    fn kernel(&self) -> anyhow::Result<KernelFigures> {
        let kernel = self.kernel.lock().expect("nothing panics while it holds this lock");
        Ok(KernelFigures {
            unattributed: kernel.unattributed()?,
            dropped: kernel.dropped()?,
            programs: kernel.program_runs(),
            maps: kernel.map_uses()?,
        })
    }

    fn agent(&self, snapshot: &Snapshot) -> AgentFigures {
        let commits = self.store.commit_figures();
        let lag = snapshot.all_booked_at.map(|booked_at| self.store.now() - booked_at);
        AgentFigures {
            is_ready: self.state.problems().is_empty(),
            counted_interfaces: self.state.attached().len(),
            failed_interfaces: self.state.attach_failures().len(),
            connection_corrections: self.state.connection_corrections(),
            samples: self.state.sample_durations.read(),
            commits: commits.durations(),
            commit_failures: commits.failure_count(),
            // A clock that was set back makes it negative.
            ledger_lag_seconds: lag.map(|lag| lag.as_seconds_f64().max(0.0)),
            is_collecting: snapshot.settings.is_collecting(),
        }
    }

    fn core(&self) -> CoreFigures {
        let core = self.reconciler.facts().core;
        CoreFigures {
            state: (core.mode != CoreMode::None).then_some(core.state),
            restart_count: core.restart_count,
            drift_count: self.reconciler.drift_count(),
        }
    }
}
