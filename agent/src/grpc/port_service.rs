//! `portmeter.v1.PortService`.

use portmeter_proto::v1::port_service_server::PortService as Rpc;
use portmeter_proto::v1::{
    AssignPortsRequest, AssignPortsResponse, CheckPortsRequest, CheckPortsResponse, ListPortsRequest,
    ListPortsResponse, ResetPortsRequest, ResetPortsResponse,
};
use tonic::{Request, Response, Status};

use super::changes::Changes;
use super::convert;
use crate::services::PortService;

/// The adapter around the port service.
pub struct PortAdapter {
    ports: PortService,
    changes: Changes,
}

impl PortAdapter {
    pub(super) fn new(ports: PortService, changes: Changes) -> Self {
        Self { ports, changes }
    }
}

#[tonic::async_trait]
impl Rpc for PortAdapter {
    async fn list_ports(&self, _: Request<ListPortsRequest>) -> Result<Response<ListPortsResponse>, Status> {
        let table = self.ports.table();
        let mut assignments: Vec<_> = table
            .snapshot
            .entries
            .iter()
            .filter_map(|entry| convert::port_assignment(&entry.key))
            .collect();
        assignments.sort_by_key(|assignment| assignment.port);
        Ok(Response::new(ListPortsResponse {
            assignments,
            max_ports: convert::count(table.max_ports),
            port_range: table.port_range,
            created_at: Some(convert::timestamp(table.snapshot.port_table.created_at)),
            last_updated: Some(convert::timestamp(table.snapshot.port_table.last_updated)),
        }))
    }

    async fn check_ports(&self, _: Request<CheckPortsRequest>) -> Result<Response<CheckPortsResponse>, Status> {
        let check = self.ports.check();
        Ok(Response::new(CheckPortsResponse {
            issues: check.issues,
            total_assignments: convert::count(check.assignment_count),
            total_used_ports: convert::count(check.assignment_count),
        }))
    }

    async fn reset_ports(&self, _: Request<ResetPortsRequest>) -> Result<Response<ResetPortsResponse>, Status> {
        let ports = self.ports.clone();
        let cleared_count = self.changes.run(async move { ports.reset().await }).await?;
        let cleared_count = convert::count(cleared_count);
        Ok(Response::new(ResetPortsResponse { cleared_count }))
    }

    async fn assign_ports(&self, _: Request<AssignPortsRequest>) -> Result<Response<AssignPortsResponse>, Status> {
        let ports = self.ports.clone();
        let assigned_count = self.changes.run(async move { ports.assign().await }).await?;
        let assigned_count = convert::count(assigned_count);
        Ok(Response::new(AssignPortsResponse { assigned_count }))
    }
}
