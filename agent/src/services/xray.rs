//! The core and its configuration: what is asked of the reconciler, and what is told of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use portmeter_proto::reason::Reason;

use super::ServiceError;
use super::keys::find;
use crate::network::sockets::port_tables;
use crate::reconciler::{Reconciler, Synchronization, Synchronized, XrayFacts, XraySettings};
use crate::store::{EventKind, EventSeverity, KeyId, NewEvent, Store};
use crate::xray::document::{Document, FirstReality, NoFirstReality, verify};
use crate::xray::reality::{Identity, OldShortId, PrivateKey, PublicKey, ShortId};

/// The longest time for which an old short id is accepted beside the new one, in seconds: a year.
const GRACE_SECONDS_MAX: u32 = 365 * 24 * 3600;

/// The rules for the core.
#[derive(Clone)]
pub struct XrayService {
    store: Arc<Store>,
    reconciler: Reconciler,
}

/// A new identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// What links carry now.
    pub public_key: PublicKey,
    /// What links carry now.
    pub short_id: ShortId,
    /// Until when the old short id is accepted.
    pub old_accepted_until: Option<DateTime<Utc>>,
}

/// Whose identity is rotated, and how.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    /// The key's id or uuid; empty for the server's identity.
    pub key_id: String,
    /// Whether there is a new private key too.
    pub private_key: bool,
    /// How long the old short id is accepted.
    pub grace_seconds: u32,
}

impl XrayService {
    /// The service over the store and what keeps the core at it.
    pub fn new(store: Arc<Store>, reconciler: Reconciler) -> Self {
        Self { store, reconciler }
    }

    /// Who runs the core, how it is, and how many keys it lacks or has too many.
    pub fn facts(&self) -> (XrayFacts, usize) {
        (self.reconciler.facts(), self.reconciler.drift_count())
    }

    /// What the configuration says of the core, and what is set over it.
    pub fn settings(&self) -> XraySettings {
        self.reconciler.settings()
    }

    /// Compares keys, file and core. Changes nothing.
    pub async fn compare(&self) -> Synchronization {
        self.reconciler.compare().await
    }

    /// Gives keys without a port one and brings file and core to the wanted state.
    pub async fn synchronize(&self) -> Result<Synchronized, ServiceError> {
        let mut operation = self.reconciler.operation().await;
        self.store.assign_ports().await?;
        let synchronized = operation.synchronize().await;
        let message = match &synchronized {
            Ok(done) => format!(
                "file and core are at the wanted state; inbounds changed: {}",
                done.applied_count
            ),
            Err(_) => "file and core could not be brought to the wanted state".to_owned(),
        };
        let event = outcome("sync", EventSeverity::Info, synchronized.is_ok(), message);
        self.store.note_event(event).await;
        Ok(synchronized?)
    }

    /// The configuration file.
    pub async fn document(&self) -> Result<Document, ServiceError> {
        let document = self.reconciler.document().await?;
        document.ok_or_else(|| ServiceError::new(Reason::ConfigurationUnreadable, "there is no configuration file"))
    }

    /// The TCP ports of this host on which somebody listens.
    pub async fn listening_ports(&self) -> Result<BTreeSet<u16>, ServiceError> {
        let tables = tokio::task::spawn_blocking(port_tables).await;
        let tables = tables.map_err(std::io::Error::other).flatten();
        let tables = tables.map_err(|error| ServiceError::internal("The socket tables cannot be read", &error))?;
        Ok(tables.listening)
    }

    /// Checks the REALITY inbounds of the file, repairs what can be repaired, and applies it. One sentence for each
    /// repair.
    pub async fn verify_reality(&self) -> Result<Vec<String>, ServiceError> {
        let repairs = self.repair_reality().await;
        let (message, severity) = match &repairs {
            Ok(repairs) if repairs.is_empty() => ("the REALITY inbounds are in order".to_owned(), EventSeverity::Info),
            Ok(repairs) => (
                format!("repairs of REALITY inbounds: {}", repairs.len()),
                EventSeverity::Warning,
            ),
            Err(_) => (
                "the REALITY inbounds could not be repaired".to_owned(),
                EventSeverity::Error,
            ),
        };
        let event = outcome("verify_reality", severity, repairs.is_ok(), message);
        self.store.note_event(event).await;
        repairs
    }

    async fn repair_reality(&self) -> Result<Vec<String>, ServiceError> {
        let mut operation = self.reconciler.operation().await;
        let Some(document) = self.reconciler.document().await? else {
            operation.synchronize().await?;
            return Ok(Vec::new());
        };
        let verified = verify(&document, &self.reconciler.wanted())
            .map_err(|missing| ServiceError::new(Reason::ConfigurationInvalid, missing.to_string()))?;
        let (repaired, repairs) = verified;
        if !repairs.is_empty() {
            let written = self
                .reconciler
                .file()
                .replace(Some(&document.to_text()), repaired.to_text(), "verify")
                .await;
            written?;
        }
        operation.synchronize().await?;
        let repairs: Vec<String> = repairs.iter().map(ToString::to_string).collect();
        for repair in &repairs {
            tracing::warn!("{repair}");
        }
        Ok(repairs)
    }

    /// What a client has to know of the first VLESS inbound.
    pub async fn first_reality(&self) -> Result<FirstReality, ServiceError> {
        let found = match self.reconciler.document().await? {
            Some(document) => document.first_reality(),
            None => Err(NoFirstReality::NoVlessInbound),
        };
        found.map_err(|error| ServiceError::new(Reason::RealityNotConfigured, error.to_string()))
    }

