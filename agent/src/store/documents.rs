//! What a backup of the core's configuration says about the wanted state, made the wanted state in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

use super::snapshot::{Key, KeyId, Snapshot};
use super::writer::{Writer, entry, new_entry};
use super::{NewEvent, StoreError, events, identities, key_events, keys};
use crate::xray::reality::Identity;
use crate::xray::subscription::SubscriptionToken;

/// What a backup changes of the wanted state.
#[derive(Debug, Clone, Default)]
pub struct RestoredConfiguration {
    /// Others' parts of the configuration, as JSON text.
    pub document: String,
    /// The server's identity, where it becomes another.
    pub server_identity: Option<Identity>,
    /// What keys have of their own from now on; nothing of their own where that is empty.
    pub key_identities: Vec<(KeyId, Identity)>,
    /// Clients that no key stands for.
    pub clients: Vec<RestoredClient>,
    /// What to note.
    pub event: NewEvent,
}

/// A client that becomes a key.
#[derive(Debug, Clone)]
pub struct RestoredClient {
    /// Its VLESS uuid.
    pub uuid: Uuid,
    /// The key's name.
    pub name: String,
    /// The port that it would like to keep.
    pub port: Option<u16>,
    /// What it has of a REALITY identity of its own.
    pub identity: Option<Identity>,
}

/// What a restore has made.
#[derive(Debug, Clone, Default)]
pub struct RestoreOutcome {
    /// The new keys.
    pub created: Vec<Key>,
    /// One sentence for each client that could not become a key.
    pub skipped: Vec<String>,
}

/// The restored document that is not yet in the file.
pub(super) fn restored(connection: &Connection) -> rusqlite::Result<Option<Arc<str>>> {
    let text: Option<String> = connection
        .query_row("SELECT document FROM restored_document", [], |row| row.get(0))
        .optional()?;
    Ok(text.map(Arc::from))
}

impl Writer {
    pub(super) fn set_identity(
        &mut self,
        owner: Option<KeyId>,
        identity: Identity,
        event: &NewEvent,
    ) -> Result<(), StoreError> {
        let now = self.with.clock.now();
        self.edit(&[], &[], |transaction, snapshot| {
            set_identity(transaction, snapshot, owner, identity)?;
            snapshot.keys_changed();
            Ok(events::append(transaction, now, event)?)
        })
    }

    pub(super) fn restore_configuration(
        &mut self,
        restored: RestoredConfiguration,
    ) -> Result<RestoreOutcome, StoreError> {
        let outcome = self.plan_clients(restored.clients)?;
        let now = self.with.clock.now();
        let ports: Vec<u16> = outcome.created.iter().filter_map(|key| key.port).collect();
        self.edit(&ports, &ports, |transaction, snapshot| {
            if let Some(identity) = restored.server_identity {
                set_identity(transaction, snapshot, None, identity)?;
            }
            for (id, identity) in restored.key_identities {
                set_identity(transaction, snapshot, Some(id), identity)?;
            }
            for key in &outcome.created {
                snapshot.entries.push(new_entry(transaction, key.clone(), now)?);
            }
            if !outcome.created.is_empty() {
                keys::touch_port_table(transaction, now)?;
                snapshot.port_table.last_updated = now;
            }
            transaction.execute(
                "INSERT INTO restored_document VALUES (1, ?1)
                 ON CONFLICT (only_row) DO UPDATE SET document = ?1",
                [&restored.document],
            )?;
            snapshot.restored_document = Some(restored.document.into());
            snapshot.keys_changed();
            events::append(transaction, now, &restored.event)?;
            let made: Vec<NewEvent> = outcome.created.iter().map(key_events::created).collect();
            Ok(events::append_all(transaction, now, &made)?)
        })?;
        Ok(outcome)
    }

    /// Which clients become keys, and at which ports.
    fn plan_clients(&mut self, clients: Vec<RestoredClient>) -> Result<RestoreOutcome, StoreError> {
        let mut outcome = RestoreOutcome::default();
        let snapshot = self.published.load_full();
        let mut assigned = snapshot.assigned_ports();
        let mut taken: BTreeSet<u16> = self.with.probe.held_ports().map_err(StoreError::PortProbe)?;
        let mut seen = BTreeSet::new();
        for client in clients {
            if snapshot.find(client.uuid).is_some() || !seen.insert(client.uuid) {
                continue;
            }
            let is_full = snapshot.entries.len() + outcome.created.len() >= self.with.ports.len();
            let may_keep = |port: &u16| {
                self.with.ports.binary_search(port).is_ok() && !assigned.contains(port) && !taken.contains(port)
            };
            let port = client
                .port
                .filter(may_keep)
                .or_else(|| keys::lowest_free_port(self.with.ports.iter().copied(), &assigned, &taken));
            let Some(port) = port.filter(|_| !is_full) else {
                let uuid = client.uuid;
                outcome
                    .skipped
                    .push(format!("Client {uuid} became no key: every configured port is taken"));
                continue;
            };
            assigned.insert(port);
            taken.insert(port);
            let now = self.with.clock.now();
            outcome.created.push(Key {
                id: KeyId(Uuid::new_v4()),
                uuid: client.uuid,
                name: client.name,
                alias: String::new(),
                is_active: true,
                created_at: now,
                port: Some(port),
                assigned_at: Some(now),
                cycle: None,
                subscription_token: Some(SubscriptionToken::generate()),
                identity: client.identity.map(Arc::new),
            });
        }
        Ok(outcome)
    }

    pub(super) fn forget_restored_document(&mut self, written: &Arc<str>) -> Result<(), StoreError> {
        if self.published.load().restored_document.as_ref() != Some(written) {
            return Ok(());
        }
        self.edit(&[], &[], |transaction, snapshot| {
            transaction.execute("DELETE FROM restored_document", [])?;
            snapshot.restored_document = None;
            Ok(())
        })
    }

    pub(super) fn append_event(&mut self, event: &NewEvent) -> Result<(), StoreError> {
        events::append(&self.connection, self.with.clock.now(), event)?;
        self.events_committed();
        Ok(())
    }
}

fn set_identity(
    connection: &Connection,
    snapshot: &mut Snapshot,
    owner: Option<KeyId>,
    identity: Identity,
) -> Result<(), StoreError> {
    identities::write(connection, owner, &identity)?;
    match owner {
        None => snapshot.identity = Arc::new(identity),
        Some(id) => {
            let entry = entry(snapshot, id)?;
            entry.key = Arc::new(Key {
                identity: (identity != Identity::default()).then(|| Arc::new(identity)),
                ..(*entry.key).clone()
            });
        }
    }
    Ok(())
}
