//! The routes of keys: make, list, show, change, delete.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use portmeter_proto::etag;
use portmeter_proto::v1::{CreateKeyRequest, DeleteKeyRequest, GetKeyRequest, Key, ListKeysRequest, UpdateKeyRequest};
use serde::Serialize;
use tonic::Request;

use crate::answer;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::key_list::Written;
use crate::moment::Moment;
use crate::request::{Fields, KeyId};

/// What a key in a list takes at most, unless its name is long; see [`answer::to_bytes`].
const ROW_BYTES: usize = 224;

/// A key as every route shows it.
#[derive(Serialize)]
pub(crate) struct KeyBody<'a> {
    id: &'a str,
    name: &'a str,
    uuid: &'a str,
    created_at: Moment,
    is_active: bool,
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

/// `POST /api/keys`
pub(crate) async fn create(State(gateway): State<Gateway>, fields: Fields) -> Result<Response, Failure> {
    let request = CreateKeyRequest { name: fields.name()? };
    one(gateway.keys().create_key(request).await?.into_inner().key)
}

/// `GET /api/keys`: a bare array in creation order; see [`key_list`](crate::key_list).
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let mut request = Request::new(ListKeysRequest {});
    let last = gateway.key_list().last();
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
    let body = answer::to_bytes(&rows, rows.len() * ROW_BYTES);
    if let Some(etag) = current {
        gateway.key_list().keep(Written {
            etag,
            body: body.clone(),
        });
    }
    Ok(answer::json_bytes(body))
}

/// `GET /api/keys/{key_id}`
pub(crate) async fn show(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    one(gateway.keys().get_key(GetKeyRequest { key_id }).await?.into_inner().key)
}

/// `PATCH /api/keys/{key_id}`: enables or disables a key, and renames it where a name is sent.
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
    };
    one(gateway.keys().update_key(request).await?.into_inner().key)
}

/// `DELETE /api/keys/{key_id}`
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
