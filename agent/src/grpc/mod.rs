//! The gRPC server: one thin adapter per service, conversions, authentication, listeners.

mod auth;
mod convert;
mod history;
mod history_service;
mod key_service;
mod port_service;
mod server;
mod system_service;
mod traffic_service;

use std::sync::Arc;

use portmeter_proto::v1::history_service_server::HistoryServiceServer;
use portmeter_proto::v1::key_service_server::KeyServiceServer;
use portmeter_proto::v1::port_service_server::PortServiceServer;
use portmeter_proto::v1::system_service_server::SystemServiceServer;
use portmeter_proto::v1::traffic_service_server::TrafficServiceServer;
use tokio_util::sync::CancellationToken;

use crate::services::{HistoryService, KeyService, PortService, TrafficService};

pub use history_service::HistoryAdapter;
pub use key_service::KeyAdapter;
pub use port_service::PortAdapter;
pub use server::{Listeners, serve};
pub use system_service::{SystemAdapter, SystemSource};
pub use traffic_service::TrafficAdapter;

/// Every service, ready to be served over a socket or called in the same process.
#[derive(Clone)]
pub struct Services {
    /// Keys.
    pub keys: KeyServiceServer<KeyAdapter>,
    /// Traffic.
    pub traffic: TrafficServiceServer<TrafficAdapter>,
    /// History.
    pub history: HistoryServiceServer<HistoryAdapter>,
    /// Port assignments.
    pub ports: PortServiceServer<PortAdapter>,
    /// The agent itself.
    pub system: SystemServiceServer<SystemAdapter>,
}

impl Services {
    /// Puts the adapters around the domain services; `shutdown` ends streams.
    pub fn new(
        keys: KeyService,
        traffic: TrafficService,
        history: HistoryService,
        ports: PortService,
        system: Arc<SystemSource>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            keys: KeyServiceServer::new(KeyAdapter::new(keys)),
            traffic: TrafficServiceServer::new(TrafficAdapter::new(traffic, shutdown.clone())),
            history: HistoryServiceServer::new(HistoryAdapter::new(history, shutdown)),
            ports: PortServiceServer::new(PortAdapter::new(ports)),
            system: SystemServiceServer::new(SystemAdapter::new(system)),
        }
    }
}
