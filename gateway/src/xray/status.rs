//! Whether the core has the keys that there are, and what its configuration holds. Nothing here changes anything.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::{
    CheckSynchronizationRequest, CheckSynchronizationResponse, GetConfigurationRequest, GetConfigurationResponse,
    ListPortsRequest,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::moment::Moment;
use crate::ports::Tables;

/// What a uuid takes in a list; see [`answer::json_of_size`].
const UUID_BYTES: usize = 40;

/// Whether the core has the keys that there are; all its VLESS inbounds count.
#[utoipa::path(get, path = "/api/system/config-status", responses((status = 200, body = ConfigStatus)))]
pub(crate) async fn compare(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let found = check(&gateway).await?;
    let answer = ConfigStatus {
        synchronized: found.synchronized,
        keys_json_count: found.key_uuids.len(),
        config_json_count: found.config_uuids.len(),
        keys_json_uuids: &found.key_uuids,
        config_json_uuids: &found.config_uuids,
        timestamp: Moment::now().unix_seconds(),
    };
    Ok(answer::json_of_size(&answer, expected_bytes(&found)))
}

#[derive(Serialize, ToSchema)]
struct ConfigStatus<'a> {
    synchronized: bool,
    keys_json_count: usize,
    config_json_count: usize,
    keys_json_uuids: &'a [String],
    config_json_uuids: &'a [String],
    timestamp: i64,
}

/// Whether the core has the keys that there are, with the differences both ways.
#[utoipa::path(get, path = "/api/system/xray/validate-sync", responses((status = 200, body = SyncStatus)))]
pub(crate) async fn validate(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let found = check(&gateway).await?;
    let answer = SyncStatus {
        validation: SyncValidation {
            synchronized: found.synchronized,
            key_uuids: &found.key_uuids,
            config_uuids: &found.config_uuids,
            missing_in_config: &found.missing_in_config,
            extra_in_config: &found.extra_in_config,
            total_keys: found.key_uuids.len(),
            total_config_clients: found.config_uuids.len(),
        },
        timestamp: Moment::now().unix_seconds(),
    };
    Ok(answer::json_of_size(&answer, expected_bytes(&found)))
}

#[derive(Serialize, ToSchema)]
struct SyncStatus<'a> {
    validation: SyncValidation<'a>,
    timestamp: i64,
}

#[derive(Serialize, ToSchema)]
struct SyncValidation<'a> {
    synchronized: bool,
    key_uuids: &'a [String],
    config_uuids: &'a [String],
    missing_in_config: &'a [String],
    extra_in_config: &'a [String],
    total_keys: usize,
    total_config_clients: usize,
}

/// Shows what inbounds there are, beside the port table.
///
/// The inner timestamp is text, the outer a number. A configuration that is not there, or is no JSON, has no inbounds
/// and is not valid.
#[utoipa::path(get, path = "/api/system/xray/config-status", responses((status = 200, body = InboundCount)))]
pub(crate) async fn count(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let configuration = configuration(&gateway).await?.unwrap_or_default();
    let ports = gateway.ports().list_ports(ListPortsRequest {}).await?.into_inner();
    let now = Moment::now();
    let answer = InboundCount {
        config_status: InboundStatus {
            total_inbounds: configuration.inbound_count,
            vless_inbounds: configuration.vless_inbound_count,
            api_inbounds: configuration.api_inbound_count,
            port_assignments: Tables::of(&ports)?,
            config_valid: configuration.is_valid,
            timestamp: now,
        },
        timestamp: now.unix_seconds(),
    };
    Ok(answer::json_of_size(&answer, Tables::expected_bytes(&ports)))
}

#[derive(Serialize, ToSchema)]
struct InboundCount<'a> {
    config_status: InboundStatus<'a>,
    timestamp: i64,
}

#[derive(Serialize, ToSchema)]
struct InboundStatus<'a> {
    total_inbounds: u32,
    vless_inbounds: u32,
    api_inbounds: u32,
    port_assignments: Tables<'a>,
    config_valid: bool,
    timestamp: Moment,
}

/// The configuration, if there is one that can be read.
pub(crate) async fn configuration(gateway: &Gateway) -> Result<Option<GetConfigurationResponse>, Failure> {
    match gateway.xray().get_configuration(GetConfigurationRequest {}).await {
        Ok(response) => Ok(Some(response.into_inner())),
        Err(status) if Reason::of(&status) == Reason::ConfigurationUnreadable => Ok(None),
        Err(status) => Err(status.into()),
    }
}

async fn check(gateway: &Gateway) -> Result<CheckSynchronizationResponse, Failure> {
    let request = CheckSynchronizationRequest {};
    let found = gateway.xray().check_synchronization(request).await;
    Ok(found.map_err(Failure::of_configuration)?.into_inner())
}

fn expected_bytes(found: &CheckSynchronizationResponse) -> usize {
    let lists = [
        &found.key_uuids,
        &found.config_uuids,
        &found.missing_in_config,
        &found.extra_in_config,
    ];
    256 + UUID_BYTES * lists.iter().map(|list| list.len()).sum::<usize>()
}
