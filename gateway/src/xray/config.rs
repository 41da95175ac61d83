//! The core's configuration: written from the keys, shown without its secrets, applied by a restart.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::{GetConfigurationRequest, RestartCoreRequest, SynchronizeRequest};
use serde::Serialize;
use serde_json::{Map, Value};
use tonic::Status;

use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;

/// `POST /api/system/sync-config`
pub(crate) async fn synchronize(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    bring_to_wanted(&gateway).await?;
    Ok(super::done("Configuration synchronized successfully", "synced"))
}

/// `POST /api/system/xray/sync-config`: the same in other words.
pub(crate) async fn synchronize_xray(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    bring_to_wanted(&gateway).await?;
    Ok(super::done("Xray configuration synchronized successfully", "synced"))
}

async fn bring_to_wanted(gateway: &Gateway) -> Result<(), Failure> {
    let synchronized = gateway.xray().synchronize(SynchronizeRequest {}).await;
    synchronized.map(drop).map_err(Failure::of_configuration)
}

/// `GET /api/xray/config`: secrets are masked by the agent, which is asked for nothing else.
pub(crate) async fn show(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    #[derive(Serialize)]
    struct Answer {
        ok: bool,
        config: Map<String, Value>,
    }
    let found = gateway.xray().get_configuration(GetConfigurationRequest {}).await;
    let json = found.map_err(not_loaded)?.into_inner().json;
    let config = serde_json::from_str(&json).map_err(|_| Failure::incomplete("json"))?;
    Ok(answer::json_of_size(&Answer { ok: true, config }, json.len() + 64))
}

fn not_loaded(status: Status) -> Failure {
    match Reason::of(&status) {
        Reason::ConfigurationUnreadable => Failure::bad_request(format!("Cannot load config: {}", status.message())),
        _ => status.into(),
    }
}

/// `POST /api/xray/restart`
pub(crate) async fn restart(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    #[derive(Serialize)]
    struct Answer {
        ok: bool,
        message: &'static str,
        service: &'static str,
    }
    let restarted = gateway.xray().restart_core(RestartCoreRequest {}).await;
    restarted.map_err(PanelFailure::of_restart)?;
    Ok(answer::json(&Answer {
        ok: true,
        message: "restarted",
        service: "xray",
    }))
}
