//! The agent as the gateway sees it: one generated client per gRPC service.
//!
//! Owns the choice of transport and nothing else; what a handler asks and how the answer is written is the
//! handler's business.

use std::collections::HashMap;
use std::sync::Arc;

use portmeter_listener::tls::ClientFiles;
use portmeter_proto::api_key::ApiKey;
use portmeter_proto::v1::backup_service_client::BackupServiceClient;
use portmeter_proto::v1::check_service_client::CheckServiceClient;
use portmeter_proto::v1::collector_service_client::CollectorServiceClient;
use portmeter_proto::v1::domain_service_client::DomainServiceClient;
use portmeter_proto::v1::event_service_client::EventServiceClient;
use portmeter_proto::v1::history_service_client::HistoryServiceClient;
use portmeter_proto::v1::history_service_server::{HistoryService, HistoryServiceServer};
use portmeter_proto::v1::key_service_client::KeyServiceClient;
use portmeter_proto::v1::port_service_client::PortServiceClient;
use portmeter_proto::v1::settings_service_client::SettingsServiceClient;
use portmeter_proto::v1::system_service_client::SystemServiceClient;
use portmeter_proto::v1::traffic_service_client::TrafficServiceClient;
use portmeter_proto::v1::traffic_service_server::{TrafficService, TrafficServiceServer};
use portmeter_proto::v1::xray_service_client::XrayServiceClient;
use tonic::server::NamedService;

use self::lists::{Apart, InProcess, Lists};
use crate::transport::{ConnectError, LocalService, Transport};

pub(crate) mod lists;

/// The largest answer taken from the agent, in bytes. Only lists of connections, of keys and of events, and the core's
/// configuration, grow without a bound of their own; at some 60 bytes each this is a million connections, which is more
/// than a host has.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The services of an agent in this very process.
#[derive(Default)]
pub struct LocalServices {
    /// The generated server halves by their names.
    by_name: HashMap<&'static str, Transport>,
    lists: Option<Arc<dyn Lists>>,
}

impl LocalServices {
    /// The same, and the services whose lists have a row for each key: these are called without their server halves.
    pub fn with_lists<H: HistoryService, T: TrafficService>(mut self, history: Arc<H>, traffic: Arc<T>) -> Self {
        self.lists = Some(Arc::new(InProcess {
            history: Arc::clone(&history),
            traffic: Arc::clone(&traffic),
        }));
        self.with(HistoryServiceServer::from_arc(history))
            .with(TrafficServiceServer::from_arc(traffic))
    }

    /// The same, and `service`.
    pub fn with<S: LocalService + NamedService>(mut self, service: S) -> Self {
        self.by_name.insert(S::NAME, Transport::in_process(service));
        self
    }

    fn get(&self, name: &'static str) -> Result<Transport, MissingService> {
        self.by_name.get(name).cloned().ok_or(MissingService(name))
    }
}

/// A service that the gateway calls was not given to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gateway needs the service {0}")]
pub struct MissingService(&'static str);

/// The agent's services. Cheap to clone.
#[derive(Clone)]
pub struct Backend {
    pub(crate) backups: BackupServiceClient<Transport>,
    pub(crate) checks: CheckServiceClient<Transport>,
    pub(crate) collector: CollectorServiceClient<Transport>,
    pub(crate) domains: DomainServiceClient<Transport>,
    pub(crate) events: EventServiceClient<Transport>,
    pub(crate) history: HistoryServiceClient<Transport>,
    pub(crate) keys: KeyServiceClient<Transport>,
    pub(crate) lists: Arc<dyn Lists>,
    pub(crate) ports: PortServiceClient<Transport>,
    pub(crate) settings: SettingsServiceClient<Transport>,
    pub(crate) system: SystemServiceClient<Transport>,
    pub(crate) traffic: TrafficServiceClient<Transport>,
    pub(crate) xray: XrayServiceClient<Transport>,
}

impl Backend {
    /// The services of an agent in this very process, called without a socket. They are asked without an API key:
    /// the gateway has already checked the one of its own caller.
    pub fn in_process(services: &LocalServices) -> Result<Self, MissingService> {
        let mut backend = Self::over(|name| services.get(name))?;
        if let Some(lists) = &services.lists {
            backend.lists = Arc::clone(lists);
        }
        Ok(backend)
    }

    /// The services of an agent at `address` (`HOST:PORT`, `http://HOST:PORT`, `https://HOST:PORT` or
    /// `unix:/absolute/path`), which is sent `api_key` with each call. `tls` names the certificates for `https://`. It
    /// connects when it is first used and again whenever it has to; until then calls fail as unavailable. Call it
    /// within a tokio runtime.
    pub fn connect(address: &str, api_key: &ApiKey, tls: Option<ClientFiles>) -> Result<Self, ConnectError> {
        let transport = Transport::connect(address, Some(api_key), tls)?;
        Self::over(|_| Ok(transport.clone()))
    }

    /// Each service over the transport that there is for its name.
    fn over<E>(transport: impl Fn(&'static str) -> Result<Transport, E>) -> Result<Self, E> {
        use portmeter_proto::v1::{
            backup_service_server, check_service_server, collector_service_server, domain_service_server,
            event_service_server, history_service_server, key_service_server, port_service_server,
            settings_service_server, system_service_server, traffic_service_server, xray_service_server,
        };
        macro_rules! client {
            ($client:ident, $server:ident) => {
                $client::new(transport($server::SERVICE_NAME)?).max_decoding_message_size(ANSWER_BYTES_MAX)
            };
        }
        let history = client!(HistoryServiceClient, history_service_server);
        let traffic = client!(TrafficServiceClient, traffic_service_server);
        Ok(Self {
            lists: Arc::new(Apart {
                history: history.clone(),
                traffic: traffic.clone(),
            }),
            backups: client!(BackupServiceClient, backup_service_server),
            checks: client!(CheckServiceClient, check_service_server),
            collector: client!(CollectorServiceClient, collector_service_server),
            domains: client!(DomainServiceClient, domain_service_server),
            events: client!(EventServiceClient, event_service_server),
            history,
            keys: client!(KeyServiceClient, key_service_server),
            ports: client!(PortServiceClient, port_service_server),
            settings: client!(SettingsServiceClient, settings_service_server),
            system: client!(SystemServiceClient, system_service_server),
            traffic,
            xray: client!(XrayServiceClient, xray_service_server),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_not_given_is_named() {
        let missing = Backend::in_process(&LocalServices::default()).err().unwrap();
        assert!(missing.to_string().contains("portmeter.v1."), "{missing}");
    }
}
