//! The Prometheus endpoint, `GET /metrics` on a listener of its own.
//!
//! A scrape reads everything at one moment: the ledger's state first, then the kernel's counters, once, so that what it
//! tells of a port and of that port's key is the same reading. Counters are the kernel's, or the ledger's and the
//! kernel's, and go on rising when the agent is started anew. This room is the only one that knows the agent's metric
//! names; what it shares with a gateway of its own is `portmeter-metrics`.

mod families;
mod reference;
mod scrape;
mod source;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portmeter_metrics::{Format, text};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use reference::{families, reference};
pub use source::MetricsSource;

/// A page is made in this much more room than the last one took: keys come, and figures get longer.
const SPARE_BYTES: usize = 16 * 1024;

/// Serves scrapes until `shutdown`.
pub async fn serve(listener: TcpListener, source: MetricsSource, shutdown: CancellationToken) {
    let page_bytes = Arc::new(AtomicUsize::new(0));
    let page = move |format: Format| {
        let capacity = page_bytes.load(Ordering::Relaxed) + SPARE_BYTES;
        let text = text(source.scrape()?, format, capacity)?;
        page_bytes.store(text.len(), Ordering::Relaxed);
        anyhow::Ok(text)
    };
    portmeter_gateway::serve(listener, portmeter_metrics::router(page), shutdown).await;
}
