//! A stand-in for the agent: its gRPC services over plain data in memory.
//!
//! How far to trust it: it keeps the promises that the .proto files make about ids, order, errors and absent ports,
//! so that everything from HTTP to the encoded gRPC answer is exercised for real. It counts nothing: the traffic of
//! a key is made from its port, and a reset zeroes it. The ledger and the core are in files of their own.

use std::sync::{Arc, Mutex, MutexGuard};

use portmeter_gateway::{Backend, LocalServices};
use portmeter_proto::etag::{self, Etag};
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::backup_service_server::BackupServiceServer;
use portmeter_proto::v1::check_service_server::CheckServiceServer;
use portmeter_proto::v1::collector_service_server::CollectorServiceServer;
use portmeter_proto::v1::domain_service_server::DomainServiceServer;
use portmeter_proto::v1::event_service_server::EventServiceServer;
use portmeter_proto::v1::key_service_server::{KeyService, KeyServiceServer};
use portmeter_proto::v1::port_service_server::{PortService, PortServiceServer};
use portmeter_proto::v1::settings_service_server::SettingsServiceServer;
use portmeter_proto::v1::system_service_server::{SystemService, SystemServiceServer};
use portmeter_proto::v1::traffic_service_server::TrafficService;
use portmeter_proto::v1::xray_service_server::XrayServiceServer;
use portmeter_proto::v1::*;
use prost_types::Timestamp;
use tonic::codegen::tokio_stream::Pending;
use tonic::{Request, Response, Status};

// The benches take this file by its path, so these are named by their own.
#[path = "checks.rs"]
mod checks;
#[path = "collector.rs"]
mod collector;
#[path = "domains.rs"]
mod domains;
#[path = "engine.rs"]
pub(crate) mod engine;
#[path = "events.rs"]
mod events;
#[path = "ledger.rs"]
mod ledger;
#[path = "services.rs"]
mod services;
#[path = "settings.rs"]
mod settings;

/// 2025-08-05T12:00:00.25Z, the time of everything here.
pub(crate) const NOW: Timestamp = Timestamp {
    seconds: 1_754_395_200,
    nanos: 250_000_000,
};

/// How many ports there are.
pub(crate) const MAX_PORTS: u32 = 100;

