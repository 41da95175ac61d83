//! The product's gRPC face.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use portmeter_proto::api_key::METADATA_NAME;
use portmeter_proto::v1::check_service_client::CheckServiceClient;
use portmeter_proto::v1::history_service_client::HistoryServiceClient;
use portmeter_proto::v1::key_service_client::KeyServiceClient;
use portmeter_proto::v1::system_service_client::SystemServiceClient;
use portmeter_proto::v1::traffic_service_client::TrafficServiceClient;
use portmeter_proto::v1::{
    Check, CreateKeyRequest, DeleteKeyRequest, GetBookingSnapshotRequest, GetBookingSnapshotResponse, GetStateRequest,
    GetStateResponse, GetTrafficRequest, GetVersionRequest, Key, ListKeysRequest, ListTrafficRequest, RunChecksRequest,
    WatchBookingsRequest, WatchBookingsResponse, WatchTrafficRequest, WatchTrafficResponse,
};
use tokio::runtime::{Builder, Runtime};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::count::{Connections, Count, Counts};
use crate::namespace::Namespace;
use crate::wait::patient;

/// How long a call may take: the self-checks load every program once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A gRPC client that is called like an ordinary function.
#[derive(Debug)]
pub struct Grpc {
    runtime: Runtime,
    channel: Channel,
    api_key: Option<MetadataValue<Ascii>>,
}

impl Grpc {
    /// A client over the agent's unix socket, which needs no API key.
    pub fn over_unix_socket(socket: &Path) -> Result<Self> {
        Self::connect(&format!("unix://{}", socket.display()), None)
    }

    /// A client over TCP; the connection is made inside `host`.
    pub fn over_tcp(host: &Namespace, address: &str, api_key: Option<&str>) -> Result<Self> {
        host.enter(|| Self::connect(&format!("http://{address}"), api_key))
    }

