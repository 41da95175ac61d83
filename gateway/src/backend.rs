//! The agent as the gateway sees it: one generated client per gRPC service.
//!
//! Owns the choice of transport and nothing else; what a handler asks and how the answer is written is the
//! handler's business.

use portmeter_proto::api_key::ApiKey;
use portmeter_proto::v1::backup_service_client::BackupServiceClient;
use portmeter_proto::v1::backup_service_server::{BackupService, BackupServiceServer};
use portmeter_proto::v1::history_service_client::HistoryServiceClient;
use portmeter_proto::v1::history_service_server::{HistoryService, HistoryServiceServer};
use portmeter_proto::v1::key_service_client::KeyServiceClient;
use portmeter_proto::v1::key_service_server::{KeyService, KeyServiceServer};
use portmeter_proto::v1::port_service_client::PortServiceClient;
use portmeter_proto::v1::port_service_server::{PortService, PortServiceServer};
use portmeter_proto::v1::system_service_client::SystemServiceClient;
use portmeter_proto::v1::system_service_server::{SystemService, SystemServiceServer};
use portmeter_proto::v1::traffic_service_client::TrafficServiceClient;
use portmeter_proto::v1::traffic_service_server::{TrafficService, TrafficServiceServer};
use portmeter_proto::v1::xray_service_client::XrayServiceClient;
use portmeter_proto::v1::xray_service_server::{XrayService, XrayServiceServer};

use crate::transport::{InvalidAddress, Transport};

/// The largest answer taken from the agent, in bytes. Only lists of connections and of keys, and the core's
/// configuration, grow without a bound of their own; at some 60 bytes each this is a million connections, which is more
/// than a host has.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The agent's services. Cheap to clone.
#[derive(Clone)]
pub struct Backend {
    pub(crate) keys: KeyServiceClient<Transport>,
    pub(crate) traffic: TrafficServiceClient<Transport>,
    pub(crate) history: HistoryServiceClient<Transport>,
    pub(crate) ports: PortServiceClient<Transport>,
    pub(crate) system: SystemServiceClient<Transport>,
    pub(crate) xray: XrayServiceClient<Transport>,
    pub(crate) backups: BackupServiceClient<Transport>,
}

impl Backend {
    /// The services of an agent in this very process, called without a socket. They are asked without an API key:
    /// the gateway has already checked the one of its own caller.
    pub fn in_process(
        keys: KeyServiceServer<impl KeyService>,
        traffic: TrafficServiceServer<impl TrafficService>,
        history: HistoryServiceServer<impl HistoryService>,
        ports: PortServiceServer<impl PortService>,
        system: SystemServiceServer<impl SystemService>,
        xray: XrayServiceServer<impl XrayService>,
        backups: BackupServiceServer<impl BackupService>,
    ) -> Self {
        Self {
            keys: KeyServiceClient::new(Transport::in_process(keys)),
            traffic: TrafficServiceClient::new(Transport::in_process(traffic)),
            history: HistoryServiceClient::new(Transport::in_process(history)),
            ports: PortServiceClient::new(Transport::in_process(ports)),
            system: SystemServiceClient::new(Transport::in_process(system)),
            xray: XrayServiceClient::new(Transport::in_process(xray)),
            backups: BackupServiceClient::new(Transport::in_process(backups)),
        }
        .with_large_answers()
    }

    /// The services of an agent at `address` (`HOST:PORT`, `http://HOST:PORT` or `unix:/absolute/path`), which is
    /// sent `api_key` with each call. It connects when it is first used and again whenever it has to; until then
    /// calls fail as unavailable. Call it within a tokio runtime.
    pub fn connect(address: &str, api_key: &ApiKey) -> Result<Self, InvalidAddress> {
        let transport = Transport::connect(address, api_key)?;
        Ok(Self {
            keys: KeyServiceClient::new(transport.clone()),
            traffic: TrafficServiceClient::new(transport.clone()),
            history: HistoryServiceClient::new(transport.clone()),
            ports: PortServiceClient::new(transport.clone()),
            system: SystemServiceClient::new(transport.clone()),
            xray: XrayServiceClient::new(transport.clone()),
            backups: BackupServiceClient::new(transport),
        }
        .with_large_answers())
    }

    /// Takes large answers of the services that have them.
    fn with_large_answers(self) -> Self {
        Self {
            traffic: self.traffic.max_decoding_message_size(ANSWER_BYTES_MAX),
            history: self.history.max_decoding_message_size(ANSWER_BYTES_MAX),
            xray: self.xray.max_decoding_message_size(ANSWER_BYTES_MAX),
            backups: self.backups.max_decoding_message_size(ANSWER_BYTES_MAX),
            ..self
        }
    }
}
