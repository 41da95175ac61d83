//! `portmeter.v1.SystemService`.

use std::sync::{Arc, Mutex};

use portmeter_proto::v1::system_service_server::SystemService as Rpc;
use portmeter_proto::v1::{
    AttachedInterface, ConnectionSource, GetHostResourcesRequest, GetHostResourcesResponse, GetStateRequest,
    GetStateResponse, GetVersionRequest, GetVersionResponse, Hook, ListManagedServicesRequest,
    ListManagedServicesResponse, ManagedService, RestartManagedServiceRequest, RestartManagedServiceResponse,
    ServiceState, Unattributed,
};
use tonic::{Request, Response, Status};

use super::convert;
use crate::counters::{self, CounterReader};
use crate::kernel::{self, Attached, Kernel};
use crate::services::{Managed, ManagedState, ServiceError, SystemService};
use crate::state::AgentState;
use crate::store::Store;
use portmeter_proto::reason::Reason;

/// Where the answers come from.
pub struct SystemSource {
    /// The agent's health.
    pub state: Arc<AgentState>,
    /// The kernel side.
    pub kernel: Arc<Mutex<Kernel>>,
    /// The counters.
    pub reader: Arc<dyn CounterReader>,
    /// The store.
    pub store: Arc<Store>,
}

/// The adapter around the agent's state.
pub struct SystemAdapter {
    source: Arc<SystemSource>,
    service: SystemService,
}

impl SystemAdapter {
    pub(super) fn new(source: Arc<SystemSource>, service: SystemService) -> Self {
        Self { source, service }
    }
}

#[tonic::async_trait]
impl Rpc for SystemAdapter {
    async fn get_version(&self, _: Request<GetVersionRequest>) -> Result<Response<GetVersionResponse>, Status> {
        Ok(Response::new(GetVersionResponse {
            version: crate::VERSION.to_owned(),
            kernel_source_digest: kernel::source_digest(),
        }))
    }

    async fn get_state(&self, _: Request<GetStateRequest>) -> Result<Response<GetStateResponse>, Status> {
        let source = &self.source;
        let problems = source.state.problems();
        Ok(Response::new(GetStateResponse {
            is_ready: problems.is_empty(),
            problems,
            instance: source.state.instance.clone(),
            map_life: source.reader.map_life().0.to_string(),
            interfaces: source.state.attached().iter().map(attached).collect(),
            unattributed: unattributed(source).await?,
            started_at: Some(convert::timestamp(source.state.started_at)),
            last_booked_at: Some(convert::timestamp(source.store.snapshot().booked_at)),
            connection_source: connection_source(source.reader.connection_source()).into(),
            connection_corrections: source.state.connection_corrections(),
        }))
    }

    async fn get_host_resources(
        &self,
        _: Request<GetHostResourcesRequest>,
    ) -> Result<Response<GetHostResourcesResponse>, Status> {
        let resources = self.service.resources().await?;
        Ok(Response::new(GetHostResourcesResponse {
            cpu_percent: resources.cpu_percent,
            cpu_count: resources.cpu_count,
            memory_total_bytes: resources.memory.total_bytes,
            memory_available_bytes: resources.memory.available_bytes,
            memory_used_bytes: resources.memory.used_bytes(),
            disk_total_bytes: resources.disk.total_bytes,
            disk_used_bytes: resources.disk.used_bytes,
            disk_free_bytes: resources.disk.free_bytes,
        }))
    }

    async fn list_managed_services(
        &self,
        _: Request<ListManagedServicesRequest>,
    ) -> Result<Response<ListManagedServicesResponse>, Status> {
        let services = self.service.list().await.into_iter().map(managed).collect();
        Ok(Response::new(ListManagedServicesResponse { services }))
    }

    async fn restart_managed_service(
        &self,
        request: Request<RestartManagedServiceRequest>,
    ) -> Result<Response<RestartManagedServiceResponse>, Status> {
        self.service.restart(&request.get_ref().name).await?;
        Ok(Response::new(RestartManagedServiceResponse {}))
    }
}

/// Attaching holds the kernel's lock for a few milliseconds, so this waits on a blocking thread.
async fn unattributed(source: &SystemSource) -> Result<Vec<Unattributed>, Status> {
    let kernel = Arc::clone(&source.kernel);
    let read = tokio::task::spawn_blocking(move || {
        kernel
            .lock()
            .expect("nothing panics while it holds this lock")
            .unattributed()
    });
    let rows = read
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))?;
    let message = |row: kernel::Unattributed| Unattributed {
        reason: row.reason.to_owned(),
        packets: row.packets,
        bytes: row.bytes,
    };
    Ok(rows.into_iter().map(message).collect())
}

fn failed(error: &dyn std::error::Error) -> Status {
    tracing::error!(%error, "the kernel maps could not be read");
    ServiceError::new(Reason::Internal, "The kernel maps could not be read").into()
}

fn connection_source(source: counters::ConnectionSource) -> ConnectionSource {
    match source {
        counters::ConnectionSource::Kernel => ConnectionSource::Kernel,
        counters::ConnectionSource::SocketTables => ConnectionSource::SocketTables,
    }
}

fn managed(managed: Managed) -> ManagedService {
    let state = match managed.state {
        ManagedState::Active => ServiceState::Active,
        ManagedState::Inactive => ServiceState::Inactive,
        ManagedState::Failed => ServiceState::Failed,
        ManagedState::Unknown => ServiceState::Unspecified,
    };
    ManagedService {
        name: managed.name.word().to_owned(),
        state: state.into(),
        unit: managed.unit.unwrap_or_default(),
        url: managed.url,
        http_status: managed.http_status.map(u32::from),
    }
}

fn attached(attached: &Attached) -> AttachedInterface {
    let hook = match attached.hook {
        kernel::Hook::Tcx => Hook::Tcx,
        kernel::Hook::Clsact => Hook::Clsact,
        kernel::Hook::Xdp => Hook::Xdp,
    };
    AttachedInterface {
        name: attached.target.name.clone(),
        index: attached.target.index,
        hook: hook.into(),
    }
}
