//! The routes of keys: make, list, show, change, delete.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use portmeter_proto::etag;
use portmeter_proto::v1::{CreateKeyRequest, DeleteKeyRequest, GetKeyRequest, Key, ListKeysRequest, UpdateKeyRequest};
use serde::Serialize;
use tonic::Request;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::key_list::Written;
use crate::moment::Moment;
use crate::openapi::bodies::{KeyCreation, KeyUpdate, Message};
use crate::request::{Fields, KeyId};

/// What a key in a list takes at most, unless its name is long; see [`answer::to_bytes`].
const ROW_BYTES: usize = 224;

/// A key as every route shows it.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyBody<'a> {
    #[schema(format = "uuid")]
    id: &'a str,
    name: &'a str,
    #[schema(format = "uuid")]
    uuid: &'a str,
    created_at: Moment,
    is_active: bool,
    #[schema(required, maximum = 65_535)]
    port: Option<u32>,
}

impl<'a> KeyBody<'a> {
    pub(crate) fn of(key: &'a Key) -> Result<Self, Failure> {
        Ok(Self {
            id: &key.id,
            name: &key.name,
            uuid: &key.uuid,
            created_at: Moment::of(key.created_at.as_ref(), "key.created_at")?,
            is_active: key.is_active,
            port: key.port,
        })
    }
}

/// Makes a key on the lowest free port.
#[utoipa::path(post, path = "/api/keys", request_body = KeyCreation, responses((status = 200, body = KeyBody)))]
pub(crate) async fn create(State(gateway): State<Gateway>, fields: Fields) -> Result<Response, Failure> {
    let request = CreateKeyRequest {
        name: fields.name()?,
        ..CreateKeyRequest::default()
    };
    one(gateway.keys().create_key(request).await?.into_inner().key)
}

/// Lists all keys in creation order: a bare array.
#[utoipa::path(get, path = "/api/keys", responses((status = 200, body = [KeyBody])))]
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let mut request = Request::new(ListKeysRequest::default());
    let last = gateway.key_list().last();
    // See `key_list`: the agent says whether the last list still holds.
    if let Some(last) = &last {
        etag::set_known(&mut request, last.etag.clone());
    }
    let response = gateway.keys().list_keys(request).await?;
    let current = etag::current(&response).cloned();
    if let Some(last) = last.filter(|last| current.as_ref() == Some(&last.etag)) {
        return Ok(answer::json_bytes(last.body.clone()));
    }
    let keys = response.into_inner().keys;
    let rows = keys.iter().map(KeyBody::of).collect::<Result<Vec<_>, _>>()?;
    let body = answer::list_to_bytes(&rows, rows.len() * ROW_BYTES);
    if let Some(etag) = current {
        gateway.key_list().keep(Written {
            etag,
            body: body.clone(),
        });
    }
    Ok(answer::json_bytes(body))
}

/// Shows a key.
#[utoipa::path(get, path = "/api/keys/{key_id}", responses((status = 200, body = KeyBody)))]
pub(crate) async fn show(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    one(gateway.keys().get_key(GetKeyRequest { key_id }).await?.into_inner().key)
}

/// Enables or disables a key, and renames it where a name is sent.
#[utoipa::path(patch, path = "/api/keys/{key_id}", request_body = KeyUpdate, responses((status = 200, body = KeyBody)))]
pub(crate) async fn update(
    State(gateway): State<Gateway>,
    KeyId(key_id): KeyId,
    fields: Fields,
) -> Result<Response, Failure> {
    let is_active = Some(fields.flag("is_active")?);
    let request = UpdateKeyRequest {
        key_id,
        name: fields.optional_name()?,
        is_active,
        ..UpdateKeyRequest::default()
    };
    one(gateway.keys().update_key(request).await?.into_inner().key)
}

/// Deletes a key and frees its port. Its connections end at once.
#[utoipa::path(delete, path = "/api/keys/{key_id}", responses((status = 200, body = Message)))]
pub(crate) async fn delete(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    gateway.keys().delete_key(DeleteKeyRequest { key_id }).await?;
    Ok(answer::json_bytes(Bytes::from_static(
        br#"{"message":"Key deleted successfully"}"#,
    )))
}

fn one(key: Option<Key>) -> Result<Response, Failure> {
    let key = key.ok_or_else(|| Failure::incomplete("key"))?;
    Ok(answer::json(&KeyBody::of(&key)?))
}
