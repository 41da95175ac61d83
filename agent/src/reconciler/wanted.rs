//! The wanted state in the core's terms: the store's keys, identities and settings over the configuration's. Plain
//! functions.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::XrayConfig;
use crate::settings::{Stored, XRAY_FLOW, XRAY_SNI};
use crate::store::{Key, Snapshot};
use crate::xray::reality::{Identity, PrivateKey, ShortId};
use crate::xray::wanted::{CoreSettings, Reality, Wanted, WantedInbound};

/// What the configuration says of the core, or what is set over it.
#[derive(Debug, Clone)]
pub struct XraySettings {
    /// What all inbounds share.
    pub core: CoreSettings,
    /// The TLS server of identities that name none.
    pub dest: String,
    /// The server names of identities that name none.
    pub server_names: Vec<String>,
    /// What comes before the server's names, whoever names them.
    pub sni: Option<String>,
}

impl XraySettings {
    /// The part of a configuration.
    pub fn of(config: &XrayConfig) -> Self {
        Self {
            core: CoreSettings {
                listen: config.listen,
                flow: config.flow.clone(),
                max_time_diff_ms: config.max_time_diff_seconds.saturating_mul(1000),
                api_listen: config.api_listen,
                access_log: None,
            },
            dest: config.dest.clone(),
            server_names: config.server_names.clone(),
            sni: None,
        }
    }

    /// The same with what may change while the agent runs taken from a configuration.
    pub fn changed(&self, config: &XrayConfig) -> Self {
        let Self {
            core,
            dest,
            server_names,
            ..
        } = Self::of(config);
        Self {
            core: CoreSettings {
                flow: core.flow,
                max_time_diff_ms: core.max_time_diff_ms,
                ..self.core.clone()
            },
            dest,
            server_names,
            sni: None,
        }
    }

    /// The same with what is set over it.
    pub fn with(&self, stored: &Stored) -> Self {
        let mut settings = self.clone();
        if let Some(flow) = stored.text(XRAY_FLOW) {
            flow.clone_into(&mut settings.core.flow);
        }
        settings.sni = stored.text(XRAY_SNI).map(str::to_owned);
        settings
    }

    /// The server names of an identity that has none of its own, under a server that has these.
    pub fn shared_server_names(&self, server: &[String]) -> Vec<String> {
        let named = if server.is_empty() { &self.server_names } else { server };
        let others = named.iter().filter(|name| Some(*name) != self.sni.as_ref());
        self.sni.iter().chain(others).cloned().collect()
    }
}

/// One inbound for each enabled key that has a port.
pub(super) fn wanted(snapshot: &Snapshot, settings: &XraySettings, now: DateTime<Utc>) -> Wanted {
    let shared = reality(&Identity::default(), &snapshot.identity, settings, now);
    let inbounds = snapshot.entries.iter().filter_map(|entry| {
        let key = &entry.key;
        let port = key.port.filter(|_| key.is_active)?;
        Some(inbound(key, port, &shared, snapshot, settings, now))
    });
    Wanted {
        settings: settings.core.clone(),
        inbounds: inbounds.collect(),
    }
}

/// A key's inbound as it is, or would be were the key enabled; `None` without a port.
pub(super) fn wanted_inbound(
    key: &Key,
    snapshot: &Snapshot,
    settings: &XraySettings,
    now: DateTime<Utc>,
) -> Option<WantedInbound> {
    let shared = reality(&Identity::default(), &snapshot.identity, settings, now);
    Some(inbound(key, key.port?, &shared, snapshot, settings, now))
}

/// When the first old short id stops being accepted.
pub(super) fn next_expiry(snapshot: &Snapshot, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let keys = snapshot
        .entries
        .iter()
        .filter_map(|entry| entry.key.identity.as_deref());
    keys.chain([&*snapshot.identity])
        .filter_map(|identity| Some(identity.old_short_id.as_ref()?.until))
        .filter(|until| *until > now)
        .min()
}

