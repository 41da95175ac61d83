//! Keys: making, finding, changing and removing them, in the store and in the running core.

use std::sync::Arc;

use portmeter_proto::reason::Reason;
use uuid::Uuid;

use super::ServiceError;
use crate::config::RealityIdentity;
use crate::reconciler::{KeyChange, Operation, Reconciler};
use crate::store::{Entry, Key, NewEvent, NewKey, Snapshot, Store};
use crate::xray::reality::Identity;

/// Longest name, in characters.
pub(super) const NAME_LENGTH_MAX: usize = 255;

/// The rules for keys. Each change is committed, brought to the running core, and only then answered; one that the core
/// refuses is taken back.
#[derive(Clone)]
pub struct KeyService {
    store: Arc<Store>,
    reconciler: Reconciler,
    reality_identity: RealityIdentity,
}

impl KeyService {
    /// The service over a store and what keeps the core at it.
    pub fn new(store: Arc<Store>, reconciler: Reconciler, reality_identity: RealityIdentity) -> Self {
        Self {
            store,
            reconciler,
            reality_identity,
        }
    }

    /// Makes a key with a new uuid and the lowest free port.
    pub async fn create(&self, name: &str) -> Result<Key, ServiceError> {
        let name = checked_name(name)?;
        let identity = match self.reality_identity {
            RealityIdentity::Server => None,
            RealityIdentity::Key => Some(Identity::generate()),
        };
        let mut operation = self.reconciler.operation().await;
        let key = self.store.create_key(NewKey { name, identity }).await?;
        let applied = operation.apply(self.change(None, &key)).await;
        if let Err(refusal) = applied {
            self.store.delete_key(key.id).await?;
            operation.apply(self.change(Some(&key), &disabled(&key))).await.ok();
            return Err(ServiceError::core_refused(&refusal));
        }
        tracing::info!(key_id = %key.id.0, port = key.port, "key created");
        Ok(key)
    }

    /// All keys in creation order.
    pub fn list(&self) -> Arc<Snapshot> {
        self.store.snapshot()
    }

    /// One key by id or uuid.
    pub fn get(&self, key_id: &str) -> Result<Arc<Key>, ServiceError> {
        find(&self.store, key_id).map(|entry| entry.key)
    }

    /// Renames, enables or disables a key; `None` leaves a field alone.
    pub async fn update(&self, key_id: &str, name: Option<&str>, is_active: Option<bool>) -> Result<Key, ServiceError> {
        let name = name.map(checked_name).transpose()?;
        let mut operation = self.reconciler.operation().await;
        let before = self.get(key_id)?;
        let key = self.store.update_key(before.id, name, is_active).await?;
        if key.is_active != before.is_active {
            self.apply_or_put_back(&mut operation, &before, &key).await?;
        }
        tracing::info!(key_id = %key.id.0, is_active = key.is_active, "key changed");
        Ok(key)
    }

    /// Gives a key a new uuid: its old link stops working and its connections end.
    pub async fn regenerate(&self, key_id: &str) -> Result<Key, ServiceError> {
        let mut operation = self.reconciler.operation().await;
        let before = self.get(key_id)?;
        let key = self.store.regenerate_key(before.id).await?;
        self.apply_or_put_back(&mut operation, &before, &key).await?;
        tracing::info!(key_id = %key.id.0, "key got a new uuid");
        let event = NewEvent {
            kind: "user",
            severity: "warning",
            service: "agent",
            action: "kick",
            message: format!("key {} got a new uuid", key.id.0),
            actor: "operator",
        };
        self.store.append_event(event).await?;
        Ok(key)
    }

    /// Removes a key; its port is free at once.
    pub async fn delete(&self, key_id: &str) -> Result<Key, ServiceError> {
        let mut operation = self.reconciler.operation().await;
        let id = self.get(key_id)?.id;
        let key = self.store.delete_key(id).await?;
        // It is gone whatever the core says: what is left of it there is drift.
        if let Err(refusal) = operation.apply(self.change(Some(&key), &disabled(&key))).await {
            tracing::error!(key_id = %key.id.0, %refusal, "the core keeps a deleted key");
        }
        tracing::info!(key_id = %key.id.0, port = key.port, "key deleted");
        Ok(key)
    }

    async fn apply_or_put_back(
        &self,
        operation: &mut Operation<'_>,
        before: &Key,
        key: &Key,
    ) -> Result<(), ServiceError> {
        let Err(refusal) = operation.apply(self.change(Some(before), key)).await else {
            return Ok(());
        };
        self.store.put_key_back(before.clone()).await?;
        // What the core had of it before it has again, or there is drift until it has.
        operation.apply(self.change(None, before)).await.ok();
        Err(ServiceError::core_refused(&refusal))
    }

    /// What changes in the core from `before` to `after`.
    fn change(&self, before: Option<&Key>, after: &Key) -> KeyChange {
        let before = before.filter(|key| key.is_active);
        KeyChange {
            gone: before.and_then(|key| Some((key.uuid, key.port?))),
            wanted: self.reconciler.wanted_inbound(after).filter(|_| after.is_active),
        }
    }
}

/// A key as it is after it has gone.
fn disabled(key: &Key) -> Key {
    Key {
        is_active: false,
        ..key.clone()
    }
}

/// The key with this id or uuid, as text comes from a path.
pub(super) fn find(store: &Store, key_id: &str) -> Result<Entry, ServiceError> {
    let id = Uuid::try_parse(key_id).map_err(|_| ServiceError::key_not_found())?;
    store
        .snapshot()
        .find(id)
        .cloned()
        .ok_or_else(ServiceError::key_not_found)
}

/// A name without the white space around it, 1 to 255 characters.
fn checked_name(name: &str) -> Result<String, ServiceError> {
    let name = name.trim();
    if (1..=NAME_LENGTH_MAX).contains(&name.chars().count()) {
        return Ok(name.to_owned());
    }
    Err(ServiceError::new(
        Reason::InvalidArgument,
        format!(
            "name must have 1 to {NAME_LENGTH_MAX} characters, it has {}",
            name.chars().count()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_bounded_in_characters() {
        assert_eq!(checked_name("  Ünïcode \n").unwrap(), "Ünïcode");
        assert_eq!(checked_name(&"ü".repeat(255)).unwrap().chars().count(), 255);
        for bad in [String::new(), "  ".to_owned(), "x".repeat(256)] {
            assert_eq!(checked_name(&bad).unwrap_err().reason, Reason::InvalidArgument);
        }
    }
}
