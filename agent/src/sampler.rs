//! The agent's clock: samples every second for rates, books every few seconds into the ledger.
//!
//! Neither has to be on time for the figures to be right: counters are monotonic, a late sample covers a longer
//! interval and a failed booking is made up for by the next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::counters::CounterReader;
use crate::services::Rates;
use crate::state::AgentState;
use crate::store::Store;

/// How often the counters are sampled for rates and live views.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps `rates` fresh until `shutdown`.
pub async fn sample(reader: Arc<dyn CounterReader>, rates: Arc<Rates>, shutdown: CancellationToken) {
    let mut ticks = interval(SAMPLE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        rates.sample(&*reader, Instant::now());
    }
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
