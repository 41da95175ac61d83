//! The stand-in's self-checks: three of them, each with another result, and none has run before it is asked to.

use portmeter_proto::reason::Reason;
use portmeter_proto::v1::check_service_server::CheckService;
use portmeter_proto::v1::*;
use tonic::{Request, Response, Status};

use super::{Agent, NOW};

/// What there is to check: the names and how each goes.
const CHECKS: [(&str, CheckStatus); 3] = [
    ("kernel", CheckStatus::Passed),
    ("clock", CheckStatus::Warning),
    ("xray", CheckStatus::Failed),
];

/// What has run.
#[derive(Default)]
pub(super) struct Checks {
    ran: Vec<String>,
    /// Whether a run is under way.
    pub(super) is_running: bool,
    /// How a check that has another result than usual goes.
    pub(super) results: Vec<(&'static str, CheckStatus)>,
}

impl Checks {
    fn check(&self, name: &str, usual: CheckStatus) -> Check {
        let other = self.results.iter().find(|(changed, _)| *changed == name);
        let has_run = self.ran.iter().any(|ran| ran == name);
        let status = match has_run {
            true => other.map_or(usual, |(_, status)| *status),
            false => CheckStatus::NotRun,
        };
        Check {
            name: name.to_owned(),
            description: format!("What {name} is like."),
            status: status.into(),
            output: if has_run {
                format!("{name} was looked at")
            } else {
                String::new()
            },
            last_run_at: has_run.then_some(NOW),
        }
    }

    fn list(&self) -> Vec<Check> {
        CHECKS.iter().map(|(name, usual)| self.check(name, *usual)).collect()
    }
}

#[tonic::async_trait]
impl CheckService for Agent {
    async fn list_checks(&self, _: Request<ListChecksRequest>) -> Result<Response<ListChecksResponse>, Status> {
        let checks = &self.call()?.checks;
        Ok(Response::new(ListChecksResponse {
            checks: checks.list(),
            is_running: checks.is_running,
            last_run_at: (!checks.ran.is_empty()).then_some(NOW),
        }))
    }

    async fn run_checks(&self, request: Request<RunChecksRequest>) -> Result<Response<RunChecksResponse>, Status> {
        let names = request.into_inner().names;
        let checks = &mut self.call()?.checks;
        let is_known = |name: &String| CHECKS.iter().any(|(known, _)| known == name);
        if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
            return Err(Reason::CheckNotFound.status(format!("no check {unknown}")));
        }
        let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
        let wanted = CHECKS.iter().map(|(name, _)| *name).filter(|name| is_wanted(name));
        checks.ran.extend(wanted.map(ToOwned::to_owned));
        let ran = checks.list().into_iter().filter(|check| is_wanted(&check.name));
        Ok(Response::new(RunChecksResponse { checks: ran.collect() }))
    }
}
