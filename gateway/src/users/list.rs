//! `GET /api/users`: every key as a user of the panel.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{GetXrayStateRequest, Key, ListKeysRequest};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::PanelFailure;
use crate::gateway::Gateway;

/// What a user takes, unless its names are long; see [`answer::json_of_size`].
const ROW_BYTES: usize = 192;

#[derive(Serialize, ToSchema)]
#[schema(as = PanelUser)]
struct User<'a> {
    email: &'a str,
    #[schema(format = "uuid")]
    uuid: &'a str,
    flow: &'a str,
    enabled: bool,
    alias: &'a str,
}

impl<'a> User<'a> {
    fn of(key: &'a Key, flow: &'a str) -> Self {
        Self {
            email: &key.name,
            uuid: &key.uuid,
            flow,
            enabled: key.is_active,
            alias: &key.alias,
        }
    }
}

/// Lists the users in creation order. The flow is the same for all of them.
#[utoipa::path(
    get,
    path = "/api/users",
    responses((status = 200, body = UserList))
)]
pub(crate) async fn show(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let (mut key_client, mut xray_client) = (gateway.keys(), gateway.xray());
    let (keys, state) = tokio::try_join!(
        key_client.list_keys(ListKeysRequest::default()),
        xray_client.get_xray_state(GetXrayStateRequest {}),
    )?;
    let (keys, flow) = (keys.into_inner().keys, state.into_inner().flow);
    let users: Vec<User<'_>> = keys.iter().map(|key| User::of(key, &flow)).collect();
    let expected_bytes = (users.len() + 1) * ROW_BYTES;
    Ok(answer::json_of_size(&UserList { ok: true, users }, expected_bytes))
}

#[derive(Serialize, ToSchema)]
struct UserList<'a> {
    ok: bool,
    users: Vec<User<'a>>,
}
