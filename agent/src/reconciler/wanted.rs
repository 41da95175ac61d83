//! The wanted state in the core's terms: the store's keys and identities with the configuration's settings. Plain
//! functions.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::XrayConfig;
use crate::store::{Key, Snapshot};
use crate::xray::reality::{Identity, PrivateKey, ShortId};
use crate::xray::wanted::{CoreSettings, Reality, Wanted, WantedInbound};

/// What the configuration says of the core.
#[derive(Debug, Clone)]
pub struct XraySettings {
    /// What all inbounds share.
    pub core: CoreSettings,
    /// The TLS server of identities that name none.
    pub dest: String,
    /// The server names of identities that name none.
    pub server_names: Vec<String>,
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
            },
            dest: config.dest.clone(),
            server_names: config.server_names.clone(),
        }
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
    let server_names = [&own.server_names, &server.server_names, &settings.server_names];
    let named = server_names.into_iter().find(|names| !names.is_empty());
    Arc::new(Reality {
        private_key: private_key.unwrap_or_else(PrivateKey::generate),
        short_ids,
        dest: own
            .dest
            .clone()
            .or_else(|| server.dest.clone())
            .unwrap_or_else(|| settings.dest.clone()),
        server_names: named.cloned().unwrap_or_default(),
    })
}
