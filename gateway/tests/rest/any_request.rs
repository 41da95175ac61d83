//! Any bytes as a request, and what must hold of every answer: for the fuzz target, and for the test that replays what
//! it has found.
//!
//! An input looks like a request of HTTP, so that a person can read the corpus:
//!
//! ```text
//! POST /api/keys?name=value
//! Accept: text/html
//!
//! {"name": "text"}
//! ```
//!
//! The right API key goes along unless the first line begins with `!`. What is no method, address or header is left out:
//! it would not get as far as the router.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use portmeter_gateway::{GatewayConfig, PanelAuth, router};
use portmeter_proto::api_key::ApiKey;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::agent::Agent;

const API_KEY: &str = "0123456789abcdef";

/// What stands before a request without the API key.
const STRANGER: u8 = b'!';

/// The first segments below `/api/` that are the panel's, and its paths in a folder that is not.
const PANEL: [&str; 12] = [
    "ping",
    "usage",
    "users",
    "live",
    "events",
    "ports",
    "settings",
    "xray",
    "collector",
    "backups",
    "tests",
    "v2",
];
const PANEL_PATHS: [&str; 3] = ["/api/system/status", "/api/system/resources", "/api/system/restart"];

/// Every status that an answer can have while the agent is well.
const STATUSES: [u16; 9] = [200, 304, 400, 401, 404, 405, 409, 413, 501];

/// The request that an input stands for; `None` where it stands for none.
fn decode(input: &[u8]) -> Option<Request<Body>> {
    let (head, body) = match input.windows(2).position(|two| two == b"\n\n") {
        Some(end) => (&input[..end], &input[end + 2..]),
        None => (input, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let (is_stranger, first) = match first.strip_prefix(&[STRANGER]) {
        Some(rest) => (true, rest),
        None => (false, first),
    };
    let space = first.iter().position(|byte| *byte == b' ')?;
    let method = Method::from_bytes(&first[..space]).ok()?;
    let target = Uri::try_from(&first[space + 1..]).ok()?;
    target.path().starts_with('/').then_some(())?;
    let mut request = Request::builder().method(method).uri(target);
    if !is_stranger {
        request = request.header("X-API-Key", API_KEY);
    }
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_vec())).ok()
}

/// Asks `agent`'s gateway, and says which rule the answer breaks.
pub(crate) async fn check(agent: &Agent, input: &[u8]) -> Result<(), String> {
    let Some(request) = decode(input) else { return Ok(()) };
    let config = GatewayConfig {
        api_key: ApiKey::new(API_KEY).expect("a key"),
        panel_auth: PanelAuth::Key,
        listen: ([127, 0, 0, 1], 8000).into(),
        public_url: None,
        failed_keys_per_minute: 0,
    };
    let asked = format!("{} {}", request.method(), request.uri());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = router(agent.backend(), config).oneshot(request).await;
    let (head, body) = answer.expect("a router always answers").into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| format!("{asked}: {error}"))?
        .to_bytes();
    let kind = head.headers.get("content-type").and_then(|kind| kind.to_str().ok());
    let is_json = kind == Some("application/json");
    judge(&method, &path, head.status, is_json, &body)
        .map_err(|broken| format!("{asked}: {}: {broken}: {}", head.status, String::from_utf8_lossy(&body)))
}

fn judge(method: &Method, path: &str, status: StatusCode, is_json: bool, body: &[u8]) -> Result<(), &'static str> {
    if !STATUSES.contains(&status.as_u16()) {
        return Err("a status that no documented answer has");
    }
    if method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        return if body.is_empty() {
            Ok(())
        } else {
            Err("a body where there can be none")
        };
    }
    let parsed: Result<Value, _> = serde_json::from_slice(body);
    if status == StatusCode::OK {
        return if is_json && parsed.is_err() {
            Err("no JSON")
        } else {
            Ok(())
        };
    }
    let found = parsed.map_err(|_| "an error that is no JSON")?;
    let text = |name: &str| found[name].as_str().filter(|text| !text.is_empty());
    let expected = if is_panel(path) {
        text("error").map(|error| json!({"ok": false, "error": error, "code": status.as_u16()}))
    } else {
        text("detail").map(|detail| json!({"detail": detail}))
    };
    match expected {
        _ if !is_json => Err("an error that does not say that it is JSON"),
        Some(expected) if expected == found => Ok(()),
        _ => Err("an error in another body than the family's"),
    }
}

fn is_panel(path: &str) -> bool {
    let segment = path.strip_prefix("/api/").and_then(|rest| rest.split('/').next());
    segment.is_some_and(|segment| PANEL.contains(&segment)) || PANEL_PATHS.contains(&path)
}
