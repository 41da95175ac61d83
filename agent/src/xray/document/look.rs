//! What a document says, without its secrets.

use serde_json::{Map, Value};

use super::Document;
use super::inbound::{Client, Inbound};
use super::reality::RealitySettings;
use crate::xray::reality::PublicKey;

/// A VLESS client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSummary {
    /// Its id: a uuid in lower case, or whatever text the core was given.
    pub id: String,
    /// Its name in the core's statistics.
    pub email: String,
    /// Its flow, perhaps empty.
    pub flow: String,
}

/// An inbound of any protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundSummary {
    /// Its protocol.
    pub protocol: String,
    /// Its port, where it is a single one.
    pub port: Option<u16>,
    /// Its tag, perhaps empty.
    pub tag: String,
    /// The address it listens on, empty for all.
    pub listen: String,
}

/// What there is in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The clients of all VLESS inbounds, in their order.
    pub clients: Vec<ClientSummary>,
    /// All inbounds, in their order.
    pub inbounds: Vec<InboundSummary>,
}

/// What a client has to know of the first VLESS inbound with REALITY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstReality {
    /// Its port, where it is a single one.
    pub port: Option<u16>,
    /// Belongs to its private key.
    pub public_key: PublicKey,
    /// The first accepted server name, perhaps empty.
    pub server_name: String,
    /// The first accepted short id, perhaps empty.
    pub short_id: String,
    /// The first client's flow, perhaps empty.
    pub flow: String,
}

/// There is nothing a client could be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoFirstReality {
    /// No VLESS inbound at all.
    #[error("VLESS inbound not found")]
    NoVlessInbound,
    /// None of them has REALITY with a usable private key.
    #[error("Reality not configured")]
    NoReality,
}

impl Document {
    /// The client ids of all VLESS inbounds, in their order, each once. A uuid is in lower case; the core takes other
    /// texts too, and they are here as they stand.
    pub fn client_uuids(&self) -> Vec<String> {
        let mut seen = std::collections::HashSet::new();
        let ids = self.clients().map(|client| client.canonical_id());
        ids.filter(|id| !id.is_empty() && seen.insert(id.clone())).collect()
    }

    /// How many inbounds there are.
    pub fn inbound_count(&self) -> usize {
        self.inbounds().count()
    }

    /// How many of them are VLESS inbounds.
    pub fn vless_inbound_count(&self) -> usize {
        self.inbounds().filter(Inbound::is_vless).count()
    }

    /// How many of them are tagged `api`.
    pub fn api_inbound_count(&self) -> usize {
        self.inbounds().filter(|inbound| inbound.tag() == "api").count()
    }

    /// Whether `log`, `inbounds` and `outbounds` exist and each inbound has `port`, `protocol` and `settings`.
    pub fn is_valid(&self) -> bool {
        let all_in = |object: &Map<String, Value>, names: [&str; 3]| {
            names
                .iter()
                .all(|name| object.get(*name).is_some_and(|value| !value.is_null()))
        };
        all_in(&self.root, ["log", "inbounds", "outbounds"])
            && self
                .inbounds()
                .all(|inbound| all_in(inbound.0, ["port", "protocol", "settings"]))
    }

    /// The ports of all inbounds, ascending, each once.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self
            .inbounds()
            .flat_map(|inbound| inbound.port_ranges())
            .flatten()
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// What a client has to know of the first VLESS inbound with REALITY.
    pub fn first_reality(&self) -> Result<FirstReality, NoFirstReality> {
        let first = self
            .inbounds()
            .filter(Inbound::is_vless)
            .find_map(|inbound| first_reality(&inbound));
        match self.vless_inbound_count() {
            0 => Err(NoFirstReality::NoVlessInbound),
            _ => first.ok_or(NoFirstReality::NoReality),
        }
    }

    /// The clients and inbounds, for people who choose a backup.
    pub fn summary(&self) -> Summary {
        let clients = self.clients().map(|client| ClientSummary {
            id: client.canonical_id(),
            email: client.email().to_owned(),
            flow: client.flow().to_owned(),
        });
        let inbounds = self.inbounds().map(|inbound| InboundSummary {
            protocol: inbound.protocol().to_owned(),
            port: inbound.port(),
            tag: inbound.tag().to_owned(),
            listen: inbound.listen().to_owned(),
        });
        Summary {
            clients: clients.collect(),
            inbounds: inbounds.collect(),
        }
    }

    fn clients(&self) -> impl Iterator<Item = Client<'_>> {
        self.inbounds().flat_map(|inbound| inbound.clients())
    }
}

