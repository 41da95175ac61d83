//! The routes about the Xray core: of both families.
//!
//! [`status`] compares and counts, [`config`] writes, shows and applies the configuration, [`reality`] is about what
//! clients have to know of it. A file that is missing or broken is no request's fault: in the key family it is a 500.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::moment::Moment;

pub(crate) mod config;
pub(crate) mod reality;
pub(crate) mod status;

/// Says that something was done. Clients compare `message`.
fn done(message: &'static str, status: &'static str) -> Response {
    answer::json(&Done {
        message,
        status,
        timestamp: Moment::now().unix_seconds(),
    })
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    message: &'static str,
    status: &'static str,
    timestamp: i64,
}
