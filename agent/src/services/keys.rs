//! Keys: making, finding, changing and removing them, in the store and in the running core.

use std::sync::Arc;

use uuid::Uuid;

use super::key_rules::{checked_creation, checked_update};
use super::{ServiceError, key_page};
use crate::config::RealityIdentity;
use crate::reconciler::{KeyChange, Operation, Reconciler};
use crate::store::{Creation, Entry, Key, KeyUpdate, NewKey, Snapshot, Store};
use crate::xray::reality::Identity;

/// What a caller says about a key to be made.
#[derive(Debug, Clone, Default)]
pub struct CreateKey {
    /// Its name.
    pub name: String,
    /// Makes the call safe to repeat for 24 hours; empty for no such promise.
    pub request_id: String,
    /// Whether no other key may have the name.
    pub is_name_unique: bool,
}

/// Keys in creation order, as many as were asked for.
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<Arc<Key>>,
    /// For the next page; empty when this was the last.
    pub next_page_token: String,
}

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

    /// Makes a key with a new uuid and the lowest free port. The second call of one request id gives what the first has
    /// made.
    pub async fn create(&self, create: CreateKey) -> Result<Key, ServiceError> {
        let new = checked_creation(create)?;
        let request_id = new.request_id.clone().unwrap_or_default();
        let created = self.create_checked(new).await;
        created.map_err(|error| error.of_request(&request_id))
    }

    async fn create_checked(&self, new: NewKey) -> Result<Key, ServiceError> {
        let identity = match self.reality_identity {
            RealityIdentity::Server => None,
            RealityIdentity::Key => Some(Identity::generate()),
        };
        let mut operation = self.reconciler.operation().await;
        let key = match self.store.create_key_once(NewKey { identity, ..new }).await? {
            Creation::Made(key) => key,
            Creation::Repeated(key) => return Ok(key),
        };
        let applied = operation.apply(self.change(None, &key)).await;
        if let Err(refusal) = applied {
            self.store.take_key_back(key.id).await?;
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

    /// Some keys in creation order: at most `page_size`, all for 0, after those of the page that gave the token.
    pub fn page(&self, page_size: u32, page_token: &str) -> Result<KeyPage, ServiceError> {
        let ledger_id = self.store.ledger_id();
        let after = key_page::place(ledger_id, page_token)?;
        let limit = match page_size {
            0 => usize::MAX,
            size => usize::try_from(size).unwrap_or(usize::MAX),
        };
        let snapshot = self.store.snapshot();
        let (entries, has_more) = snapshot.page(after, limit);
        let last = entries.last().filter(|_| has_more);
        Ok(KeyPage {
            keys: entries.iter().map(|entry| Arc::clone(&entry.key)).collect(),
            next_page_token: last
                .map(|entry| key_page::token(ledger_id, entry.position))
                .unwrap_or_default(),
        })
    }

    /// One key by id or uuid.
    pub fn get(&self, key_id: &str) -> Result<Arc<Key>, ServiceError> {
        find(&self.store, key_id).map(|entry| entry.key)
    }

    /// Renames, enables or disables a key, or gives it an alias.
    pub async fn update(&self, key_id: &str, update: KeyUpdate) -> Result<Key, ServiceError> {
        let update = checked_update(update)?;
        let mut operation = self.reconciler.operation().await;
        let before = self.get(key_id)?;
        let key = self.store.update_key(before.id, update).await?;
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
    let not_found = || ServiceError::key_not_found().about(key_id);
    let id = Uuid::try_parse(key_id).map_err(|_| not_found())?;
    store.snapshot().find(id).cloned().ok_or_else(not_found)
}