fn first_reality(inbound: &Inbound<'_>) -> Option<FirstReality> {
    let settings = RealitySettings(inbound.reality()?);
    let short_id = settings.short_ids().into_iter().next();
    Some(FirstReality {
        port: inbound.port(),
        public_key: settings.private_key()?.public_key(),
        server_name: settings.server_names().into_iter().next().unwrap_or_default(),
        short_id: short_id.map(|id| id.to_string()).unwrap_or_default(),
        flow: inbound
            .clients()
            .next()
            .map(|client| client.flow().to_owned())
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{document, foreign, uuid, wanted};
    use super::super::render;
    use super::*;
    use crate::xray::reality::PrivateKey;

    #[test]
    fn all_vless_inbounds_count_and_each_client_once() {
        let mut base = foreign();
        let again = json!({"id": uuid(1), "email": "again"});
        base["inbounds"][1]["settings"]["users"] = json!([again, {"email": "no id"}]);
        let document = render(Some(&document(base)), &wanted(2));
        let expected = [
            uuid(900).to_string(),
            uuid(901).to_string(),
            "carla".to_owned(),
            uuid(1).to_string(),
            uuid(2).to_string(),
        ];
        assert_eq!(document.client_uuids(), expected);
        assert_eq!(document.inbound_count(), 5);
        assert_eq!(document.vless_inbound_count(), 3);
        assert_eq!(document.api_inbound_count(), 1);
        assert_eq!(document.ports(), [1080, 8443, 10_001, 10_002, 10_085]);
    }

    #[test]
    fn a_document_is_valid_when_its_parts_are_there() {
        assert!(render(None, &wanted(0)).is_valid());
        assert!(render(Some(&document(foreign())), &wanted(2)).is_valid());
        assert!(!document(foreign()).is_valid(), "it has no log");
        let valid = json!({"log": {}, "outbounds": [], "inbounds": [{"port": 1, "protocol": "x", "settings": {}}]});
        assert!(document(valid.clone()).is_valid());
        for section in ["log", "outbounds", "inbounds"] {
            let mut without = valid.clone();
            without[section].take();
            assert!(!document(without).is_valid(), "{section}");
        }
        for field in ["port", "protocol", "settings"] {
            let mut without = valid.clone();
            without["inbounds"][0].as_object_mut().unwrap().remove(field);
            assert!(!document(without).is_valid(), "{field}");
        }
    }

    #[test]
    fn the_first_reality_is_what_its_links_carry() {
        let first = render(None, &wanted(2)).first_reality().unwrap();
        assert_eq!(first.port, Some(10_001));
        assert_eq!(first.public_key, PrivateKey::from([7; 32]).public_key());
        assert_eq!(first.server_name, "www.microsoft.com");
        assert_eq!(first.short_id, "0a1b2c3d");
        assert_eq!(first.flow, "xtls-rprx-vision");
        assert_eq!(
            document(foreign()).first_reality().unwrap().short_id,
            "0123",
            "an empty one is for no link"
        );

        assert_eq!(document(json!({})).first_reality(), Err(NoFirstReality::NoVlessInbound));
        let mut base = foreign();
        base["inbounds"][1]["streamSettings"]["security"] = json!("none");
        assert_eq!(document(base).first_reality(), Err(NoFirstReality::NoReality));
    }

    #[test]
    fn a_summary_names_clients_and_inbounds() {
        let summary = document(foreign()).summary();
        let clients: Vec<_> = summary
            .clients
            .iter()
            .map(|client| (client.id.as_str(), client.email.as_str(), client.flow.as_str()))
            .collect();
        let (anna, bob) = (uuid(900).to_string(), uuid(901).to_string());
        assert_eq!(
            clients,
            [
                (anna.as_str(), "anna@example.org", "xtls-rprx-vision"),
                (bob.as_str(), "bob", ""),
                ("carla", "carla \"the\" third\n", ""),
            ]
        );
        let inbounds: Vec<_> = summary
            .inbounds
            .iter()
            .map(|inbound| {
                (
                    inbound.protocol.as_str(),
                    inbound.port,
                    inbound.tag.as_str(),
                    inbound.listen.as_str(),
                )
            })
            .collect();
        assert_eq!(
            inbounds,
            [
                ("dokodemo-door", Some(10_085), "api", "127.0.0.1"),
                ("VLESS", Some(8443), "shared", ""),
                ("socks", Some(1080), "socks \"quoted\"\n\u{0}\u{fc}", ""),
            ]
        );
    }
}
