//! The routes about the service itself: the banner, whether it is alive and ready, and what is reserved.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use portmeter_proto::v1::GetStateRequest;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::{Failure, Family};
use crate::gateway::Gateway;
use crate::moment::{Moment, Zulu};
use crate::openapi::bodies::{Alive, Banner};

/// The version is the one of the interface that clients were written for, not of this program.
const BANNER: &[u8] = br#"{"message":"VPN Key Management API","version":"2.1.3","status":"running"}"#;

/// Says that the service is here. The version is the one of the interface that clients were written for.
#[utoipa::path(get, path = "/", responses((status = 200, body = Banner)))]
pub(crate) async fn banner() -> Response {
    answer::json_bytes(Bytes::from_static(BANNER))
}

/// Whether this process answers, whatever the agent does.
#[utoipa::path(get, path = "/api/ping", responses((status = 200, body = Pong)))]
pub(crate) async fn ping() -> Response {
    answer::json(&Pong {
        ok: true,
        message: "pong",
        ts: Moment::now().zulu(),
    })
}

#[derive(Serialize, ToSchema)]
struct Pong {
    ok: bool,
    message: &'static str,
    ts: Zulu,
}

/// The same as `/`.
#[utoipa::path(get, path = "/api", responses((status = 200, body = Banner)))]
pub(crate) async fn banner_of_api() -> Response {
    banner().await
}

/// The same as `/`.
#[utoipa::path(get, path = "/api/", responses((status = 200, body = Banner)))]
pub(crate) async fn banner_of_folder() -> Response {
    banner().await
}

/// Whether this process answers, whatever the agent does.
#[utoipa::path(get, path = "/livez", responses((status = 200, body = Alive)))]
pub(crate) async fn is_alive() -> Response {
    answer::json_bytes(Bytes::from_static(br#"{"status":"alive"}"#))
}

/// Whether the agent counts and can write its ledger, and if not, what is missing.
#[utoipa::path(
    get,
    path = "/readyz",
    responses((status = 200, body = Readiness), (status = 503, description = "Not ready.", body = Readiness))
)]
pub(crate) async fn is_ready(State(gateway): State<Gateway>) -> Response {
    match gateway.system().get_state(GetStateRequest {}).await {
        Ok(state) => {
            let state = state.into_inner();
            let (code, status) = if state.is_ready {
                (StatusCode::OK, "ready")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready")
            };
            answer::json_with(
                code,
                &Readiness {
                    status,
                    problems: &state.problems,
                },
            )
        }
        Err(status) => {
            let problems = [Failure::from(status).into_text()];
            answer::json_with(
                StatusCode::SERVICE_UNAVAILABLE,
                &Readiness {
                    status: "not ready",
                    problems: &problems,
                },
            )
        }
    }
}

#[derive(Serialize, ToSchema)]
struct Readiness<'a> {
    status: &'a str,
    problems: &'a [String],
}

/// Reserved.
#[utoipa::path(
    method(get, post, put, delete, options, head, patch, trace),
    path = "/api/v2",
    responses((status = 501, description = "Nothing is here yet."))
)]
pub(crate) async fn not_implemented() -> Response {
    Family::Panel.error(StatusCode::NOT_IMPLEMENTED, "not_implemented")
}

/// Reserved.
#[utoipa::path(
    method(get, post, put, delete, options, head, patch, trace),
    path = "/api/v2/",
    responses((status = 501, description = "Nothing is here yet."))
)]
pub(crate) async fn not_implemented_folder() -> Response {
    not_implemented().await
}

/// Reserved.
#[utoipa::path(
    method(get, post, put, delete, options, head, patch, trace),
    path = "/api/v2/{rest}",
    responses((status = 501, description = "Nothing is here yet."))
)]
pub(crate) async fn not_implemented_path() -> Response {
    not_implemented().await
}
