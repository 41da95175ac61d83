//! Reads what a request of the panel carries beside its query: a JSON object in the body.
//!
//! The limits of a body are [`request`](crate::request)'s; the panel has a word for a body that is no object.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;

use crate::failure::{Failure, PanelFailure};
use crate::request::{Fields, body_of};

/// What is said of a body that is no JSON object.
const JSON_REQUIRED: &str = "json_required";

/// The body: a JSON object.
pub(crate) struct PanelFields(pub(crate) Fields);

impl<S: Send + Sync> FromRequest<S> for PanelFields {
    type Rejection = PanelFailure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, PanelFailure> {
        Ok(Self(object(&body_of(request).await?)?))
    }
}

/// The body: a JSON object or nothing, which is one without fields.
pub(crate) struct OptionalPanelFields(pub(crate) Fields);

impl<S: Send + Sync> FromRequest<S> for OptionalPanelFields {
    type Rejection = PanelFailure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, PanelFailure> {
        let bytes = body_of(request).await?;
        let bytes = match bytes.trim_ascii() {
            b"" | b"null" => Bytes::from_static(b"{}"),
            _ => bytes,
        };
        Ok(Self(object(&bytes)?))
    }
}

/// The body: the text of a JSON object, with every digit that was sent.
pub(crate) struct PanelText(pub(crate) String);

impl<S: Send + Sync> FromRequest<S> for PanelText {
    type Rejection = PanelFailure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, PanelFailure> {
        let bytes = body_of(request).await?;
        object(&bytes)?;
        let text = String::from_utf8(bytes.into());
        Ok(Self(text.map_err(|_| Failure::bad_request(JSON_REQUIRED))?))
    }
}

fn object(bytes: &[u8]) -> Result<Fields, Failure> {
    Fields::parse(bytes).map_err(|_| Failure::bad_request(JSON_REQUIRED))
}
