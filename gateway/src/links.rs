//! What opens a connection with a key: its link, in every form that clients take it in.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{GetKeyLinkRequest, GetKeyQrCodeRequest, QrCodeFormat};
use serde::Serialize;

use crate::answer;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::keys::KeyBody;
use crate::request::KeyId;
use crate::subscription;

/// `GET /api/keys/{key_id}/config`: one link under three names, because clients of different ages look for different
/// ones; beside it, where the key's subscription is.
pub(crate) async fn show(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct Answer<'a> {
        key: KeyBody<'a>,
        vless_url: &'a str,
        qr_code_data: &'a str,
        client_config: &'a str,
        short_id: &'a str,
        subscription_path: Option<&'a str>,
        subscription_url: Option<String>,
    }
    let link = gateway.keys().get_key_link(GetKeyLinkRequest { key_id }).await?;
    let link = link.into_inner();
    let key = link.key.as_ref().ok_or_else(|| Failure::incomplete("key"))?;
    let path = link.subscription_token.as_deref().map(subscription::path);
    let url = gateway.public_url().zip(path.as_deref());
    Ok(answer::json_of_size(
        &Answer {
            key: KeyBody::of(key)?,
            vless_url: &link.vless_url,
            qr_code_data: &link.vless_url,
            client_config: &link.vless_url,
            short_id: &link.short_id,
            subscription_path: path.as_deref(),
            subscription_url: url.map(|(public_url, path)| format!("{}{path}", public_url.trim_end_matches('/'))),
        },
        512 + 3 * link.vless_url.len(),
    ))
}

/// `GET /api/keys/{key_id}/qr.png`
pub(crate) async fn qr_png(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    qr_code(&gateway, key_id, QrCodeFormat::Png).await
}

/// `GET /api/keys/{key_id}/qr.svg`
pub(crate) async fn qr_svg(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    qr_code(&gateway, key_id, QrCodeFormat::Svg).await
}

async fn qr_code(gateway: &Gateway, key_id: String, format: QrCodeFormat) -> Result<Response, Failure> {
    let request = GetKeyQrCodeRequest {
        key_id,
        format: format.into(),
    };
    let code = gateway.keys().get_key_qr_code(request).await?.into_inner();
    answer::secret_file(&code.content_type, code.image.into())
}
