//! The agent as the gateway sees it: one generated client per gRPC service.
//!
//! Owns the choice of transport and nothing else; what a handler asks and how the answer is written is the
//! handler's business.

use portmeter_proto::api_key::ApiKey;
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

use crate::transport::{InvalidAddress, Transport};

/// The largest answer taken from the agent, in bytes. Only lists of connections and of keys grow without a bound of
/// their own; at some 60 bytes each this is a million connections, which is more than a host has.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The agent's services. Cheap to clone.
#[derive(Clone)]
pub struct Backend {
    pub(crate) keys: KeyServiceClient<Transport>,
    pub(crate) traffic: TrafficServiceClient<Transport>,
    pub(crate) history: HistoryServiceClient<Transport>,
    pub(crate) ports: PortServiceClient<Transport>,
    pub(crate) system: SystemServiceClient<Transport>,
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
    ) -> Self {
        Self::over(
            Transport::in_process(keys),
            Transport::in_process(traffic),
            Transport::in_process(history),
            Transport::in_process(ports),
            Transport::in_process(system),
        )
    }

    /// The services of an agent at `address` (`HOST:PORT`, `http://HOST:PORT` or `unix:/absolute/path`), which is
    /// sent `api_key` with each call. It connects when it is first used and again whenever it has to; until then
    /// calls fail as unavailable. Call it within a tokio runtime.
    pub fn connect(address: &str, api_key: &ApiKey) -> Result<Self, InvalidAddress> {
        let transport = Transport::connect(address, api_key)?;
        Ok(Self::over(
            transport.clone(),
            transport.clone(),
            transport.clone(),
            transport.clone(),
            transport,
        ))
    }

    fn over(keys: Transport, traffic: Transport, history: Transport, ports: Transport, system: Transport) -> Self {
        Self {
            keys: KeyServiceClient::new(keys),
            traffic: TrafficServiceClient::new(traffic).max_decoding_message_size(ANSWER_BYTES_MAX),
            history: HistoryServiceClient::new(history).max_decoding_message_size(ANSWER_BYTES_MAX),
            ports: PortServiceClient::new(ports),
            system: SystemServiceClient::new(system),
        }
    }
}
