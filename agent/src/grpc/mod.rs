//! The gRPC server: one thin adapter per service, conversions, authentication, listeners.

mod auth;
mod backup_service;
mod calls;
mod changes;
mod check_service;
mod collector_service;
mod convert;
mod deadline;
mod domain_service;
mod event_service;
mod events;
mod history;
mod history_service;
mod incoming;
mod key_service;
mod key_update;
mod port_service;
mod server;
mod settings_service;
mod system_service;
mod traffic_service;
mod xray_service;

use std::sync::Arc;

use portmeter_proto::v1::backup_service_server::BackupServiceServer;
use portmeter_proto::v1::check_service_server::CheckServiceServer;
use portmeter_proto::v1::collector_service_server::CollectorServiceServer;
use portmeter_proto::v1::domain_service_server::DomainServiceServer;
use portmeter_proto::v1::event_service_server::EventServiceServer;
use portmeter_proto::v1::key_service_server::KeyServiceServer;
use portmeter_proto::v1::port_service_server::PortServiceServer;
use portmeter_proto::v1::settings_service_server::SettingsServiceServer;
use portmeter_proto::v1::system_service_server::SystemServiceServer;
use portmeter_proto::v1::xray_service_server::XrayServiceServer;
use tokio_util::sync::CancellationToken;

use crate::services::{
    BackupService, CheckService, CollectorService, DomainService, EventService, HistoryService, KeyService,
    LinkService, PortService, SettingsService, SystemService, TrafficService, XrayService,
};

pub use backup_service::BackupAdapter;
pub use calls::{CALL_FAMILIES, CallFigures};
pub use changes::Changes;
pub use check_service::CheckAdapter;
pub use collector_service::CollectorAdapter;
pub use domain_service::DomainAdapter;
pub use event_service::EventAdapter;
pub use history_service::HistoryAdapter;
pub use key_service::KeyAdapter;
pub use port_service::PortAdapter;
pub use server::{Listeners, Protection, serve};
pub use settings_service::SettingsAdapter;
pub use system_service::{SystemAdapter, SystemSource};
pub use traffic_service::TrafficAdapter;
pub use xray_service::XrayAdapter;

/// Every service, ready to be served over a socket or called in the same process.
#[derive(Clone)]
pub struct Services {
    /// Keys.
    pub keys: KeyServiceServer<KeyAdapter>,
    /// Traffic.
    pub traffic: Arc<TrafficAdapter>,
    /// History.
    pub history: Arc<HistoryAdapter>,
    /// Port assignments.
    pub ports: PortServiceServer<PortAdapter>,
    /// The agent itself.
    pub system: SystemServiceServer<SystemAdapter>,
    /// The core.
    pub xray: XrayServiceServer<XrayAdapter>,
    /// Saved configurations of the core.
    pub backups: BackupServiceServer<BackupAdapter>,
    /// What happened.
    pub events: EventServiceServer<EventAdapter>,
    /// What can be set while the agent runs.
    pub settings: SettingsServiceServer<SettingsAdapter>,
    /// Sampling and booking.
    pub collector: CollectorServiceServer<CollectorAdapter>,
    /// The self-checks.
    pub checks: CheckServiceServer<CheckAdapter>,
    /// Visited domains.
    pub domains: DomainServiceServer<DomainAdapter>,
    /// Changes under way, whose callers may have gone away.
    pub changes: Changes,
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
    /// What can be set while the agent runs.
    pub settings: SettingsService,
    /// Sampling and booking.
    pub collector: CollectorService,
    /// What happened.
    pub events: EventService,
    /// The host, and the services of this installation.
    pub system: SystemService,
    /// The self-checks.
    pub checks: CheckService,
    /// Visited domains.
    pub domains: DomainService,
}

impl Services {
    /// Puts the adapters around the domain services; `shutdown` ends streams.
    pub fn new(domain: DomainServices, system: Arc<SystemSource>, shutdown: CancellationToken) -> Self {
        let (links, changes) = (domain.links, Changes::default());
        Self {
            keys: KeyServiceServer::new(KeyAdapter::new(domain.keys, links.clone(), changes.clone())),
            traffic: Arc::new(TrafficAdapter::new(domain.traffic, shutdown.clone())),
            history: Arc::new(HistoryAdapter::new(domain.history, shutdown.clone())),
            ports: PortServiceServer::new(PortAdapter::new(domain.ports, changes.clone())),
            system: SystemServiceServer::new(SystemAdapter::new(system, domain.system)),
            xray: XrayServiceServer::new(XrayAdapter::new(domain.xray, links, changes.clone())),
            backups: BackupServiceServer::new(BackupAdapter::new(domain.backups, changes.clone())),
            events: EventServiceServer::new(EventAdapter::new(domain.events, shutdown)),
            settings: SettingsServiceServer::new(SettingsAdapter::new(domain.settings)),
            collector: CollectorServiceServer::new(CollectorAdapter::new(domain.collector)),
            checks: CheckServiceServer::new(CheckAdapter::new(domain.checks)),
            domains: DomainServiceServer::new(DomainAdapter::new(domain.domains)),
            changes,
        }
    }
}
