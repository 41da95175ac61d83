//! Keys: making, finding, changing and removing them.

use std::sync::Arc;

use portmeter_proto::reason::Reason;
use uuid::Uuid;

use super::ServiceError;
use crate::store::{Entry, Key, NewKey, Snapshot, Store};

/// Longest name, in characters.
const NAME_LENGTH_MAX: usize = 255;

/// The rules for keys.
#[derive(Clone)]
pub struct KeyService {
    store: Arc<Store>,
}

impl KeyService {
    /// The service over a store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Makes a key with a new uuid and the lowest free port.
    pub async fn create(&self, name: &str) -> Result<Key, ServiceError> {
        let key = self
            .store
            .create_key(NewKey {
                name: checked_name(name)?,
            })
            .await?;
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
        let id = self.get(key_id)?.id;
        let key = self
            .store
            .update_key(id, name.map(checked_name).transpose()?, is_active)
            .await?;
        tracing::info!(key_id = %key.id.0, is_active = key.is_active, "key changed");
        Ok(key)
    }

    /// Removes a key; its port is free at once.
    pub async fn delete(&self, key_id: &str) -> Result<Key, ServiceError> {
        let id = self.get(key_id)?.id;
        let key = self.store.delete_key(id).await?;
        tracing::info!(key_id = %key.id.0, port = key.port, "key deleted");
        Ok(key)
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
