//! Asks a router without a socket.

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use portmeter_gateway::{GatewayConfig, PanelAuth, router};
use portmeter_proto::api_key::ApiKey;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::agent::Agent;

/// The API key of every test.
pub(crate) const API_KEY: &str = "0123456789abcdef";

/// The gateway's settings in every test that does not say otherwise.
pub(crate) fn config(panel_auth: PanelAuth) -> GatewayConfig {
    GatewayConfig {
        api_key: ApiKey::new(API_KEY).unwrap(),
        panel_auth,
        listen: "127.0.0.1:8000".parse().unwrap(),
        public_url: Some("https://vpn.example.com".to_owned()),
        failed_keys_per_minute: 300,
    }
}

/// A client of one gateway.
pub(crate) struct Client {
    router: Router,
    api_key: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Empty where the body is an image of bytes.
    pub(crate) text: String,
    pub(crate) bytes: Bytes,
}

/// An agent with so many keys, and a client of its gateway.
pub(crate) fn with_keys(n_keys: u32) -> (Agent, Client) {
    let agent = Agent::with_keys(n_keys);
    let client = Client::of(&agent);
    (agent, client)
}

impl Client {
    /// A client with the right key.
    pub(crate) fn of(agent: &Agent) -> Self {
        Self::with_panel(agent, PanelAuth::Key)
    }

    /// A client with the right key, of a gateway with this setting.
    pub(crate) fn with_panel(agent: &Agent, panel_auth: PanelAuth) -> Self {
        Self::with_config(agent, config(panel_auth))
    }

    /// A client with the right key, of a gateway with these settings.
    pub(crate) fn with_config(agent: &Agent, config: GatewayConfig) -> Self {
        Self {
            router: router(agent.backend(), config),
            api_key: Some(API_KEY.to_owned()),
        }
    }

    /// The same client with another key, or none.
    pub(crate) fn with_key(&self, api_key: Option<&str>) -> Self {
        Self {
            router: self.router.clone(),
            api_key: api_key.map(ToOwned::to_owned),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send_with(method, path, body, &[]).await
    }

    pub(crate) async fn send_with(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(api_key) = &self.api_key {
            request = request.header("X-API-Key", api_key);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let is_image = head.headers.get("content-type").is_some_and(|kind| kind == "image/png");
        let text = String::from_utf8(bytes.to_vec());
        let text = if is_image {
            String::new()
        } else {
            text.expect("answers are UTF-8")
        };
        Answer {
            status: head.status,
            headers: head.headers,
            text,
            bytes,
        }
    }
}

impl Answer {
    /// The body, which must be JSON and say so.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(
            self.headers.get("content-type").unwrap(),
            "application/json",
            "{self:?}"
        );
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of a success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()
    }

    /// A header's value, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status and the text of an error of the panel.
    pub(crate) fn error(&self) -> (u16, String) {
        let body = self.json();
        let text = body["error"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned();
        let code = self.status.as_u16();
        assert_eq!(body, serde_json::json!({"ok": false, "error": text, "code": code}));
        (code, text)
    }

    /// The status and the text of an error of the key family.
    pub(crate) fn detail(&self) -> (u16, String) {
        let body = self.json();
        let text = body["detail"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned();
        assert_eq!(body, serde_json::json!({ "detail": text }));
        (self.status.as_u16(), text)
    }
}