    /// One runtime on one thread: the connection is made on the calling thread, and so in its namespace.
    fn connect(target: &str, api_key: Option<&str>) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let endpoint = Endpoint::from_shared(target.to_owned())?.timeout(patient(ANSWER_TIMEOUT));
        let channel = runtime
            .block_on(endpoint.connect())
            .with_context(|| format!("connecting to {target}"))?;
        let api_key = api_key.map(str::parse).transpose()?;
        Ok(Self {
            runtime,
            channel,
            api_key,
        })
    }

    /// Every key.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let mut client = KeyServiceClient::new(self.channel.clone());
        let answer = self
            .runtime
            .block_on(client.list_keys(self.request(ListKeysRequest::default())))?;
        Ok(answer.into_inner().keys)
    }

    /// Makes a key, or gives the status with which that is refused.
    pub fn create_key(&self, request: CreateKeyRequest) -> Result<Key, Status> {
        let mut client = KeyServiceClient::new(self.channel.clone());
        let answer = self.runtime.block_on(client.create_key(self.request(request)))?;
        let key = answer.into_inner().key;
        key.ok_or_else(|| Status::internal("no key in the answer"))
    }

    /// Asks for a key and goes away after `patience`, whether there is an answer or not.
    pub fn create_key_and_leave(&self, name: &str, patience: Duration) {
        let mut client = KeyServiceClient::new(self.channel.clone());
        let request = self.request(CreateKeyRequest {
            name: name.to_owned(),
            ..CreateKeyRequest::default()
        });
        let call = async { tokio::time::timeout(patience, client.create_key(request)).await };
        let _ = self.runtime.block_on(call);
    }

    /// The same of a key's deletion, with the patience as the call's deadline.
    pub fn delete_key_and_leave(&self, id: &str, patience: Duration) {
        let mut client = KeyServiceClient::new(self.channel.clone());
        let mut request = self.request(DeleteKeyRequest { key_id: id.to_owned() });
        request.set_timeout(patience);
        let _ = self.runtime.block_on(client.delete_key(request));
    }

    /// The status with which the keys are refused; nothing when they are not.
    pub fn keys_refused_with(&self) -> Option<Code> {
        let mut client = KeyServiceClient::new(self.channel.clone());
        self.runtime
            .block_on(client.list_keys(self.request(ListKeysRequest::default())))
            .err()
            .map(|status| status.code())
    }

    /// The traffic of every port that has a key.
    pub fn counts(&self) -> Result<Counts> {
        let mut client = TrafficServiceClient::new(self.channel.clone());
        let request = self.request(ListTrafficRequest {
            include_connections: false,
        });
        let answer = self.runtime.block_on(client.list_traffic(request))?.into_inner();
        answer
            .key_traffic
            .into_iter()
            .map(|row| port_and_count(row.key, row.traffic))
            .collect()
    }

    /// The connections of one key's port.
    pub fn connections_of(&self, id: &str) -> Result<Connections> {
        let mut client = TrafficServiceClient::new(self.channel.clone());
        let request = self.request(GetTrafficRequest {
            key_id: id.to_owned(),
            include_connections: false,
        });
        let answer = self.runtime.block_on(client.get_traffic(request))?.into_inner();
        let traffic = answer.key_traffic.and_then(|row| row.traffic);
        let traffic = traffic.context("no traffic in the answer")?;
        Ok(Connections {
            active: traffic.connections,
            opened: traffic.connections_opened,
        })
    }

    /// The first `count` messages of a watch of every key.
    pub fn watched(&self, count: usize) -> Result<Vec<WatchTrafficResponse>> {
        let mut client = TrafficServiceClient::new(self.channel.clone());
        let request = self.request(WatchTrafficRequest { key_id: String::new() });
        self.runtime.block_on(async {
            let mut stream = client.watch_traffic(request).await?.into_inner();
            let mut messages = Vec::new();
            while messages.len() < count {
                messages.push(stream.message().await?.context("the watch ended")?);
            }
            Ok(messages)
        })
    }

    /// The bookings after a commit, as a follower gets them, up to a commit with a number of at least `until`; or the
    /// status with which the position is refused.
    pub fn bookings(&self, after: u64, until: u64) -> Result<Result<Vec<WatchBookingsResponse>, Code>> {
        let mut client = HistoryServiceClient::new(self.channel.clone());
        let request = self.request(WatchBookingsRequest { after_sequence: after });
        self.runtime.block_on(async {
            let mut stream = match client.watch_bookings(request).await {
                Ok(stream) => stream.into_inner(),
                Err(status) => return Ok(Err(status.code())),
            };
            let mut messages: Vec<WatchBookingsResponse> = Vec::new();
            while messages.last().is_none_or(|message| message.sequence < until) {
                messages.push(stream.message().await?.context("the bookings ended")?);
            }
            Ok(Ok(messages))
        })
    }

    /// The number of the last commit, and every key's lifetime total with it.
    pub fn booking_snapshot(&self) -> Result<GetBookingSnapshotResponse> {
        let mut client = HistoryServiceClient::new(self.channel.clone());
        let request = self.request(GetBookingSnapshotRequest {});
        Ok(self
            .runtime
            .block_on(client.get_booking_snapshot(request))?
            .into_inner())
    }

    /// The agent's state.
    pub fn state(&self) -> Result<GetStateResponse> {
        let mut client = SystemServiceClient::new(self.channel.clone());
        let answer = self
            .runtime
            .block_on(client.get_state(self.request(GetStateRequest {})))?;
        Ok(answer.into_inner())
    }

    /// The version that the agent tells of itself.
    pub fn version(&self) -> Result<String> {
        let mut client = SystemServiceClient::new(self.channel.clone());
        let answer = self.block_on(client.get_version(self.request(GetVersionRequest {})))?;
        Ok(answer.into_inner().version)
    }

    /// Runs self-checks, all of them where no name is given.
    pub fn checks_run(&self, names: &[&str]) -> Result<Vec<Check>> {
        let mut client = CheckServiceClient::new(self.channel.clone());
        let names = names.iter().map(ToString::to_string).collect();
        let answer = self
            .runtime
            .block_on(client.run_checks(self.request(RunChecksRequest { names })))?;
        Ok(answer.into_inner().checks)
    }

    /// Whether an interface is counted on.
    pub fn is_attached(&self, interface: &str) -> Result<bool> {
        Ok(self
            .state()?
            .interfaces
            .iter()
            .any(|attached| attached.name == interface))
    }

    /// How many packets could not be attributed for `reason`.
    pub fn unattributed_packets(&self, reason: &str) -> Result<u64> {
        let state = self.state()?;
        let row = state.unattributed.iter().find(|row| row.reason == reason);
        row.map(|row| row.packets)
            .with_context(|| format!("no reason {reason} in {:?}", state.unattributed))
    }

    /// The connection, for a client of another service.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Waits for a call.
    pub fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// A request with the API key, where there is one.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(api_key) = &self.api_key {
            request.metadata_mut().insert(METADATA_NAME, api_key.clone());
        }
        request
    }
}

fn port_and_count(key: Option<Key>, traffic: Option<portmeter_proto::v1::Traffic>) -> Result<(u16, Count)> {
    let port = key.and_then(|key| key.port).context("a row without a port")?;
    let traffic = traffic.context("a row without traffic")?;
    let count = Count {
        rx_bytes: traffic.rx_bytes,
        rx_packets: traffic.rx_packets,
        tx_bytes: traffic.tx_bytes,
        tx_packets: traffic.tx_packets,
    };
    Ok((u16::try_from(port)?, count))
}
