//! A client that sends what it is told to, with any method, body and key, and takes any answer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::{API_KEY, REST_ADDRESS};
use portmeter_tests::namespace::Namespace;
use portmeter_tests::wait::patient;
use serde_json::Value;
use ureq::http::Request;
use ureq::{Body, SendBody};

use super::promise::Ask;

/// Self-checks and restarts take their time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends requests from inside a namespace.
pub(super) struct Caller<'lab> {
    host: &'lab Namespace,
    api_key: Option<String>,
    client: ureq::Agent,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    content_type: String,
    text: String,
}

impl<'lab> Caller<'lab> {
    /// One with the right key.
    pub(super) fn new(host: &'lab Namespace) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(patient(ANSWER_TIMEOUT)))
            // Each call enters the namespace anew.
            .max_idle_connections(0)
            .build();
        Self {
            host,
            api_key: Some(API_KEY.to_owned()),
            client: config.new_agent(),
        }
    }

    /// The same with another key, or none.
    pub(super) fn with_key(&self, api_key: Option<&str>) -> Self {
        Self {
            host: self.host,
            api_key: api_key.map(ToOwned::to_owned),
            client: self.client.clone(),
        }
    }

    /// Sends a request.
    pub(super) fn send(&self, ask: &Ask) -> Result<Answer> {
        let mut request = Request::builder()
            .method(ask.method.as_str())
            .uri(format!("http://{REST_ADDRESS}{}", ask.target))
            .header("Content-Type", "application/json");
        if let Some(api_key) = &self.api_key {
            request = request.header("X-API-Key", api_key);
        }
        let (parts, ()) = request.body(())?.into_parts();
        let response = self.host.enter(|| {
            let response = if ask.body.is_empty() {
                self.client.run(Request::from_parts(parts, SendBody::none()))
            } else {
                self.client.run(Request::from_parts(parts, ask.body.clone()))
            };
            let (head, mut body): (_, Body) = response?.into_parts();
            Ok::<_, ureq::Error>((head, body.read_to_string()?))
        });
        let (head, text) = response.with_context(|| format!("{ask:?}"))?;
        let content_type = head.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        Ok(Answer {
            status: head.status.as_u16(),
            content_type: content_type.unwrap_or_default().to_owned(),
            text,
        })
    }

    /// The JSON of what must be a success.
    pub(super) fn shown(&self, method: &str, target: &str, body: &str) -> Result<Value> {
        let ask = Ask {
            method: method.to_owned(),
            target: target.to_owned(),
            body: body.to_owned(),
        };
        let answer = self.send(&ask)?;
        ensure!(answer.status == 200, "{ask:?}: {answer:?}");
        answer.json()
    }

    /// GET of what must be there.
    pub(super) fn get(&self, target: &str) -> Result<Value> {
        self.shown("GET", target, "")
    }

    /// POST that must succeed.
    pub(super) fn post(&self, target: &str, body: &Value) -> Result<Value> {
        self.shown("POST", target, &body.to_string())
    }
}

impl Answer {
    /// The body, which must be JSON and say so.
    pub(super) fn json(&self) -> Result<Value> {
        ensure!(self.content_type == "application/json", "no JSON: {self:?}");
        serde_json::from_str(&self.text).with_context(|| format!("{self:?}"))
    }
}
