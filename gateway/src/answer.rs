//! Writes an answer: one pass from the borrowed message to the bytes of the body.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::failure::Failure;

/// The content type of every answer but a file.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Room for an answer about one thing; a list says how much it needs.
const ONE_BYTES: usize = 512;

/// A success with `body` as JSON.
pub(crate) fn json(body: &impl Serialize) -> Response {
    json_with(StatusCode::OK, body)
}

/// An answer of any status with `body` as JSON.
pub(crate) fn json_with(status: StatusCode, body: &impl Serialize) -> Response {
    json_bytes_with(status, to_bytes(body, ONE_BYTES))
}

/// A success with `body` as JSON, of about `expected_bytes`.
pub(crate) fn json_of_size(body: &impl Serialize, expected_bytes: usize) -> Response {
    json_bytes(to_bytes(body, expected_bytes))
}

/// A success with a body that is JSON already.
pub(crate) fn json_bytes(body: Bytes) -> Response {
    json_bytes_with(StatusCode::OK, body)
}

/// An answer of any status with a body that is JSON already.
pub(crate) fn json_bytes_with(status: StatusCode, body: Bytes) -> Response {
    respond(status, Body::from(body))
}

/// `body` as JSON. The buffer has room for `expected_bytes` from the start, so that a long list is not copied again
/// and again while it grows.
pub(crate) fn to_bytes(body: &impl Serialize, expected_bytes: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(expected_bytes);
    // Writing to memory cannot fail, and no answer has a map key that is neither text nor a number.
    serde_json::to_writer(&mut bytes, body).expect("an answer is always JSON");
    bytes.into()
}

/// The same for a list whose rows are many: by a writer that looks for what has to be escaped many bytes at a time. It
/// knows nothing of `serde_json`'s raw values.
pub(crate) fn list_to_bytes(body: &impl Serialize, expected_bytes: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(expected_bytes);
    sonic_rs::to_writer(&mut bytes, body).expect("an answer is always JSON");
    bytes.into()
}

/// A success that is a file of this type. It holds what opens a connection, so nobody between is to keep it.
pub(crate) fn secret_file(content_type: &str, body: Bytes) -> Result<Response, Failure> {
    let content_type = header_value(content_type, "content_type")?;
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A text of the agent's answer as a header's value; `what` names it in the log where it cannot be one.
pub(crate) fn header_value(text: &str, what: &'static str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Failure::incomplete(what))
}

fn respond(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Pairs that are written as a JSON object, in their order.
pub(crate) struct Object<K, V>(pub(crate) Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Object<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_text_where_they_are_names() {
        let object = Object(vec![(10002, "second"), (10001, "first")]);
        assert_eq!(
            serde_json::to_string(&object).unwrap(),
            r#"{"10002":"second","10001":"first"}"#
        );
    }
}
