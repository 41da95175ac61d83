//! The core's configuration: written from the keys, shown without its secrets, applied by a restart.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::{GetConfigurationRequest, RestartCoreRequest, SynchronizeRequest};
use serde::Serialize;
use serde_json::{Map, Value};
use tonic::Status;
use utoipa::ToSchema;

use super::Done;
use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;

/// Writes the core's configuration from the keys and tells the core.
#[utoipa::path(post, path = "/api/system/sync-config", responses((status = 200, body = Done)))]
pub(crate) async fn synchronize(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    bring_to_wanted(&gateway).await?;
    Ok(super::done("Configuration synchronized successfully", "synced"))
}

/// The same as `/api/system/sync-config` in other words.
#[utoipa::path(post, path = "/api/system/xray/sync-config", responses((status = 200, body = Done)))]
pub(crate) async fn synchronize_xray(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    bring_to_wanted(&gateway).await?;
    Ok(super::done("Xray configuration synchronized successfully", "synced"))
}

async fn bring_to_wanted(gateway: &Gateway) -> Result<(), Failure> {
    let synchronized = gateway.xray().synchronize(SynchronizeRequest {}).await;
    synchronized.map(drop).map_err(Failure::of_configuration)
}

/// Shows the core's configuration, without its secrets.
#[utoipa::path(
    get,
    path = "/api/xray/config",
    responses(
        (status = 200, body = CoreConfiguration),
        (status = 400, description = "There is no configuration that can be read."),
    )
)]
pub(crate) async fn show(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    // Secrets are masked by the agent, which is asked for nothing else.
    let found = gateway.xray().get_configuration(GetConfigurationRequest {}).await;
    let json = found.map_err(not_loaded)?.into_inner().json;
    let config = serde_json::from_str(&json).map_err(|_| Failure::incomplete("json"))?;
    Ok(answer::json_of_size(
        &CoreConfiguration { ok: true, config },
        json.len() + 64,
    ))
}

#[derive(Serialize, ToSchema)]
struct CoreConfiguration {
    ok: bool,
    #[schema(value_type = Object)]
    config: Map<String, Value>,
}

fn not_loaded(status: Status) -> Failure {
    match Reason::of(&status) {
        Reason::ConfigurationUnreadable => Failure::bad_request(format!("Cannot load config: {}", status.message())),
        _ => status.into(),
    }
}

/// Restarts the core.
#[utoipa::path(post, path = "/api/xray/restart", responses((status = 200, body = CoreRestarted)))]
pub(crate) async fn restart(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let restarted = gateway.xray().restart_core(RestartCoreRequest {}).await;
    restarted.map_err(PanelFailure::of_restart)?;
    Ok(answer::json(&CoreRestarted {
        ok: true,
        message: "restarted",
        service: "xray",
    }))
}

#[derive(Serialize, ToSchema)]
struct CoreRestarted {
    ok: bool,
    message: &'static str,
    service: &'static str,
}
