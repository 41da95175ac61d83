//! The core and its configuration: what is asked of the reconciler, and what is told of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use portmeter_proto::reason::Reason;

use super::ServiceError;
use super::keys::find;
use crate::network::sockets::port_tables;
use crate::reconciler::{Reconciler, Synchronization, Synchronized, XrayFacts, XraySettings};
use crate::store::{NewEvent, Store};
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
pub struct Rotation<'a> {
    /// The key's id or uuid; empty for the server's identity.
    pub key_id: &'a str,
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

    /// What the configuration says of the core.
    pub fn settings(&self) -> &XraySettings {
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
        Ok(operation.synchronize().await?)
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

    /// Restarts the core with the wanted configuration; every connection of every key drops.
    pub async fn restart(&self) -> Result<(), ServiceError> {
        let mut operation = self.reconciler.operation().await;
        operation.restart_core().await?;
        drop(operation);
        let event = NewEvent {
            kind: "xray",
            severity: "warning",
            service: "xray",
            action: "restart",
            message: "the core was restarted".to_owned(),
            actor: "operator",
        };
        Ok(self.store.append_event(event).await?)
    }

    /// Gives the server or a key a new identity. Standing connections are not touched: only who connects anew needs the
    /// new link.
    pub async fn rotate(&self, rotation: &Rotation<'_>) -> Result<Rotated, ServiceError> {
        if rotation.grace_seconds > GRACE_SECONDS_MAX {
            return Err(ServiceError::new(
                Reason::InvalidArgument,
                format!("grace_seconds must be at most {GRACE_SECONDS_MAX}"),
            ));
        }
        let mut operation = self.reconciler.operation().await;
        let snapshot = self.store.snapshot();
        let (owner, own) = match rotation.key_id {
            "" => (None, (*snapshot.identity).clone()),
            key_id => {
                let key = find(&self.store, key_id)?.key;
                (Some(key.id), key.identity.as_deref().cloned().unwrap_or_default())
            }
        };
        let rotated = rotated(&own, &snapshot.identity, rotation, self.store.now());
        self.store.set_identity(owner, rotated.clone()).await?;
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

/// The identity after a rotation. An inbound has room for many short ids and one private key: with a new private key the
/// old links end at once, and no grace would help them.
fn rotated(own: &Identity, server: &Identity, rotation: &Rotation<'_>, now: DateTime<Utc>) -> Identity {
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

    fn rotation(private_key: bool, grace_seconds: u32) -> Rotation<'static> {
        Rotation {
            key_id: "",
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
