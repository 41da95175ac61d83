//! The routes about the service itself: the banner, whether it is alive and ready, and what is reserved.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use portmeter_proto::v1::GetStateRequest;
use serde::Serialize;

use crate::answer;
use crate::failure::{Failure, Family};
use crate::gateway::Gateway;

/// The version is the one of the interface that clients were written for, not of this program.
const BANNER: &[u8] = br#"{"message":"VPN Key Management API","version":"2.1.3","status":"running"}"#;

/// `GET /`, `/api`, `/api/`.
pub(crate) async fn banner() -> Response {
    answer::json_bytes(Bytes::from_static(BANNER))
}

/// `GET /livez`: this process answers, whatever the agent does.
pub(crate) async fn is_alive() -> Response {
    answer::json_bytes(Bytes::from_static(br#"{"status":"alive"}"#))
}

/// `GET /readyz`: 200 when the agent counts and can write its ledger, else 503 with what is missing.
pub(crate) async fn is_ready(State(gateway): State<Gateway>) -> Response {
    #[derive(Serialize)]
    struct Readiness<'a> {
        status: &'a str,
        problems: &'a [String],
    }
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

/// Everything under `/api/v2`: reserved.
pub(crate) async fn not_implemented() -> Response {
    Family::Panel.error(StatusCode::NOT_IMPLEMENTED, "not_implemented")
}
