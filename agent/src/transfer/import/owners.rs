//! Which key a history belongs to, among those that are there and those that are made.

use std::collections::HashMap;

use uuid::Uuid;

use super::decide::{DecidedKey, DecisionError, Present};
use super::plan::Owner;
use crate::store::HistoryId;

/// A key that histories can belong to.
#[derive(Clone)]
pub(super) struct OwnerKey {
    pub(super) id: Uuid,
    pub(super) name: String,
    /// The history that is shown; none has been begun for a key that is to be made.
    pub(super) history: HistoryId,
}

/// The keys that are there and those that are made.
#[derive(Default)]
pub(super) struct Owners {
    by_id: HashMap<Uuid, OwnerKey>,
    by_uuid: HashMap<Uuid, OwnerKey>,
}

impl Owners {
    pub(super) fn of(present: &Present, new: &[DecidedKey]) -> Self {
        let mut owners = Self::default();
        for key in &present.keys {
            owners.add(key.id, key.uuid, &key.name, key.history);
        }
        for key in new {
            owners.add(key.id, key.uuid, &key.name, HistoryId::default());
        }
        owners
    }

    fn add(&mut self, id: Uuid, uuid: Uuid, name: &str, history: HistoryId) {
        let key = OwnerKey {
            id,
            name: name.to_owned(),
            history,
        };
        self.by_id.insert(id, key.clone());
        self.by_uuid.insert(uuid, key);
    }

    /// `None` where the key may be missing and is.
    pub(super) fn find(&self, owner: Owner) -> Result<Option<OwnerKey>, DecisionError> {
        match owner {
            Owner::Uuid(uuid) => Ok(self.by_uuid.get(&uuid).cloned()),
            Owner::Named(name) => match self.by_id.get(&name).or_else(|| self.by_uuid.get(&name)) {
                Some(key) => Ok(Some(key.clone())),
                None => Err(DecisionError::NoSuchKey(name)),
            },
        }
    }
}
