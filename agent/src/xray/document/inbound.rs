//! One inbound of a document, read the way the core reads it.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{list, text};
use crate::xray::wanted::uuid_of_tag;

/// A view on an inbound.
#[derive(Clone, Copy)]
pub(super) struct Inbound<'a>(pub(super) &'a Map<String, Value>);

/// A client of a VLESS inbound.
#[derive(Clone, Copy)]
pub(super) struct Client<'a>(&'a Map<String, Value>);

impl<'a> Inbound<'a> {
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(Self)
    }

    pub(super) fn tag(&self) -> &'a str {
        text(self.0, "tag")
    }

    /// Whose inbound it is: a key's, or with `None` somebody else's.
    pub(super) fn key(&self) -> Option<Uuid> {
        uuid_of_tag(self.tag())
    }

    pub(super) fn protocol(&self) -> &'a str {
        text(self.0, "protocol")
    }

    pub(super) fn listen(&self) -> &'a str {
        text(self.0, "listen")
    }

    pub(super) fn is_vless(&self) -> bool {
        self.protocol().eq_ignore_ascii_case("vless")
    }

    /// The port, where it is a single one.
    pub(super) fn port(&self) -> Option<u16> {
        let mut ranges = self.port_ranges();
        let first = ranges.next()?;
        (first.start() == first.end() && ranges.next().is_none()).then(|| *first.start())
    }

    /// All ports: the core takes a number, `"443"`, `"1000-2000"` and lists of these. What it takes from its environment
    /// cannot be told here.
    pub(super) fn port_ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> + use<> {
        let written = match self.0.get("port") {
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(ports)) => ports.clone(),
            _ => String::new(),
        };
        let ranges: Vec<_> = written.split(',').filter_map(port_range).collect();
        ranges.into_iter()
    }

    /// The clients of a VLESS inbound; other protocols have none here. Later cores also read them as `users`.
    pub(super) fn clients(&self) -> impl Iterator<Item = Client<'a>> + use<'a> {
        let settings = self.0.get("settings").and_then(Value::as_object);
        let settings = settings.filter(|_| self.is_vless());
        ["clients", "users"]
            .into_iter()
            .flat_map(move |name| settings.map_or(&[][..], |settings| list(settings, name)))
            .filter_map(|client| client.as_object().map(Client))
    }

    /// The REALITY settings, where they are in force.
    pub(super) fn reality(&self) -> Option<&'a Map<String, Value>> {
        let stream = self.0.get("streamSettings")?.as_object()?;
        let is_in_force = text(stream, "security").eq_ignore_ascii_case("reality");
        stream.get("realitySettings")?.as_object().filter(|_| is_in_force)
    }

    /// Whether REALITY is asked for, with settings or without.
    pub(super) fn wants_reality(&self) -> bool {
        let stream = self.0.get("streamSettings").and_then(Value::as_object);
        stream.is_some_and(|stream| text(stream, "security").eq_ignore_ascii_case("reality"))
    }
}

impl<'a> Client<'a> {
    pub(super) fn id(&self) -> &'a str {
        text(self.0, "id")
    }

    pub(super) fn email(&self) -> &'a str {
        text(self.0, "email")
    }

    pub(super) fn flow(&self) -> &'a str {
        text(self.0, "flow")
    }

    /// The id as a uuid. The core takes any short text as an id; such a client has none.
    pub(super) fn uuid(&self) -> Option<Uuid> {
        uuid_of_id(self.id())
    }

    /// The id as everything else writes it: a uuid in lower case with hyphens, where it is one.
    pub(super) fn canonical_id(&self) -> String {
        self.uuid()
            .map_or_else(|| self.id().to_owned(), |uuid| uuid.to_string())
    }
}

/// A uuid in one of the two forms that the core takes for one, with hyphens or without.
pub(super) fn uuid_of_id(id: &str) -> Option<Uuid> {
    Uuid::try_parse(id).ok().filter(|_| matches!(id.len(), 32 | 36))
}

fn port_range(written: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = written.split_once('-').unwrap_or((written, written));
    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_read_as_the_core_reads_them() {
        let check = |port: Value, single: Option<u16>, ranges: &[RangeInclusive<u16>]| {
            let inbound = json!({ "port": port });
            let inbound = Inbound::of(&inbound).unwrap();
            assert_eq!(inbound.port(), single);
            assert_eq!(inbound.port_ranges().collect::<Vec<_>>(), ranges);
        };
        check(json!(443), Some(443), &[443..=443]);
        check(json!("443"), Some(443), &[443..=443]);
        check(json!("1000-2000, 443"), None, &[1000..=2000, 443..=443]);
        check(json!("env:PORT"), None, &[]);
        check(json!(65536), None, &[]);
        check(json!(null), None, &[]);
    }

    #[test]
    fn an_id_is_a_uuid_only_where_the_core_takes_it_for_one() {
        let uuid = Uuid::from_u128(0xabc);
        assert_eq!(uuid_of_id(&uuid.to_string().to_uppercase()), Some(uuid));
        assert_eq!(uuid_of_id(&uuid.simple().to_string()), Some(uuid));
        assert_eq!(uuid_of_id(&format!("{{{uuid}}}")), None);
        assert_eq!(uuid_of_id(&format!("urn:uuid:{uuid}")), None);
        assert_eq!(uuid_of_id("alice"), None);
    }
}
