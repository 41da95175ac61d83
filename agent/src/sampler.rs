//! The agent's clock: samples every second for rates and minutes, books every few seconds into the ledger.
//!
//! Neither has to be on time for the figures to be right: counters are monotonic, a late sample covers a longer
//! interval and a failed booking is made up for by the next one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::counters::{ConnectionSource, CounterReader};
use crate::network::sockets;
use crate::services::Rates;
use crate::state::AgentState;
use crate::store::Store;

/// How often the counters are sampled for rates and live views.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Takes a sample of every port, for rates and for the ledger.
pub struct Sampler {
    /// The counters.
    pub reader: Arc<dyn CounterReader>,
    /// Bytes per second of each port.
    pub rates: Arc<Rates>,
    /// The ledger, to which minute each byte belongs.
    pub store: Arc<Store>,
}

impl Sampler {
    /// Samples every second until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut ticks = interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.reader.connection_source() {
                ConnectionSource::Kernel => self.sample(&|port| self.reader.active_connections(port)),
                ConnectionSource::SocketTables => {
                    let listed = listed_connections().await;
                    self.sample(&|port| Some(listed.as_ref()?.get(&port).copied().unwrap_or(0)));
                }
            }
        }
    }

    /// One sample. `connections` tells how many are open on a port, or `None` when that is not known.
    pub fn sample(&self, connections: &dyn Fn(u16) -> Option<u64>) {
        self.rates.sample(&*self.reader, Instant::now());
        self.store
            .samples()
            .sample(self.store.now(), &*self.reader, connections);
    }
}

/// Open connections by local port, from the socket tables; `None` when these cannot be read.
async fn listed_connections() -> Option<HashMap<u16, u64>> {
    let listed = tokio::task::spawn_blocking(sockets::connections_by_port).await.ok()?;
    listed
        .inspect_err(|error| tracing::warn!(%error, "the connections could not be read"))
        .ok()
}

/// Books every `every` until `shutdown`; the last booking is made when the store is closed.
pub async fn book(store: Arc<Store>, state: Arc<AgentState>, every: Duration, shutdown: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let booked = store.book().await;
        if let Err(error) = &booked {
            let source = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            tracing::error!(%error, source, "booking failed; nothing is lost, the next booking makes up for it");
        }
        state.set_ledger_writable(booked.is_ok());
    }
}
