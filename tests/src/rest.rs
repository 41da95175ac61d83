//! The product's REST face, called from inside the agent's namespace.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use ureq::http::{Request, Response};
use ureq::{Body, SendBody};

use crate::count::{Connections, Count, Counts};
use crate::namespace::Namespace;
use crate::wait::patient;

/// How long an answer may take: the self-checks load every program once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A REST client.
#[derive(Debug)]
pub struct Rest<'lab> {
    host: &'lab Namespace,
    base: String,
    api_key: String,
    client: ureq::Agent,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; a text when it is no JSON.
    pub body: Value,
}

/// A key as REST shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key's id.
    pub id: String,
    /// The VLESS uuid.
    pub uuid: String,
    /// The name.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl<'lab> Rest<'lab> {
    /// A client on `host` for the server at `address`.
    pub fn new(host: &'lab Namespace, address: &str, api_key: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patient(ANSWER_TIMEOUT)))
            // Each call enters the namespace anew; a kept connection could be one to a server that was killed since.
            .max_idle_connections(0)
            .build();
        Self {
            host,
            base: format!("http://{address}"),
            api_key: api_key.to_owned(),
            client: config.new_agent(),
        }
    }

    /// GET.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.call("GET", path, None)
    }

    /// POST, with or without a JSON body.
    pub fn post(&self, path: &str, body: Option<Value>) -> Result<Answer> {
        self.call("POST", path, body)
    }

    /// PUT with a JSON body.
    pub fn put(&self, path: &str, body: Value) -> Result<Answer> {
        self.call("PUT", path, Some(body))
    }

    /// PATCH with a JSON body.
    pub fn patch(&self, path: &str, body: Value) -> Result<Answer> {
        self.call("PATCH", path, Some(body))
    }

    /// GET of what must be there.
    pub fn shown(&self, path: &str) -> Result<Value> {
        self.get(path)?.expect_success().with_context(|| format!("GET {path}"))
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Result<Answer> {
        self.call("DELETE", path, None)
    }

    /// Whether /readyz answers 200.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_ok_and(|answer| answer.status == 200)
    }

    /// Makes a key.
    pub fn create_key(&self, name: &str) -> Result<Key> {
        let answer = self.post("/api/keys", Some(json!({ "name": name })))?;
        Key::from_json(&answer.expect_success()?)
    }

    /// Makes this many keys.
    pub fn create_keys(&self, count: usize) -> Result<Vec<Key>> {
        (0..count)
            .map(|number| self.create_key(&format!("customer {number}")))
            .collect()
    }

    /// Every key.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let body = self.get("/api/keys")?.expect_success()?;
        body.as_array()
            .context("the keys are no array")?
            .iter()
            .map(Key::from_json)
            .collect()
    }

    /// Deletes a key.
    pub fn delete_key(&self, id: &str) -> Result<()> {
        self.delete(&format!("/api/keys/{id}"))?.expect_success()?;
        Ok(())
    }

    /// Sets a key's figures to zero.
    pub fn reset(&self, id: &str) -> Result<()> {
        self.post(&format!("/api/keys/{id}/traffic/simple/reset"), None)?
            .expect_success()?;
        Ok(())
    }

    /// The traffic of every port that has a key.
    pub fn counts(&self) -> Result<Counts> {
        let body = self.get("/api/traffic/simple")?.expect_success()?;
        let rows = body["data"]["ports"].as_object().context("data.ports is no object")?;
        rows.iter()
            .map(|(port, row)| Ok((port.parse()?, count(row)?)))
            .collect()
    }

    /// The traffic of one key.
    pub fn count_of(&self, id: &str) -> Result<Count> {
        let body = self.get(&format!("/api/keys/{id}/traffic/simple"))?.expect_success()?;
        count(&body["traffic"])
    }

    /// The connections of one key's port.
    pub fn connections_of(&self, id: &str) -> Result<Connections> {
        let body = self.get(&format!("/api/keys/{id}/traffic/simple"))?.expect_success()?;
        let figure = |name: &str| {
            let value = body["traffic"][name].as_u64();
            value.with_context(|| format!("{name} in {body}"))
        };
        Ok(Connections {
            active: figure("connections")?,
            opened: figure("connections_opened")?,
        })
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("X-API-Key", &self.api_key)
            .header("Content-Type", "application/json")
            .body(body.map(|body| body.to_string()).unwrap_or_default())?;
        let response = self
            .host
            .enter(|| self.send(request))
            .with_context(|| format!("{method} {path}"))?;
        Answer::read(response)
    }

    fn send(&self, request: Request<String>) -> Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        if body.is_empty() {
            return Ok(self.client.run(Request::from_parts(parts, SendBody::none()))?);
        }
        Ok(self.client.run(Request::from_parts(parts, body))?)
    }
}

impl Answer {
    fn read(mut response: Response<Body>) -> Result<Self> {
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().context("reading the answer")?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Self { status, body })
    }

    /// The body of an answer that must be a success.
    pub fn expect_success(self) -> Result<Value> {
        ensure!(self.status == 200, "status {}: {}", self.status, self.body);
        Ok(self.body)
    }
}

impl Key {
    fn from_json(value: &Value) -> Result<Self> {
        let text = |name: &str| {
            value[name]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("{name} in {value}"))
        };
        let port = value["port"].as_u64().with_context(|| format!("port in {value}"))?;
        Ok(Self {
            id: text("id")?,
            uuid: text("uuid")?,
            name: text("name")?,
            port: u16::try_from(port)?,
        })
    }
}

fn count(row: &Value) -> Result<Count> {
    let figure = |name: &str| row[name].as_u64().with_context(|| format!("{name} in {row}"));
    let count = Count {
        rx_bytes: figure("rx_bytes")?,
        rx_packets: figure("rx_packets")?,
        tx_bytes: figure("tx_bytes")?,
        tx_packets: figure("tx_packets")?,
    };
    let total = figure("total_bytes")?;
    ensure!(
        total == count.rx_bytes + count.tx_bytes,
        "total_bytes is not the sum in {row}"
    );
    Ok(count)
}
