//! `GET /api/users/link`: the link that `/api/keys/{key_id}/config` shows too.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::GetKeyLinkRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::wanted::{Wanted, gone_or};
use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::query::Query;

/// Shows a user's link, the one that `/api/keys/{key_id}/config` shows too. Where both are given, both must be the
/// same user's.
#[utoipa::path(
    get,
    path = "/api/users/link",
    params(
        ("email" = Option<String>, Query, description = "The user's email."),
        ("uuid" = Option<String>, Query, description = "The user's uuid."),
    ),
    responses((status = 200, body = UserLink), (status = 400, description = "Neither is given, or the uuid is none."), (status = 404, description = "No user is meant by these."))
)]
pub(crate) async fn show(State(gateway): State<Gateway>, query: Query) -> Result<Response, PanelFailure> {
    let not_found = || Failure::user_not_found("user_not_found");
    let wanted = Wanted::of_query(&query)?;
    let key_id = wanted.key(&gateway).await?.ok_or_else(not_found)?.id;
    let link = gateway.keys().get_key_link(GetKeyLinkRequest { key_id }).await;
    let link = link.map_err(|status| gone_or(status, not_found))?.into_inner();
    Ok(answer::json(&UserLink {
        ok: true,
        link: &link.vless_url,
    }))
}

#[derive(Serialize, ToSchema)]
struct UserLink<'a> {
    ok: bool,
    link: &'a str,
}