    /// Restarts the core with the wanted configuration; every connection of every key drops. Who asks tells of it.
    pub(super) async fn restart_core(&self) -> Result<(), ServiceError> {
        let mut operation = self.reconciler.operation().await;
        Ok(operation.restart_core().await?)
    }

    /// The same, with an event.
    pub async fn restart(&self) -> Result<(), ServiceError> {
        let restarted = self.restart_core().await;
        let message = match &restarted {
            Ok(()) => "the core was restarted",
            Err(_) => "the core could not be restarted",
        };
        let event = outcome("restart", EventSeverity::Warning, restarted.is_ok(), message.to_owned());
        self.store.note_event(event).await;
        restarted
    }

    /// Gives the server or a key a new identity. Standing connections are not touched: only who connects anew needs the
    /// new link.
    pub async fn rotate(&self, rotation: &Rotation) -> Result<Rotated, ServiceError> {
        if rotation.grace_seconds > GRACE_SECONDS_MAX {
            return Err(ServiceError::invalid(
                "grace_seconds",
                format!("grace_seconds must be at most {GRACE_SECONDS_MAX}"),
            ));
        }
        let mut operation = self.reconciler.operation().await;
        let snapshot = self.store.snapshot();
        let (owner, own) = match rotation.key_id.as_str() {
            "" => (None, (*snapshot.identity).clone()),
            key_id => {
                let key = find(&self.store, key_id)?.key;
                (Some(key.id), key.identity.as_deref().cloned().unwrap_or_default())
            }
        };
        let rotated = rotated(&own, &snapshot.identity, rotation, self.store.now());
        let event = rotation_told(owner, rotation);
        self.store.set_identity(owner, rotated.clone(), event).await?;
        operation.synchronize().await?;
        tracing::info!(
            is_server = owner.is_none(),
            with_private_key = rotation.private_key,
            "identity rotated"
        );
        let server = self.store.snapshot();
        let private_key = rotated.private_key.or(server.identity.private_key);
        Ok(Rotated {
            public_key: private_key.unwrap_or_else(PrivateKey::generate).public_key(),
            short_id: rotated.short_id.unwrap_or_else(ShortId::generate),
            old_accepted_until: rotated.old_short_id.map(|old| old.until),
        })
    }
}

/// What is told of something that was tried with the core.
fn outcome(action: &'static str, severity: EventSeverity, is_done: bool, message: String) -> NewEvent {
    NewEvent {
        kind: EventKind::Xray,
        severity: if is_done { severity } else { EventSeverity::Error },
        service: "xray",
        action,
        message,
        details: vec![("result", if is_done { "ok" } else { "failed" }.to_owned())],
        ..NewEvent::default()
    }
}

/// What is told of a rotation: whose identity is new, and nothing of the identity.
fn rotation_told(owner: Option<KeyId>, rotation: &Rotation) -> NewEvent {
    let whose = owner.map_or_else(|| "the server".to_owned(), |id| format!("key {}", id.0));
    let what = match rotation.private_key {
        true => "private key and short id",
        false => "short id",
    };
    NewEvent {
        kind: EventKind::Xray,
        // With a new private key the old links end at once.
        severity: if rotation.private_key || rotation.grace_seconds == 0 {
            EventSeverity::Warning
        } else {
            EventSeverity::Info
        },
        service: "xray",
        action: "rotate",
        message: format!("{whose} has a new {what}"),
        key_id: owner,
        ..NewEvent::default()
    }
}

/// The identity after a rotation. An inbound has room for many short ids and one private key: with a new private key the
/// old links end at once, and no grace would help them.
fn rotated(own: &Identity, server: &Identity, rotation: &Rotation, now: DateTime<Utc>) -> Identity {
    let old = own.short_id.clone().or_else(|| server.short_id.clone());
    let has_grace = rotation.grace_seconds > 0 && !rotation.private_key;
    let until = now + TimeDelta::seconds(rotation.grace_seconds.into());
    Identity {
        private_key: if rotation.private_key {
            Some(PrivateKey::generate())
        } else {
            own.private_key
        },
        short_id: Some(ShortId::generate()),
        old_short_id: old.filter(|_| has_grace).map(|short_id| OldShortId { short_id, until }),
        ..own.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(private_key: bool, grace_seconds: u32) -> Rotation {
        Rotation {
            key_id: String::new(),
            private_key,
            grace_seconds,
        }
    }

    #[test]
    fn a_short_id_goes_on_for_its_grace_and_a_private_key_does_not() {
        let (server, now) = (Identity::generate(), Utc::now());
        let changed = rotated(&server, &server, &rotation(false, 60), now);
        assert_eq!(changed.private_key, server.private_key);
        assert_ne!(changed.short_id, server.short_id);
        let old = changed.old_short_id.unwrap();
        assert_eq!(Some(old.short_id), server.short_id);
        assert_eq!(old.until, now + TimeDelta::seconds(60));
        let changed = rotated(&server, &server, &rotation(true, 60), now);
        assert_ne!(changed.private_key, server.private_key);
        assert_eq!(changed.old_short_id, None);
        assert_eq!(rotated(&server, &server, &rotation(false, 0), now).old_short_id, None);
    }

    #[test]
    fn a_key_without_its_own_leaves_the_servers_short_id_behind() {
        let server = Identity::generate();
        let changed = rotated(&Identity::default(), &server, &rotation(false, 60), Utc::now());
        assert_eq!(changed.private_key, None);
        assert_eq!(changed.old_short_id.map(|old| old.short_id), server.short_id);
    }
}
