//! `portmeter.v1.KeyService`.

use portmeter_proto::etag::{self, Etag};
use portmeter_proto::v1::key_service_server::KeyService as Rpc;
use portmeter_proto::v1::{
    CreateKeyRequest, CreateKeyResponse, DeleteKeyRequest, DeleteKeyResponse, GetKeyLinkRequest, GetKeyLinkResponse,
    GetKeyQrCodeRequest, GetKeyQrCodeResponse, GetKeyRequest, GetKeyResponse, GetSubscriptionRequest,
    GetSubscriptionResponse, ListKeysRequest, ListKeysResponse, QrCodeFormat, RegenerateKeyRequest,
    RegenerateKeyResponse, SubscriptionFormat, UpdateKeyRequest, UpdateKeyResponse,
};
use tonic::{Request, Response, Status};

use super::changes::Changes;
use super::convert;
use super::key_update::key_update;
use crate::services::{CreateKey, KeyService, LinkService, QrFormat};
use crate::xray::subscription::SubscriptionToken;

/// The adapter around the key service.
pub struct KeyAdapter {
    keys: KeyService,
    links: LinkService,
    changes: Changes,
    /// Begins every tag of this process: revisions start anew with it, tags must not.
    tag_prefix: u64,
}

impl KeyAdapter {
    pub(super) fn new(keys: KeyService, links: LinkService, changes: Changes) -> Self {
        Self {
            keys,
            links,
            changes,
            tag_prefix: rand::random(),
        }
    }

    fn tag(&self, keys_revision: u64) -> Etag {
        format!("{:016x}-{keys_revision}", self.tag_prefix)
            .parse()
            .expect("hexadecimal digits are visible ASCII")
    }

    /// A page has no tag: who reads by pages asks for each once.
    fn page(&self, request: &ListKeysRequest) -> Result<Response<ListKeysResponse>, Status> {
        let page = self.keys.page(request.page_size, &request.page_token)?;
        Ok(Response::new(ListKeysResponse {
            keys: page.keys.iter().map(|key| convert::key(key)).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}

#[tonic::async_trait]
impl Rpc for KeyAdapter {
    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Result<Response<CreateKeyResponse>, Status> {
        let CreateKeyRequest {
            name,
            request_id,
            is_name_unique,
        } = request.into_inner();
        let create = CreateKey {
            name,
            request_id,
            is_name_unique,
        };
        let keys = self.keys.clone();
        let key = self.changes.run(async move { keys.create(create).await }).await?;
        Ok(Response::new(CreateKeyResponse {
            key: Some(convert::key(&key)),
        }))
    }

    /// Conditional: see [`portmeter_proto::etag`].
    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        if request.get_ref().page_size != 0 || !request.get_ref().page_token.is_empty() {
            return self.page(request.get_ref());
        }
        let snapshot = self.keys.list();
        let tag = self.tag(snapshot.keys_revision);
        let keys = if etag::is_known(&request, &tag) {
            Vec::new()
        } else {
            snapshot.entries.iter().map(|entry| convert::key(&entry.key)).collect()
        };
        let mut response = Response::new(ListKeysResponse {
            keys,
            next_page_token: String::new(),
        });
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
        let mut request = request.into_inner();
        let key_id = std::mem::take(&mut request.key_id);
        let (keys, update) = (self.keys.clone(), key_update(request)?);
        let key = self
            .changes
            .run(async move { keys.update(&key_id, update).await })
            .await?;
        Ok(Response::new(UpdateKeyResponse {
            key: Some(convert::key(&key)),
        }))
    }

    async fn delete_key(&self, request: Request<DeleteKeyRequest>) -> Result<Response<DeleteKeyResponse>, Status> {
        let (keys, key_id) = (self.keys.clone(), request.into_inner().key_id);
        let key = self.changes.run(async move { keys.delete(&key_id).await }).await?;
        Ok(Response::new(DeleteKeyResponse {
            key: Some(convert::key(&key)),
        }))
    }

    async fn regenerate_key(
        &self,
        request: Request<RegenerateKeyRequest>,
    ) -> Result<Response<RegenerateKeyResponse>, Status> {
        let (keys, key_id) = (self.keys.clone(), request.into_inner().key_id);
        let key = self.changes.run(async move { keys.regenerate(&key_id).await }).await?;
        Ok(Response::new(RegenerateKeyResponse {
            key: Some(convert::key(&key)),
        }))
    }

    async fn get_key_link(&self, request: Request<GetKeyLinkRequest>) -> Result<Response<GetKeyLinkResponse>, Status> {
        let link = self.links.link(&request.get_ref().key_id).await?;
        let token = link.key.subscription_token.as_ref();
        Ok(Response::new(GetKeyLinkResponse {
            key: Some(convert::key(&link.key)),
            vless_url: link.vless_url,
            short_id: link.short_id,
            subscription_token: token.map(SubscriptionToken::to_secret_text),
        }))
    }

    async fn get_key_qr_code(
        &self,
        request: Request<GetKeyQrCodeRequest>,
    ) -> Result<Response<GetKeyQrCodeResponse>, Status> {
        let format = match request.get_ref().format() {
            QrCodeFormat::Unspecified | QrCodeFormat::Png => QrFormat::Png,
            QrCodeFormat::Svg => QrFormat::Svg,
            QrCodeFormat::Text => QrFormat::Text,
        };
        let code = self.links.qr_code(&request.get_ref().key_id, format).await?;
        Ok(Response::new(GetKeyQrCodeResponse {
            content_type: code.content_type.to_owned(),
            image: code.image,
        }))
    }

    async fn get_subscription(
        &self,
        request: Request<GetSubscriptionRequest>,
    ) -> Result<Response<GetSubscriptionResponse>, Status> {
        let request = request.get_ref();
        let as_json = request.format() == SubscriptionFormat::Json;
        let subscription = self.links.subscription(&request.token, as_json).await?;
        Ok(Response::new(GetSubscriptionResponse {
            content_type: subscription.content_type.to_owned(),
            body: subscription.body,
            user_info: subscription.user_info,
            title: subscription.title,
        }))
    }
}
