//! What a configuration says about wanted state: a backup that is restored, or an older system's file that is imported.

use std::collections::HashSet;

use serde_json::Value;
use uuid::Uuid;

use super::Document;
use super::inbound::{Client, Inbound, uuid_of_id};
use super::reality::RealitySettings;
use crate::xray::reality::Identity;

/// A VLESS client that can be a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundClient {
    /// Its id.
    pub uuid: Uuid,
    /// What it is called there; the uuid again where Portmeter wrote it, perhaps empty where somebody else did.
    pub email: String,
    /// Its flow, perhaps empty.
    pub flow: String,
    /// Its inbound's port, where that is a single one. Clients of one inbound share it.
    pub port: Option<u16>,
    /// Its inbound's REALITY settings, as far as they can be used; none where it has none.
    pub identity: Identity,
    /// Its inbound's tag, perhaps empty.
    pub inbound_tag: String,
}

/// What there is in a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// Everything that is not Portmeter's: the base for [`render`](super::render()).
    pub base: Document,
    /// All VLESS clients with a uuid, each once. Where one is in several inbounds, its own is taken before a shared one.
    pub clients: Vec<FoundClient>,
    /// One sentence for each client and setting that cannot be taken over.
    pub remarks: Vec<String>,
}

/// Reads what a configuration says about wanted state.
pub fn restore(backup: &Document) -> Restored {
    let mut base = backup.clone();
    base.retain_inbounds(|inbound| inbound.key().is_none());
    let mut remarks = Vec::new();
    let (own, foreign): (Vec<_>, Vec<_>) = backup
        .inbounds()
        .filter(Inbound::is_vless)
        .partition(|inbound| inbound.key().is_some());
    let mut seen = HashSet::new();
    let mut clients = Vec::new();
    for inbound in own.iter().chain(&foreign) {
        let identity = identity(inbound, &mut remarks);
        for (index, client) in inbound.clients().enumerate() {
            match client.uuid() {
                None => remarks.push(refused(inbound, &client, index)),
                Some(uuid) if !seen.insert(uuid) => {}
                Some(uuid) => clients.push(FoundClient {
                    uuid,
                    email: client.email().to_owned(),
                    flow: client.flow().to_owned(),
                    port: inbound.port(),
                    identity: identity.clone(),
                    inbound_tag: inbound.tag().to_owned(),
                }),
            }
        }
    }
    Restored { base, clients, remarks }
}

impl Document {
    /// The same without these clients of others' VLESS inbounds, and without the inbounds that none is left in: for when
    /// they have become keys, each with an inbound of its own.
    pub fn without_clients(&self, uuids: &HashSet<Uuid>) -> Self {
        let mut document = self.clone();
        let is_taken = |client: &Value| {
            let id = client["id"].as_str().and_then(uuid_of_id);
            id.is_some_and(|uuid| uuids.contains(&uuid))
        };
        document.retain_inbounds(|inbound| {
            let is_affected = inbound.key().is_none() && inbound.clients().any(|client| is_one_of(&client, uuids));
            !is_affected || inbound.clients().any(|client| !is_one_of(&client, uuids))
        });
        if let Some(Value::Array(inbounds)) = document.root.get_mut("inbounds") {
            let is_foreign =
                |value: &Value| Inbound::of(value).is_some_and(|view| view.is_vless() && view.key().is_none());
            for inbound in inbounds.iter_mut().filter(|value| is_foreign(value)) {
                for name in ["clients", "users"] {
                    if let Some(Value::Array(clients)) = inbound.pointer_mut(&format!("/settings/{name}")) {
                        clients.retain(|client| !is_taken(client));
                    }
                }
            }
        }
        document
    }

