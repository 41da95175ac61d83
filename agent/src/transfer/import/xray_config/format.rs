//! What an Xray configuration says of inbounds, as far as clients and their links go.

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::xray::link::{is_host_and_port, is_host_name};
use crate::xray::reality::{Identity, PrivateKey, ShortId};
use crate::xray::wanted::uuid_of_tag;

#[derive(Deserialize)]
pub(super) struct Configuration {
    pub(super) inbounds: Vec<Inbound>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inbound {
    tag: Option<String>,
    #[serde(default)]
    port: Value,
    #[serde(default)]
    protocol: String,
    settings: Option<Settings>,
    stream_settings: Option<StreamSettings>,
}

#[derive(Deserialize)]
struct Settings {
    clients: Option<Vec<Client>>,
}

#[derive(Deserialize)]
pub(super) struct Client {
    id: Option<String>,
    pub(super) email: Option<String>,
    pub(super) flow: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StreamSettings {
    network: Option<String>,
    security: Option<String>,
    reality_settings: Option<RealitySettings>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RealitySettings {
    private_key: Option<String>,
    short_ids: Option<Vec<String>>,
    /// Its newer name is `target`.
    #[serde(alias = "target", default)]
    dest: Value,
    server_names: Option<Vec<String>>,
}

impl Client {
    /// The core takes any text as an id; a key has a uuid.
    pub(super) fn uuid(&self) -> Option<Uuid> {
        Uuid::try_parse(self.id.as_deref()?.trim()).ok()
    }
}

impl Inbound {
    pub(super) fn is_vless(&self) -> bool {
        self.protocol.eq_ignore_ascii_case("vless")
    }

    pub(super) fn clients(&mut self) -> Vec<Client> {
        let clients = self.settings.as_mut().and_then(|settings| settings.clients.take());
        clients.unwrap_or_default()
    }

    /// The one port; a range is none.
    pub(super) fn port(&self) -> Option<u16> {
        let port = match &self.port {
            Value::Number(number) => u16::try_from(number.as_u64()?).ok()?,
            Value::String(text) => text.parse().ok()?,
            _ => return None,
        };
        (port > 0).then_some(port)
    }

    pub(super) fn name(&self, place: usize) -> String {
        let tag = self.tag.clone().filter(|tag| !tag.is_empty());
        tag.unwrap_or_else(|| format!("inbounds[{place}]"))
    }

    /// Whether it is one that Portmeter has written, and goes on writing.
    pub(super) fn is_portmeters(&self) -> bool {
        self.tag.as_deref().is_some_and(|tag| uuid_of_tag(tag).is_some())
    }

    /// What links to it have of REALITY; `None` where they have another transport or other security.
    pub(super) fn identity(&self) -> Option<Identity> {
        let stream = self.stream_settings.as_ref()?;
        let network = stream.network.as_deref().unwrap_or("tcp");
        let is_plain = ["tcp", "raw"].iter().any(|name| network.eq_ignore_ascii_case(name));
        let security = stream.security.as_deref().unwrap_or_default();
        let reality = stream.reality_settings.as_ref()?;
        (is_plain && security.eq_ignore_ascii_case("reality"))
            .then(|| reality.identity())
            .flatten()
    }
}

impl RealitySettings {
    /// Links carry one short id, the first as a rule.
    fn identity(&self) -> Option<Identity> {
        let private_key: PrivateKey = self.private_key.as_deref()?.parse().ok()?;
        let short_ids = self.short_ids.iter().flatten();
        let short_id: Option<ShortId> = short_ids.filter_map(|id| id.parse().ok()).next();
        let server_names = self.server_names.iter().flatten();
        Some(Identity {
            private_key: Some(private_key),
            short_id,
            old_short_id: None,
            dest: self.dest(),
            server_names: server_names.filter(|name| is_host_name(name)).cloned().collect(),
        })
    }

    /// As `host:port`; a port alone is this host's.
    fn dest(&self) -> Option<String> {
        let text = match &self.dest {
            Value::Number(port) => port.to_string(),
            Value::String(text) => text.clone(),
            _ => return None,
        };
        let dest = match text.parse::<u16>() {
            Ok(port) => format!("localhost:{port}"),
            Err(_) => text,
        };
        is_host_and_port(&dest).then_some(dest)
    }
}
