//! REALITY: what clients have to know of it, and its repair.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{GetRealityRequest, VerifyRealityRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::Done;
use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;

/// The panel's `server_port`, which stands for the port of an inbound that has none.
const SERVER_PORT_DEFAULT: u32 = 443;

/// Looks for what is missing or wrong in the REALITY settings, and repairs it.
#[utoipa::path(post, path = "/api/system/verify-reality", responses((status = 200, body = Done)))]
pub(crate) async fn verify(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let verified = gateway.xray().verify_reality(VerifyRealityRequest {}).await;
    verified.map_err(Failure::of_configuration)?;
    Ok(super::done(
        "Reality settings verified and updated successfully",
        "verified",
    ))
}

/// Shows what clients have to know of REALITY, of the first VLESS inbound.
#[utoipa::path(
    get,
    path = "/api/xray/reality",
    responses(
        (status = 200, body = Reality),
        (status = 400, description = "There is no such inbound, or no configuration that can be read."),
    )
)]
pub(crate) async fn show(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let reality = gateway.xray().get_reality(GetRealityRequest {}).await?.into_inner();
    Ok(answer::json(&Reality {
        ok: true,
        port: reality.port.unwrap_or(SERVER_PORT_DEFAULT),
        pbk: &reality.public_key,
        sni: &reality.server_name,
        sid: &reality.short_id,
        fp: &reality.fingerprint,
        flow: &reality.flow,
        server_host: &reality.server_host,
    }))
}

#[derive(Serialize, ToSchema)]
struct Reality<'a> {
    ok: bool,
    #[schema(maximum = 65_535)]
    port: u32,
    pbk: &'a str,
    sni: &'a str,
    sid: &'a str,
    fp: &'a str,
    flow: &'a str,
    server_host: &'a str,
}
