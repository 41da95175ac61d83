//! `portmeter.v1.CheckService`.

use portmeter_proto::v1::check_service_server::CheckService as Rpc;
use portmeter_proto::v1::{
    Check, CheckStatus, ListChecksRequest, ListChecksResponse, RunChecksRequest, RunChecksResponse,
};
use tonic::{Request, Response, Status};

use super::convert;
use crate::services::{self, CheckService};

/// The adapter around the self-checks.
pub struct CheckAdapter {
    service: CheckService,
}

impl CheckAdapter {
    pub(super) fn new(service: CheckService) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl Rpc for CheckAdapter {
    async fn list_checks(&self, _: Request<ListChecksRequest>) -> Result<Response<ListChecksResponse>, Status> {
        let list = self.service.list();
        Ok(Response::new(ListChecksResponse {
            checks: list.checks.into_iter().map(check).collect(),
            is_running: list.is_running,
            last_run_at: list.last_run_at.map(convert::timestamp),
        }))
    }

    async fn run_checks(&self, request: Request<RunChecksRequest>) -> Result<Response<RunChecksResponse>, Status> {
        let ran = self.service.run(&request.into_inner().names).await?;
        Ok(Response::new(RunChecksResponse {
            checks: ran.into_iter().map(check).collect(),
        }))
    }
}

fn check(check: services::Check) -> Check {
    let status = match check.status {
        services::Status::NotRun => CheckStatus::NotRun,
        services::Status::Passed => CheckStatus::Passed,
        services::Status::Warning => CheckStatus::Warning,
        services::Status::Failed => CheckStatus::Failed,
        services::Status::Error => CheckStatus::Error,
    };
    Check {
        name: check.name.to_owned(),
        description: check.description.to_owned(),
        status: status.into(),
        output: check.output,
        last_run_at: check.last_run_at.map(convert::timestamp),
    }
}
