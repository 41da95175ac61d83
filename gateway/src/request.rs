//! Reads what a request carries: the key's id or another segment in the path, a JSON object in the body.
//!
//! Owns the limits of a body and the sentences that say what is wrong with one. A body is read as JSON whatever its
//! content type says, and fields that nobody asked for are left alone.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// The largest body that is read, in bytes: the longest name takes 1.5 kB, escaped.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How much of a body that nobody wants is read and thrown away before the answer is sent. Closing a connection on
/// bytes still under way resets it, and the client would never see why it was refused; one that sends
/// more than this may not.
const DISCARDED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest name of a key, in characters.
const NAME_CHARACTERS_MAX: usize = 255;

/// The id or uuid of a key, as the path gives it, percent-decoded.
pub(crate) struct KeyId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for KeyId {
    type Rejection = Failure;

    /// An id that is no UTF-8 is no key's id: it is not found, like any other that nobody has.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(key_id)| Self(key_id))
            .map_err(|_| Failure::key_not_found())
    }
}

/// Any other part of a path, percent-decoded; empty where that gives no UTF-8, which nothing is named.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(path.map_or_else(|_| Self(String::new()), |Path(segment)| Self(segment)))
    }
}

/// The body: a JSON object.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        Self::parse(&body_of(request).await?)
    }
}

/// The body: a JSON object, or `null`.
#[derive(Debug)]
pub(crate) struct OptionalFields(pub(crate) Option<Fields>);

impl<S: Send + Sync> FromRequest<S> for OptionalFields {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        Self::parse(&body_of(request).await?)
    }
}

impl OptionalFields {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        match bytes.trim_ascii() {
            b"null" => Ok(Self(None)),
            bytes => Fields::parse(bytes).map(|fields| Self(Some(fields))),
        }
    }
}

/// The whole body of a request.
pub(crate) async fn body_of(request: Request) -> Result<Bytes, Failure> {
    let mut body = request.into_body();
    let arrived = tokio::time::timeout(BODY_TIMEOUT, read(&mut body)).await;
    arrived.map_err(|_| {
        Failure::bad_request(format!(
            "body: it did not arrive within {} seconds",
            BODY_TIMEOUT.as_secs()
        ))
    })?
}

impl Fields {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Failure::bad_request(
                "body: send a JSON object, for example {\"name\": \"text\"}",
            )),
            Err(error) => Err(Failure::bad_request(format!(
                "body: send a JSON object; this is not JSON: {error}"
            ))),
        }
    }

    /// A key's name that must be there: 1 to 255 characters, without the white space around it.
    pub(crate) fn name(&self) -> Result<String, Failure> {
        self.optional_name()?.ok_or_else(|| Failure::bad_request(NAME_RULE))
    }

    /// A key's name that may be left out.
    pub(crate) fn optional_name(&self) -> Result<Option<String>, Failure> {
        let Some(value) = self.0.get("name") else {
            return Ok(None);
        };
        let name = value.as_str().unwrap_or_default().trim();
        match name.chars().count() {
            1..=NAME_CHARACTERS_MAX => Ok(Some(name.to_owned())),
            _ => Err(Failure::bad_request(NAME_RULE)),
        }
    }

    /// A flag that must be there.
    pub(crate) fn flag(&self, field: &str) -> Result<bool, Failure> {
        let value = self.0.get(field).and_then(Value::as_bool);
        value.ok_or_else(|| Failure::bad_request(format!("{field}: send true or false")))
    }

    /// A flag that may be left out or `null`.
    pub(crate) fn optional_flag(&self, field: &str) -> Result<Option<bool>, Failure> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.flag(field).map(Some),
        }
    }

    /// A whole number in `range` that must be there.
    pub(crate) fn number(&self, field: &str, range: RangeInclusive<u32>) -> Result<u32, Failure> {
        let number = self.0.get(field).and_then(Value::as_u64);
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (first, last) = (range.start(), range.end());
            Failure::bad_request(format!("{field}: send a whole number from {first} to {last}"))
        })
    }

    /// A text that may be left out or `null`.
    pub(crate) fn text(&self, field: &str) -> Result<Option<&str>, Failure> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Failure::bad_request(format!("{field}: send a text"))),
        }
    }

    /// Whether the field is there and `null`.
    pub(crate) fn is_null(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(Value::is_null)
    }
}

const NAME_RULE: &str = "name: send a text of 1 to 255 characters";

/// Reads a body to its end and gives what it held, if that is not too much.
async fn read(body: &mut Body) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::bad_request("body: it ended before it was complete"))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            discard(body).await;
            let text = format!("body: it is larger than {BODY_BYTES_MAX} bytes; send a shorter one");
            return Err(Failure::body_too_large(text));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// Answers a request whose body is not wanted.
pub(crate) async fn refuse(request: Request, response: Response) -> Response {
    let mut body = request.into_body();
    // Running out of time changes nothing: the answer is the same.
    let _ = tokio::time::timeout(BODY_TIMEOUT, discard(&mut body)).await;
    response
}

/// Reads and forgets, up to a limit.
async fn discard(body: &mut Body) {
    let mut discarded_bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded_bytes += frame.data_ref().map_or(0, Bytes::len);
        if discarded_bytes > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_body_is_an_object() {
        for text in ["", "{", "[]", "null", "\"name\"", "{\"name\": \"\\ud800\"}", "{} {}"] {
            assert!(Fields::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Fields::parse(b"{\"name\": \"\xff\"}").is_err());
        assert!(Fields::parse(" {\"other\": [1, {}]} ".as_bytes()).is_ok());
        assert!(Fields::parse(&[b'['; BODY_BYTES_MAX]).is_err());
    }

    #[test]
    fn a_name_is_trimmed_and_counted_in_characters() {
        assert_eq!(fields("{\"name\": \" Zoë \\n\"}").name().unwrap(), "Zoë");
        let longest = "ы".repeat(NAME_CHARACTERS_MAX);
        assert_eq!(fields(&format!("{{\"name\": \"{longest}\"}}")).name().unwrap(), longest);
        for text in [
            "{}",
            "{\"name\": 5}",
            "{\"name\": null}",
            "{\"name\": \" \"}",
            "{\"Name\": \"x\"}",
        ] {
            assert!(fields(text).name().is_err(), "{text}");
        }
        assert!(fields(&format!("{{\"name\": \"{longest}x\"}}")).name().is_err());
    }

    #[test]
    fn an_optional_name_may_be_absent_but_not_wrong() {
        assert_eq!(fields("{}").optional_name().unwrap(), None);
        assert!(fields("{\"name\": false}").optional_name().is_err());
    }

    #[test]
    fn an_optional_body_is_an_object_or_null() {
        let is_object = |text: &str| {
            let OptionalFields(fields) = OptionalFields::parse(text.as_bytes()).ok()?;
            Some(fields.is_some())
        };
        assert_eq!((is_object(" null\n"), is_object("{}")), (Some(false), Some(true)));
        for text in ["", "nul", "nulll", "NULL", "[]", "{", "null null"] {
            assert_eq!(is_object(text), None, "{text}");
        }
    }

    #[test]
    fn a_flag_is_true_or_false() {
        assert!(fields("{\"is_active\": true}").flag("is_active").unwrap());
        for text in [
            "{}",
            "{\"is_active\": 1}",
            "{\"is_active\": \"true\"}",
            "{\"is_active\": null}",
        ] {
            assert!(fields(text).flag("is_active").is_err(), "{text}");
        }
    }
}
