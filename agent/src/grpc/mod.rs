//! The gRPC server: one thin adapter per service, conversions, authentication, listeners.

mod auth;
mod backup_service;
mod convert;
mod history;
mod history_service;
mod key_service;
mod port_service;
mod server;
mod system_service;
mod traffic_service;
mod xray_service;

use std::sync::Arc;

use portmeter_proto::v1::backup_service_server::BackupServiceServer;
use portmeter_proto::v1::history_service_server::HistoryServiceServer;
use portmeter_proto::v1::key_service_server::KeyServiceServer;
use portmeter_proto::v1::port_service_server::PortServiceServer;
use portmeter_proto::v1::system_service_server::SystemServiceServer;
use portmeter_proto::v1::traffic_service_server::TrafficServiceServer;
use portmeter_proto::v1::xray_service_server::XrayServiceServer;
use tokio_util::sync::CancellationToken;

use crate::services::{
    BackupService, HistoryService, KeyService, LinkService, PortService, TrafficService, XrayService,
};

pub use backup_service::BackupAdapter;
pub use history_service::HistoryAdapter;
pub use key_service::KeyAdapter;
pub use port_service::PortAdapter;
pub use server::{Listeners, serve};
pub use system_service::{SystemAdapter, SystemSource};
pub use traffic_service::TrafficAdapter;
pub use xray_service::XrayAdapter;

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
    /// The core.
    pub xray: XrayServiceServer<XrayAdapter>,
    /// Saved configurations of the core.
    pub backups: BackupServiceServer<BackupAdapter>,
}

/// The domain services.
pub struct DomainServices {
    /// Keys.
    pub keys: KeyService,
    /// Their links.
    pub links: LinkService,
    /// Traffic.
    pub traffic: TrafficService,
    /// History.
    pub history: HistoryService,
    /// Port assignments.
    pub ports: PortService,
    /// The core.
    pub xray: XrayService,
    /// Saved configurations of the core.
    pub backups: BackupService,
}

impl Services {
    /// Puts the adapters around the domain services; `shutdown` ends streams.
    pub fn new(domain: DomainServices, system: Arc<SystemSource>, shutdown: CancellationToken) -> Self {
        let links = domain.links;
        Self {
            keys: KeyServiceServer::new(KeyAdapter::new(domain.keys, links.clone())),
            traffic: TrafficServiceServer::new(TrafficAdapter::new(domain.traffic, shutdown.clone())),
            history: HistoryServiceServer::new(HistoryAdapter::new(domain.history, shutdown)),
            ports: PortServiceServer::new(PortAdapter::new(domain.ports)),
            system: SystemServiceServer::new(SystemAdapter::new(system)),
            xray: XrayServiceServer::new(XrayAdapter::new(domain.xray, links)),
            backups: BackupServiceServer::new(BackupAdapter::new(domain.backups)),
        }
    }
}