fn inbound(
    key: &Key,
    port: u16,
    shared: &Arc<Reality>,
    snapshot: &Snapshot,
    settings: &XraySettings,
    now: DateTime<Utc>,
) -> WantedInbound {
    WantedInbound {
        uuid: key.uuid,
        port,
        reality: match &key.identity {
            None => Arc::clone(shared),
            Some(own) => reality(own, &snapshot.identity, settings, now),
        },
    }
}

/// What a key has of its own, then the server's, then the configuration's.
fn reality(own: &Identity, server: &Identity, settings: &XraySettings, now: DateTime<Utc>) -> Arc<Reality> {
    // The store gives the server both when it is opened; should it ever not, nobody can connect, rather than anybody.
    let private_key = own.private_key.or(server.private_key);
    let (current, old) = match &own.short_id {
        Some(short_id) => (Some(short_id), &own.old_short_id),
        None => (server.short_id.as_ref(), &server.old_short_id),
    };
    let old = old.as_ref().filter(|old| old.until > now).map(|old| &old.short_id);
    let short_ids: Vec<ShortId> = current.into_iter().chain(old).cloned().collect();
    Arc::new(Reality {
        private_key: private_key.unwrap_or_else(PrivateKey::generate),
        short_ids,
        dest: own
            .dest
            .clone()
            .or_else(|| server.dest.clone())
            .unwrap_or_else(|| settings.dest.clone()),
        server_names: match own.server_names.is_empty() {
            true => settings.shared_server_names(&server.server_names),
            false => own.server_names.clone(),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::settings::Value;

    fn names(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_set_lies_over_the_configuration() {
        let configured = XraySettings::of(&XrayConfig {
            server_names: names(&["a.example", "b.example"]),
            ..XrayConfig::default()
        });
        let unset = configured.with(&Stored::default());
        assert_eq!(unset.core.flow, "xtls-rprx-vision");
        assert_eq!(unset.shared_server_names(&[]), ["a.example", "b.example"]);
        let stored = Stored {
            values: BTreeMap::from([(XRAY_FLOW, Value::from("")), (XRAY_SNI, Value::from("b.example"))]),
            ..Stored::default()
        };
        let set = configured.with(&stored);
        assert_eq!(set.core.flow, "");
        assert_eq!(set.shared_server_names(&[]), ["b.example", "a.example"], "each once");
        let of_server = names(&["c.example"]);
        assert_eq!(set.shared_server_names(&of_server), ["b.example", "c.example"]);
    }

    #[test]
    fn addresses_and_files_stay_when_the_configuration_is_read_again() {
        let mut running = XraySettings::of(&XrayConfig::default());
        running.core.access_log = Some("/access.log".to_owned());
        let changed = running.changed(&XrayConfig {
            flow: String::new(),
            max_time_diff_seconds: 7,
            dest: "d.example:443".to_owned(),
            server_names: names(&["d.example"]),
            api_listen: "127.0.0.1:1".parse().unwrap(),
            listen: "127.0.0.1".parse().ok(),
            ..XrayConfig::default()
        });
        assert_eq!((changed.core.flow.as_str(), changed.core.max_time_diff_ms), ("", 7_000));
        assert_eq!(
            (changed.dest.as_str(), changed.server_names),
            ("d.example:443", names(&["d.example"]))
        );
        assert_eq!(changed.core.api_listen, running.core.api_listen);
        assert_eq!(changed.core.listen, None);
        assert_eq!(changed.core.access_log, running.core.access_log);
    }

    #[test]
    fn a_key_with_names_of_its_own_keeps_them() {
        let stored = Stored {
            values: BTreeMap::from([(XRAY_SNI, Value::from("set.example"))]),
            ..Stored::default()
        };
        let settings = XraySettings::of(&XrayConfig::default()).with(&stored);
        let own = Identity {
            server_names: names(&["own.example"]),
            ..Identity::default()
        };
        let server = Identity::generate();
        let now = Utc::now();
        assert_eq!(reality(&own, &server, &settings, now).server_names, ["own.example"]);
        let shared = reality(&Identity::default(), &server, &settings, now);
        assert_eq!(shared.server_names, ["set.example", "www.microsoft.com"]);
    }
}
