//! `portmeter.v1.KeyService`.

use portmeter_proto::etag::{self, Etag};
use portmeter_proto::v1::key_service_server::KeyService as Rpc;
use portmeter_proto::v1::{
    CreateKeyRequest, CreateKeyResponse, DeleteKeyRequest, DeleteKeyResponse, GetKeyRequest, GetKeyResponse,
    ListKeysRequest, ListKeysResponse, UpdateKeyRequest, UpdateKeyResponse,
};
use tonic::{Request, Response, Status};

use super::convert;
use crate::services::KeyService;

/// The adapter around the key service.
pub struct KeyAdapter {
    keys: KeyService,
    /// Begins every tag of this process: revisions start anew with it, tags must not.
    tag_prefix: u64,
}

impl KeyAdapter {
    pub(super) fn new(keys: KeyService) -> Self {
        Self {
            keys,
            tag_prefix: rand::random(),
        }
    }

    fn tag(&self, keys_revision: u64) -> Etag {
        format!("{:016x}-{keys_revision}", self.tag_prefix)
            .parse()
            .expect("hexadecimal digits are visible ASCII")
    }
}

#[tonic::async_trait]
impl Rpc for KeyAdapter {
    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Result<Response<CreateKeyResponse>, Status> {
        let key = self.keys.create(&request.get_ref().name).await?;
        Ok(Response::new(CreateKeyResponse {
            key: Some(convert::key(&key)),
        }))
    }

    /// Conditional: see [`portmeter_proto::etag`].
    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        let snapshot = self.keys.list();
        let tag = self.tag(snapshot.keys_revision);
        let keys = if etag::is_known(&request, &tag) {
            Vec::new()
        } else {
            snapshot.entries.iter().map(|entry| convert::key(&entry.key)).collect()
        };
        let mut response = Response::new(ListKeysResponse { keys });
        etag::set_current(&mut response, tag);
        Ok(response)
    }

    async fn get_key(&self, request: Request<GetKeyRequest>) -> Result<Response<GetKeyResponse>, Status> {
        let key = self.keys.get(&request.get_ref().key_id)?;
        Ok(Response::new(GetKeyResponse {
            key: Some(convert::key(&key)),
        }))
    }

    async fn update_key(&self, request: Request<UpdateKeyRequest>) -> Result<Response<UpdateKeyResponse>, Status> {
        let request = request.into_inner();
        let key = self
            .keys
            .update(&request.key_id, request.name.as_deref(), request.is_active)
            .await?;
        Ok(Response::new(UpdateKeyResponse {
            key: Some(convert::key(&key)),
        }))
    }

    async fn delete_key(&self, request: Request<DeleteKeyRequest>) -> Result<Response<DeleteKeyResponse>, Status> {
        let key = self.keys.delete(&request.get_ref().key_id).await?;
        Ok(Response::new(DeleteKeyResponse {
            key: Some(convert::key(&key)),
        }))
    }
}
