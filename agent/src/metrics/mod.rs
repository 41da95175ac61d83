//! The Prometheus endpoint, `GET /metrics` on a listener of its own.
//!
//! A scrape reads the kernel's counters itself: nothing is sampled or kept, and a counter goes on rising when the agent
//! is started anew, because the kernel's does. This room is the only one that knows metric names and the one that names
//! `prometheus-client`.

mod format;
mod scrape;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::counters::{ConnectionSource, CounterReader};
use crate::kernel::Kernel;
use crate::network::sockets;
use crate::reconciler::Reconciler;
use crate::state::AgentState;
use crate::xray::core::{CoreMode, CoreState};
use format::Format;
use scrape::{CoreFigures, PortFigures, Scrape};

/// Where a scrape reads.
#[derive(Clone)]
pub struct MetricsSource {
    /// The counters.
    pub reader: Arc<dyn CounterReader>,
    /// The kernel side.
    pub kernel: Arc<Mutex<Kernel>>,
    /// What the agent knows of itself.
    pub state: Arc<AgentState>,
    /// What keeps the core at the wanted state.
    pub reconciler: Reconciler,
}

/// Serves scrapes until `shutdown`.
pub async fn serve(listener: TcpListener, source: MetricsSource, shutdown: CancellationToken) {
    let router = Router::new().route("/metrics", get(answer)).with_state(source);
    portmeter_gateway::serve(listener, router, shutdown).await;
}

async fn answer(State(source): State<MetricsSource>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(accepted);
    // Listing sockets blocks, and so does the kernel's lock while something is attached.
    let text = tokio::task::spawn_blocking(move || anyhow::Ok(source.scrape()?.text(format)?)).await;
    match text.map_err(anyhow::Error::from).flatten() {
        Ok(text) => ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be read\n").into_response()
        }
    }
}

impl MetricsSource {
    /// Nothing where nobody runs a core.
    fn core(&self) -> CoreFigures {
        let core = self.reconciler.facts().core;
        CoreFigures {
            is_running: (core.mode != CoreMode::None).then_some(core.state == CoreState::Running),
            restart_count: core.restart_count,
            drift_count: self.reconciler.drift_count(),
        }
    }

    fn scrape(&self) -> anyhow::Result<Scrape> {
        let listed = match self.reader.connection_source() {
            ConnectionSource::Kernel => HashMap::new(),
            ConnectionSource::SocketTables => sockets::connections_by_port()?,
        };
        let figures = |&port: &u16| PortFigures {
            port,
            counter: self.reader.read(port),
            active_connections: self
                .reader
                .active_connections(port)
                .unwrap_or_else(|| listed.get(&port).copied().unwrap_or_default()),
        };
        let kernel = self.kernel.lock().expect("nothing panics while it holds this lock");
        let unattributed = kernel.unattributed()?;
        drop(kernel);
        Ok(Scrape {
            ports: self.reader.ports().iter().map(figures).collect(),
            unattributed,
            connection_corrections: self.state.connection_corrections(),
            core: self.core(),
        })
    }
}
