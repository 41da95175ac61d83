//! REALITY settings of an inbound, read the way the core reads them.

use serde_json::{Map, Value};

use super::{list, text};
use crate::xray::reality::{PrivateKey, ShortId};

/// A view on `realitySettings`.
#[derive(Clone, Copy)]
pub(super) struct RealitySettings<'a>(pub(super) &'a Map<String, Value>);

impl<'a> RealitySettings<'a> {
    /// The server that lends its handshake, as the file has it: the core prefers the newer name `target`.
    pub(super) fn dest(&self) -> Option<&'a Value> {
        let usable = |value: &&Value| match value {
            Value::String(text) => !text.is_empty(),
            Value::Number(port) => port.as_u64().is_some_and(|port| port > 0 && port <= u16::MAX.into()),
            _ => false,
        };
        let written = self.0.get("target").filter(|value| !value.is_null());
        written.or_else(|| self.0.get("dest")).filter(usable)
    }

    /// The same as `host:port`: a port alone means this machine. `None` where it is a socket in the file system.
    pub(super) fn dest_address(&self) -> Option<String> {
        let written = match self.dest()? {
            Value::String(text) => text.clone(),
            port => port.to_string(),
        };
        if written.parse::<u16>().is_ok() {
            return Some(format!("localhost:{written}"));
        }
        let (host, port) = written.rsplit_once(':')?;
        (!host.is_empty() && !host.starts_with(['/', '@']) && port.parse::<u16>().is_ok()).then_some(written)
    }

    /// Accepted server names that are not empty.
    pub(super) fn server_names(&self) -> Vec<String> {
        let names = list(self.0, "serverNames").iter().filter_map(Value::as_str);
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// The private key, if the core can use it.
    pub(super) fn private_key(&self) -> Option<PrivateKey> {
        text(self.0, "privateKey").parse().ok()
    }

    /// Accepted short ids, those that carry something first: a link has to name one.
    pub(super) fn short_ids(&self) -> Vec<ShortId> {
        let texts = list(self.0, "shortIds").iter().filter_map(Value::as_str);
        let mut ids: Vec<ShortId> = texts.filter_map(|text| text.parse().ok()).collect();
        ids.sort_by_key(|id| id.as_str().is_empty());
        ids
    }

    /// How far a client's clock may be off, in milliseconds.
    pub(super) fn max_time_diff_ms(&self) -> Option<u64> {
        self.0.get("maxTimeDiff").and_then(Value::as_u64)
    }

    /// The first field that REALITY cannot do without and that is not there or cannot be used.
    pub(super) fn missing_field(&self) -> Option<&'static str> {
        [
            ("dest", self.dest().is_some()),
            ("serverNames", !list(self.0, "serverNames").is_empty()),
            ("privateKey", self.private_key().is_some()),
            ("shortIds", !self.short_ids().is_empty()),
        ]
        .into_iter()
        .find_map(|(field, is_there)| (!is_there).then_some(field))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_destination_has_several_spellings() {
        let check = |settings: Value, expected: Option<&str>| {
            let settings = settings.as_object().unwrap().clone();
            assert_eq!(
                RealitySettings(&settings).dest_address().as_deref(),
                expected,
                "{settings:?}"
            );
        };
        check(json!({"dest": "example.org:443"}), Some("example.org:443"));
        check(
            json!({"dest": "a:1", "target": "example.org:443"}),
            Some("example.org:443"),
        );
        check(json!({"dest": "[::1]:443", "target": null}), Some("[::1]:443"));
        check(json!({"dest": 8443}), Some("localhost:8443"));
        check(json!({"target": "8443"}), Some("localhost:8443"));
        check(json!({"dest": "/run/nginx.sock"}), None);
        check(json!({"dest": ""}), None);
        check(json!({}), None);
    }

    #[test]
    fn short_ids_that_carry_something_come_first() {
        let settings = json!({"shortIds": ["", "odd", "AB", "0123"]})
            .as_object()
            .unwrap()
            .clone();
        let ids = RealitySettings(&settings).short_ids();
        assert_eq!(ids.iter().map(ShortId::as_str).collect::<Vec<_>>(), ["ab", "0123", ""]);
    }
}
