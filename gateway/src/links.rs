//! What opens a connection with a key: its link, in every form that clients take it in.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{GetKeyLinkRequest, GetKeyQrCodeRequest, QrCodeFormat};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::keys::KeyBody;
use crate::openapi::bodies::Image;
use crate::request::KeyId;
use crate::subscription;

/// Shows what opens a connection with a key: one link under three names, because clients of different ages look for
/// different ones. Beside it is where the key's subscription is.
#[utoipa::path(
    get,
    path = "/api/keys/{key_id}/config",
    responses((status = 200, body = KeyLinks), (status = 400, description = "The key has no port."))
)]
pub(crate) async fn show(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    let link = gateway.keys().get_key_link(GetKeyLinkRequest { key_id }).await?;
    let link = link.into_inner();
    let key = link.key.as_ref().ok_or_else(|| Failure::incomplete("key"))?;
    let path = link.subscription_token.as_deref().map(subscription::path);
    let url = gateway.public_url().zip(path.as_deref());
    Ok(answer::json_of_size(
        &KeyLinks {
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

#[derive(Serialize, ToSchema)]
struct KeyLinks<'a> {
    key: KeyBody<'a>,
    vless_url: &'a str,
    qr_code_data: &'a str,
    client_config: &'a str,
    short_id: &'a str,
    #[schema(required)]
    subscription_path: Option<&'a str>,
    #[schema(required)]
    subscription_url: Option<String>,
}

/// The link as a QR code, a PNG image.
#[utoipa::path(
    get,
    path = "/api/keys/{key_id}/qr.png",
    responses(
        (status = 200, content_type = "image/png", body = Image),
        (status = 400, description = "The key has no port."),
    )
)]
pub(crate) async fn qr_png(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    qr_code(&gateway, key_id, QrCodeFormat::Png).await
}

/// The link as a QR code, an SVG image.
#[utoipa::path(
    get,
    path = "/api/keys/{key_id}/qr.svg",
    responses(
        (status = 200, content_type = "image/svg+xml", body = String),
        (status = 400, description = "The key has no port."),
    )
)]
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