/// The agent. A clone is the same agent.
#[derive(Clone, Default)]
pub(crate) struct Agent(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    keys: Vec<Key>,
    reset_ids: Vec<String>,
    ledger: ledger::Ledger,
    engine: engine::Engine,
    services: services::Services,
    checks: checks::Checks,
    settings: settings::Kept,
    collector: collector::Switch,
    events: events::Events,
    problems: Vec<String>,
    failure: Option<(Reason, &'static str)>,
    etag: Option<Etag>,
    n_lists_sent: usize,
    are_domains_recorded: bool,
}

impl Agent {
    /// An agent with `n_keys` keys: named `key 0` and so on, on the ports from 10001 on, all enabled.
    pub(crate) fn with_keys(n_keys: u32) -> Self {
        let agent = Self::default();
        agent.state().keys = (0..n_keys)
            .map(|index| new_key(index, &format!("key {index}")))
            .collect();
        agent
    }

    /// The backend over this agent's services, in process.
    pub(crate) fn backend(&self) -> Backend {
        let services = LocalServices::default()
            .with_lists(Arc::new(self.clone()), Arc::new(self.clone()))
            .with(KeyServiceServer::new(self.clone()))
            .with(PortServiceServer::new(self.clone()))
            .with(SystemServiceServer::new(self.clone()))
            .with(XrayServiceServer::new(self.clone()))
            .with(BackupServiceServer::new(self.clone()))
            .with(EventServiceServer::new(self.clone()))
            .with(SettingsServiceServer::new(self.clone()))
            .with(CollectorServiceServer::new(self.clone()))
            .with(CheckServiceServer::new(self.clone()))
            .with(DomainServiceServer::new(self.clone()));
        Backend::in_process(&services).unwrap()
    }

    /// The key that was made as number `index`, from 0.
    pub(crate) fn key(&self, index: usize) -> Key {
        self.state().keys[index].clone()
    }

    /// Changes a key behind the services' back.
    pub(crate) fn edit_key(&self, index: usize, edit: impl FnOnce(&mut Key)) {
        edit(&mut self.state().keys[index]);
    }

    /// The ids of the keys whose traffic was reset.
    pub(crate) fn reset_ids(&self) -> Vec<String> {
        self.state().reset_ids.clone()
    }

    /// Gives the list of keys this tag from now on. It is up to the test to change it with the keys.
    pub(crate) fn set_etag(&self, etag: &'static str) {
        self.state().etag = Some(Etag::from_static(etag));
    }

    /// How often a tagged list was sent in full.
    pub(crate) fn n_lists_sent(&self) -> usize {
        self.state().n_lists_sent
    }

    /// The subscription token of key number `index`.
    pub(crate) fn token(&self, index: usize) -> String {
        let state = self.state();
        state.token(&state.keys[index]).expect("the key is enabled")
    }

    /// The ports of the core's inbounds from now on, its own API last.
    pub(crate) fn set_inbound_ports(&self, ports: &[u16]) {
        self.state().engine.ports = ports.iter().copied().map(u32::from).collect();
    }

    /// Takes the core's configuration away.
    pub(crate) fn remove_configuration(&self) {
        self.state().engine.is_unconfigured = true;
    }

    /// Has the core run by nobody.
    pub(crate) fn set_unmanaged(&self) {
        self.state().engine.is_unmanaged = true;
    }

    /// Puts a client into the configuration that is no key's.
    pub(crate) fn add_stranger(&self, uuid: &str) {
        self.state().engine.strangers.push(uuid.to_owned());
    }

    /// How often the core was restarted.
    pub(crate) fn n_restarts(&self) -> usize {
        self.state().engine.n_restarts
    }

    /// Has no front end be configured.
    pub(crate) fn remove_front_end(&self) {
        self.state().services.has_no_front_end = true;
    }

    /// What was restarted, in the agent's words.
    pub(crate) fn restarted(&self) -> Vec<String> {
        self.state().services.restarted.clone()
    }

    /// Has a check go another way than usual.
    pub(crate) fn set_check(&self, name: &'static str, status: CheckStatus) {
        self.state().checks.results.push((name, status));
    }

    /// Has a run of the checks be under way.
    pub(crate) fn set_checks_running(&self) {
        self.state().checks.is_running = true;
    }

    /// Makes the agent not ready.
    pub(crate) fn set_problems(&self, problems: &[&str]) {
        self.state().problems = problems.iter().map(ToString::to_string).collect();
    }

    /// Makes every call fail, or work again.
    pub(crate) fn set_failure(&self, failure: Option<(Reason, &'static str)>) {
        self.state().failure = failure;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The state, unless calls are to fail.
    fn call(&self) -> Result<MutexGuard<'_, State>, Status> {
        let state = self.state();
        match state.failure {
            Some((reason, text)) => Err(reason.status(text)),
            None => Ok(state),
        }
    }
}

impl State {
    fn position(&self, key_id: &str) -> Result<usize, Status> {
        let by_id = self.keys.iter().position(|key| key.id == key_id);
        by_id
            .or_else(|| self.keys.iter().position(|key| key.uuid == key_id))
            .ok_or_else(|| Reason::KeyNotFound.status(format!("no key {key_id}")))
    }

    fn traffic(&self, key: &Key, include_connections: bool) -> KeyTraffic {
        let is_reset = self.reset_ids.contains(&key.id);
        let bytes = if is_reset { 0 } else { u64::from(key.port.unwrap_or(0)) };
        let connection = Connection {
            local: "192.0.2.1:10001".into(),
            remote: "[2001:db8::7]:50000".into(),
            state: "ESTABLISHED".into(),
        };
        let traffic = Traffic {
            rx_bytes: bytes * 1000,
            tx_bytes: bytes * 7,
            rx_packets: bytes,
            tx_packets: bytes / 2,
            connections: 1,
            connections_opened: bytes / 3,
            rate_bytes_per_second: if is_reset { 0.0 } else { 1234.5 },
            connection_details: if include_connections {
                vec![connection]
            } else {
                Vec::new()
            },
        };
        KeyTraffic {
            key: Some(key.clone()),
            traffic: Some(traffic),
        }
    }
}

fn new_key(index: u32, name: &str) -> Key {
    Key {
        id: format!("{index:08x}-0000-4000-8000-00000000000a"),
        uuid: format!("{index:08x}-0000-4000-8000-00000000000b"),
        name: name.to_owned(),
        created_at: Some(NOW),
        is_active: true,
        port: Some(10001 + index),
        alias: String::new(),
    }
}

fn interfaces() -> Vec<InterfaceTraffic> {
    vec![
        InterfaceTraffic {
            name: "eth0".into(),
            rx_bytes: 5_000_000_000,
            tx_bytes: 1_000_000,
        },
        InterfaceTraffic {
            name: "wg0".into(),
            rx_bytes: 300,
            tx_bytes: 40,
        },
    ]
}

#[tonic::async_trait]
impl KeyService for Agent {
    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Result<Response<CreateKeyResponse>, Status> {
        let mut state = self.call()?;
        let index = state.keys.len() as u32;
        if index == MAX_PORTS {
            return Err(Reason::KeyLimitReached.status(format!("Maximum number of keys ({MAX_PORTS}) reached")));
        }
        let CreateKeyRequest {
            name, is_name_unique, ..
        } = request.into_inner();
        if is_name_unique && state.keys.iter().any(|key| key.name == name) {
            return Err(Reason::KeyNameTaken.status("another key has this name"));
        }
        let key = new_key(index, &name);
        state.keys.push(key.clone());
        Ok(Response::new(CreateKeyResponse { key: Some(key) }))
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        let mut state = self.call()?;
        let Some(etag) = state.etag.clone() else {
            return Ok(Response::new(ListKeysResponse {
                keys: state.keys.clone(),
                next_page_token: String::new(),
            }));
        };
        let is_known = etag::is_known(&request, &etag);
        state.n_lists_sent += usize::from(!is_known);
        let keys = if is_known { Vec::new() } else { state.keys.clone() };
        let mut response = Response::new(ListKeysResponse {
            keys,
            next_page_token: String::new(),
        });
        etag::set_current(&mut response, etag);
        Ok(response)
    }

    async fn get_key(&self, request: Request<GetKeyRequest>) -> Result<Response<GetKeyResponse>, Status> {
        let state = self.call()?;
        let position = state.position(&request.get_ref().key_id)?;
        Ok(Response::new(GetKeyResponse {
            key: Some(state.keys[position].clone()),
        }))
    }

    async fn update_key(&self, request: Request<UpdateKeyRequest>) -> Result<Response<UpdateKeyResponse>, Status> {
        let UpdateKeyRequest {
            key_id,
            name,
            is_active,
            alias,
            ..
        } = request.into_inner();
        let mut state = self.call()?;
        let position = state.position(&key_id)?;
        if alias.as_deref().is_some_and(|alias| alias.chars().count() > 255) {
            return Err(Reason::InvalidArgument.status("alias must have at most 255 characters"));
        }
        if is_active == Some(true) && !state.keys[position].is_active {
            state.renew_token(position);
        }
        let key = &mut state.keys[position];
        key.name = name.unwrap_or_else(|| key.name.clone());
        key.is_active = is_active.unwrap_or(key.is_active);
        if let Some(alias) = alias {
            key.alias = alias.trim().to_owned();
        }
        Ok(Response::new(UpdateKeyResponse { key: Some(key.clone()) }))
    }

    async fn delete_key(&self, request: Request<DeleteKeyRequest>) -> Result<Response<DeleteKeyResponse>, Status> {
        let mut state = self.call()?;
        let position = state.position(&request.get_ref().key_id)?;
        Ok(Response::new(DeleteKeyResponse {
            key: Some(state.keys.remove(position)),
        }))
    }

    async fn regenerate_key(
        &self,
        request: Request<RegenerateKeyRequest>,
    ) -> Result<Response<RegenerateKeyResponse>, Status> {
        let key = self.call()?.regenerate(&request.get_ref().key_id)?;
        Ok(Response::new(RegenerateKeyResponse { key: Some(key) }))
    }

    async fn get_key_link(&self, request: Request<GetKeyLinkRequest>) -> Result<Response<GetKeyLinkResponse>, Status> {
        Ok(Response::new(self.call()?.link(&request.get_ref().key_id)?))
    }

    async fn get_key_qr_code(
        &self,
        request: Request<GetKeyQrCodeRequest>,
    ) -> Result<Response<GetKeyQrCodeResponse>, Status> {
        Ok(Response::new(self.call()?.qr_code(request.get_ref())?))
    }

    async fn get_subscription(
        &self,
        request: Request<GetSubscriptionRequest>,
    ) -> Result<Response<GetSubscriptionResponse>, Status> {
        Ok(Response::new(self.call()?.subscription(request.get_ref())?))
    }
}

#[tonic::async_trait]
impl TrafficService for Agent {
    async fn get_traffic(&self, request: Request<GetTrafficRequest>) -> Result<Response<GetTrafficResponse>, Status> {
        let GetTrafficRequest {
            key_id,
            include_connections,
        } = request.into_inner();
        let state = self.call()?;
        let key = &state.keys[state.position(&key_id)?];
        Ok(Response::new(GetTrafficResponse {
            key_traffic: Some(state.traffic(key, include_connections)),
            interfaces: interfaces(),
            read_at: Some(NOW),
        }))
    }

    async fn list_traffic(
        &self,
        request: Request<ListTrafficRequest>,
    ) -> Result<Response<ListTrafficResponse>, Status> {
        let include_connections = request.get_ref().include_connections;
        let state = self.call()?;
        Ok(Response::new(ListTrafficResponse {
            key_traffic: state
                .keys
                .iter()
                .map(|key| state.traffic(key, include_connections))
                .collect(),
            interfaces: interfaces(),
            read_at: Some(NOW),
        }))
    }

    async fn reset_traffic(
        &self,
        request: Request<ResetTrafficRequest>,
    ) -> Result<Response<ResetTrafficResponse>, Status> {
        let mut state = self.call()?;
        let position = state.position(&request.get_ref().key_id)?;
        let key = state.keys[position].clone();
        state.reset_ids.push(key.id.clone());
        Ok(Response::new(ResetTrafficResponse { key: Some(key) }))
    }

    type WatchTrafficStream = Pending<Result<WatchTrafficResponse, Status>>;

    async fn watch_traffic(
        &self,
        _: Request<WatchTrafficRequest>,
    ) -> Result<Response<Self::WatchTrafficStream>, Status> {
        Err(Status::unimplemented("no route asks for this"))
    }
}

#[tonic::async_trait]
impl PortService for Agent {
    async fn list_ports(&self, _: Request<ListPortsRequest>) -> Result<Response<ListPortsResponse>, Status> {
        let state = self.call()?;
        let assignment = |key: &Key| {
            Some(PortAssignment {
                port: key.port?,
                key_id: key.id.clone(),
                uuid: key.uuid.clone(),
                key_name: key.name.clone(),
                assigned_at: key.created_at,
                is_active: key.is_active,
            })
        };
        Ok(Response::new(ListPortsResponse {
            assignments: state.keys.iter().filter_map(assignment).collect(),
            max_ports: MAX_PORTS,
            port_range: "10001-10100".into(),
            created_at: Some(NOW),
            last_updated: Some(NOW),
        }))
    }

    async fn check_ports(&self, _: Request<CheckPortsRequest>) -> Result<Response<CheckPortsResponse>, Status> {
        let state = self.call()?;
        let without_port = state.keys.iter().filter(|key| key.port.is_none());
        let issues: Vec<String> = without_port.map(|key| format!("Key {} has no port.", key.id)).collect();
        let n_assigned = (state.keys.len() - issues.len()) as u32;
        Ok(Response::new(CheckPortsResponse {
            issues,
            total_assignments: n_assigned,
            total_used_ports: n_assigned,
        }))
    }

    async fn reset_ports(&self, _: Request<ResetPortsRequest>) -> Result<Response<ResetPortsResponse>, Status> {
        let mut state = self.call()?;
        let cleared_count = state.keys.iter_mut().filter_map(|key| key.port.take()).count() as u32;
        Ok(Response::new(ResetPortsResponse { cleared_count }))
    }

    async fn assign_ports(&self, _: Request<AssignPortsRequest>) -> Result<Response<AssignPortsResponse>, Status> {
        Err(Status::unimplemented("no route asks for this"))
    }
}

#[tonic::async_trait]
impl SystemService for Agent {
    async fn get_version(&self, _: Request<GetVersionRequest>) -> Result<Response<GetVersionResponse>, Status> {
        Err(Status::unimplemented("no route asks for this"))
    }

    async fn get_state(&self, _: Request<GetStateRequest>) -> Result<Response<GetStateResponse>, Status> {
        let problems = self.call()?.problems.clone();
        let is_ready = problems.is_empty();
        Ok(Response::new(GetStateResponse {
            is_ready,
            problems,
            ..GetStateResponse::default()
        }))
    }

    async fn get_host_resources(
        &self,
        _: Request<GetHostResourcesRequest>,
    ) -> Result<Response<GetHostResourcesResponse>, Status> {
        drop(self.call()?);
        Ok(Response::new(services::resources()))
    }

    async fn list_managed_services(
        &self,
        _: Request<ListManagedServicesRequest>,
    ) -> Result<Response<ListManagedServicesResponse>, Status> {
        Ok(Response::new(ListManagedServicesResponse {
            services: self.call()?.managed_services(),
        }))
    }

    async fn restart_managed_service(
        &self,
        request: Request<RestartManagedServiceRequest>,
    ) -> Result<Response<RestartManagedServiceResponse>, Status> {
        self.call()?.restart(&request.get_ref().name)?;
        Ok(Response::new(RestartManagedServiceResponse {}))
    }
}
