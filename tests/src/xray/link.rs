//! A VLESS link, read as an app reads it.

use anyhow::{Context, Result, ensure};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// What a `vless://` link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The customer's id.
    pub uuid: String,
    /// The server's name or address, without brackets.
    pub host: String,
    /// The key's port.
    pub port: u16,
    /// The name that is asked for in the open.
    pub server_name: String,
    /// Whose handshake the client's looks like.
    pub fingerprint: String,
    /// The server's public REALITY key.
    pub public_key: String,
    /// The short id.
    pub short_id: String,
    /// The flow, empty when the link has none.
    pub flow: String,
    /// What the app shows.
    pub name: String,
}

impl Link {
    /// Reads a link; one that an app would have to guess about is an error.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(
            text.bytes().all(|byte| byte.is_ascii_graphic()),
            "a link is one line of printable ASCII: {text:?}"
        );
        let rest = text.strip_prefix("vless://").context("no vless:// link")?;
        let (rest, name) = rest.split_once('#').context("the link has no name")?;
        let (address, query) = rest.split_once('?').context("the link has no parameters")?;
        let (uuid, address) = address.split_once('@').context("the link has no id")?;
        let (host, port) = address.rsplit_once(':').context("the link has no port")?;
        let value = |wanted: &str| {
            let mut values = query.split('&').filter_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                (name == wanted).then_some(value)
            });
            let value = values.next().map(decoded).transpose()?;
            ensure!(values.next().is_none(), "{wanted} is there twice: {text}");
            Ok(value)
        };
        let needed = |wanted: &str| value(wanted)?.with_context(|| format!("no {wanted}: {text}"));
        ensure!(
            needed("security")? == "reality" && needed("type")? == "tcp",
            "not REALITY over TCP: {text}"
        );
        Ok(Self {
            uuid: uuid.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse().with_context(|| format!("the port of {text}"))?,
            server_name: needed("sni")?,
            fingerprint: needed("fp")?,
            public_key: needed("pbk")?,
            short_id: needed("sid")?,
            flow: value("flow")?.unwrap_or_default(),
            name: decoded(name)?,
        })
    }

    /// The outbound that a client's core is given.
    pub(super) fn outbound(&self, tag: &str) -> Value {
        json!({
            "tag": tag,
            "protocol": "vless",
            "settings": {"vnext": [{
                "address": self.host,
                "port": self.port,
                "users": [{"id": self.uuid, "encryption": "none", "flow": self.flow}],
            }]},
            "streamSettings": {
                "network": "tcp",
                "security": "reality",
                "realitySettings": {
                    "fingerprint": self.fingerprint,
                    "serverName": self.server_name,
                    "publicKey": self.public_key,
                    "shortId": self.short_id,
                },
            },
        })
    }
}

fn decoded(text: &str) -> Result<String> {
    Ok(percent_decode_str(text).decode_utf8()?.into_owned())
}