    fn retain_inbounds(&mut self, is_kept: impl Fn(&Inbound<'_>) -> bool) {
        if let Some(Value::Array(inbounds)) = self.root.get_mut("inbounds") {
            inbounds.retain(|value| Inbound::of(value).is_none_or(|inbound| is_kept(&inbound)));
        }
    }
}

fn is_one_of(client: &Client<'_>, uuids: &HashSet<Uuid>) -> bool {
    client.uuid().is_some_and(|uuid| uuids.contains(&uuid))
}

fn refused(inbound: &Inbound<'_>, client: &Client<'_>, index: usize) -> String {
    format!(
        "Client number {} ({:?}) of the inbound {:?} has an id that is no UUID, so it cannot become a key.",
        index + 1,
        client.email(),
        inbound.tag(),
    )
}

fn identity(inbound: &Inbound<'_>, remarks: &mut Vec<String>) -> Identity {
    let tag = inbound.tag();
    let Some(settings) = inbound.reality().map(RealitySettings) else {
        if inbound.clients().next().is_some() {
            remarks.push(format!(
                "The VLESS inbound {tag:?} has no REALITY; keys made of its clients get the server's, and new links."
            ));
        }
        return Identity::default();
    };
    let private_key = settings.private_key();
    if private_key.is_none() {
        remarks.push(format!(
            "The inbound {tag:?} has no usable `privateKey`; keys made of its clients get the server's, and new links."
        ));
    }
    let dest = settings.dest_address();
    if dest.is_none() {
        remarks.push(format!(
            "The inbound {tag:?} has no `dest` of the form host:port; keys made of its clients get the server's."
        ));
    }
    let short_ids = settings.short_ids();
    if short_ids.len() > 1 {
        remarks.push(format!(
            "The inbound {tag:?} accepts {} short ids; keys made of its clients accept its first alone.",
            short_ids.len()
        ));
    }
    Identity {
        private_key,
        // A link has to carry one that is not empty.
        short_id: short_ids.into_iter().find(|id| !id.as_str().is_empty()),
        old_short_id: None,
        dest,
        server_names: settings.server_names(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{document, foreign, uuid, wanted};
    use super::super::render;
    use super::*;
    use crate::xray::reality::PrivateKey;

    #[test]
    fn a_backup_of_our_own_says_what_was_wanted() {
        let wanted = wanted(2);
        let restored = restore(&render(Some(&document(foreign())), &wanted));
        let own: Vec<_> = restored
            .clients
            .iter()
            .filter(|client| client.inbound_tag != "shared")
            .collect();
        assert_eq!(own.len(), 2);
        for (client, inbound) in own.into_iter().zip(&wanted.inbounds) {
            let expected = FoundClient {
                uuid: inbound.uuid,
                email: inbound.uuid.to_string(),
                flow: "xtls-rprx-vision".to_owned(),
                port: Some(inbound.port),
                identity: Identity {
                    private_key: Some(inbound.reality.private_key),
                    short_id: Some(inbound.reality.short_ids[0].clone()),
                    old_short_id: None,
                    dest: Some(inbound.reality.dest.clone()),
                    server_names: inbound.reality.server_names.clone(),
                },
                inbound_tag: inbound.tag(),
            };
            assert_eq!(*client, expected);
        }
        // The base has everything else, and rendering over it gives the backup again.
        assert_eq!(restored.base.inbound_count(), 3);
        let again = render(Some(&restored.base), &wanted);
        assert_eq!(again.to_text(), render(Some(&document(foreign())), &wanted).to_text());
    }

    #[test]
    fn a_shared_inbound_gives_many_clients_on_one_port() {
        let restored = restore(&document(foreign()));
        let found: Vec<_> = restored
            .clients
            .iter()
            .map(|client| (client.uuid, client.email.as_str(), client.port))
            .collect();
        let expected = [
            (uuid(900), "anna@example.org", Some(8443)),
            (uuid(901), "bob", Some(8443)),
        ];
        assert_eq!(found, expected);
        for client in &restored.clients {
            assert_eq!(client.identity.private_key, Some(PrivateKey::from([9; 32])));
            assert_eq!(client.identity.short_id, Some("0123".parse().unwrap()));
            assert_eq!(client.identity.dest.as_deref(), Some("example.org:443"));
            assert_eq!(client.identity.server_names, ["example.org", "www.example.org"]);
        }
        assert_eq!(
            restored.remarks,
            [
                "The inbound \"shared\" accepts 3 short ids; keys made of its clients accept its first alone.",
                "Client number 3 (\"carla \\\"the\\\" third\\n\") of the inbound \"shared\" has an id that is no UUID, so it \
                 cannot become a key.",
            ]
        );
    }

    #[test]
    fn what_cannot_be_used_is_remarked_without_a_secret() {
        let mut base = foreign();
        let stream = &mut base["inbounds"][1]["streamSettings"];
        stream["realitySettings"] = json!({"privateKey": "a-secret-that-is-cut", "dest": "/run/a.sock"});
        let restored = restore(&document(base.clone()));
        assert_eq!(restored.clients[0].identity, Identity::default());
        assert_eq!(restored.remarks.len(), 3, "{:?}", restored.remarks);
        assert!(!restored.remarks.concat().contains("a-secret"));
        base["inbounds"][1]["streamSettings"]["security"] = json!("tls");
        assert!(restore(&document(base)).remarks[0].contains("has no REALITY"));
    }

    #[test]
    fn a_client_of_several_inbounds_is_found_once_and_in_its_own() {
        let mut base = foreign();
        base["inbounds"][1]["settings"]["clients"][0]["id"] = json!(uuid(1));
        let restored = restore(&render(Some(&document(base)), &wanted(1)));
        let ours: Vec<_> = restored
            .clients
            .iter()
            .filter(|client| client.uuid == uuid(1))
            .collect();
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].port, Some(10_001));
    }

    #[test]
    fn clients_that_became_keys_leave_the_shared_inbound() {
        let base = render(Some(&document(foreign())), &wanted(1));
        let without = base.without_clients(&[uuid(900), uuid(901), uuid(1)].into());
        assert_eq!(
            without.client_uuids(),
            ["carla".to_owned(), uuid(1).to_string()],
            "a key's own inbound is not touched"
        );
        assert_eq!(without.inbound_count(), base.inbound_count());

        let mut all_known = foreign();
        all_known["inbounds"][1]["settings"]["clients"]
            .as_array_mut()
            .unwrap()
            .pop();
        let without = document(all_known).without_clients(&[uuid(900), uuid(901)].into());
        assert_eq!(without.vless_inbound_count(), 0, "an inbound without clients goes");
        assert_eq!(without.inbound_count(), 2);
    }
}
