//! Saved configurations of the core: looked at, restored, removed.

use std::collections::HashMap;
use std::sync::Arc;

use portmeter_proto::reason::Reason;
use uuid::Uuid;

use super::ServiceError;
use super::key_rules::NAME_LENGTH_MAX;
use crate::reconciler::{Operation, Reconciler, XraySettings};
use crate::store::{
    EventKind, EventSeverity, NewEvent, RestoreOutcome, RestoredClient, RestoredConfiguration, Snapshot, Store,
};
use crate::xray::document::{Document, FoundClient, Restored, Summary, restore};
use crate::xray::files::{self, Backup, BackupError};
use crate::xray::reality::Identity;

/// The rules for saved configurations.
#[derive(Clone)]
pub struct BackupService {
    store: Arc<Store>,
    reconciler: Reconciler,
}

/// What a restore found, and what it has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restoration {
    /// VLESS clients of the present file; `None` where there is no file.
    pub current_client_count: Option<usize>,
    /// VLESS clients of the backup.
    pub backup_client_count: usize,
    /// Inbounds of the backup.
    pub backup_inbound_count: usize,
    /// The present file's backup.
    pub saved_as: Option<String>,
    /// How many keys were made for clients of the backup.
    pub created_key_count: usize,
    /// One sentence for each client that could not become a key.
    pub skipped: Vec<String>,
    /// Whether the core was restarted.
    pub is_restarted: bool,
}

impl BackupService {
    /// The service over the store and what keeps the core at it.
    pub fn new(store: Arc<Store>, reconciler: Reconciler) -> Self {
        Self { store, reconciler }
    }

    /// All backups, newest first.
    pub async fn list(&self) -> Result<Vec<Backup>, ServiceError> {
        self.files(files::list_backups).await
    }

    /// What is in one, without secrets.
    pub async fn preview(&self, name: &str) -> Result<Summary, ServiceError> {
        Ok(self.read(name).await?.summary())
    }

    /// Removes one.
    pub async fn delete(&self, name: &str) -> Result<(), ServiceError> {
        let wanted = name.to_owned();
        self.files(move |path| files::delete_backup(path, &wanted)).await?;
        let message = format!("the backup {name} was removed");
        self.store
            .note_event(event(EventSeverity::Info, "delete_backup", message))
            .await;
        Ok(())
    }

    /// What a restore would find.
    pub async fn look(&self, name: &str) -> Result<Restoration, ServiceError> {
        let backup = self.read(name).await?;
        self.found(&backup).await
    }

    /// Makes a backup the wanted state, and brings file and core to it. What the core refuses as a whole changes nothing;
    /// when it cannot be brought up afterwards, everything is as before.
    pub async fn restore(&self, name: &str, restart_core: bool) -> Result<Restoration, ServiceError> {
        let backup = self.read(name).await?;
        let mut restoration = self.found(&backup).await?;
        if let Err(error) = self.reconciler.file().try_text(backup.to_text()).await {
            let message = format!("the configuration of {name} was not restored: the core refuses it");
            self.store
                .note_event(event(EventSeverity::Error, "restore", message))
                .await;
            let message = format!("{name} is not restored: {error}");
            return Err(ServiceError::invalid("name", message));
        }

        let mut operation = self.reconciler.operation().await;
        restoration.saved_as = self.reconciler.file().save("pre_restore").await?;
        let before = self.store.snapshot();
        let present = self.reconciler.document().await.ok().flatten();
        let found = restore(&backup);
        restoration.skipped.extend(found.remarks.iter().cloned());
        let outcome = self
            .store
            .restore_configuration(decide(name, &found, &before, &self.reconciler.settings()))
            .await?;
        restoration.created_key_count = outcome.created.len();
        restoration.skipped.extend(outcome.skipped.iter().cloned());

        let applied = match restart_core && self.reconciler.is_managed() {
            true => operation.restart_core().await.map(|()| true),
            false => operation.synchronize().await.map(|_| false),
        };
        match applied {
            Ok(is_restarted) => {
                restoration.is_restarted = is_restarted;
                Ok(restoration)
            }
            Err(error) => {
                self.take_back(&mut operation, &before, &outcome, present.as_ref())
                    .await?;
                Err(ServiceError::invalid("name", format!("{name} was taken back: {error}")))
            }
        }
    }

    /// A compensating change: keys that the restore made go, identities and others' parts are the ones of before.
    async fn take_back(
        &self,
        operation: &mut Operation<'_>,
        before: &Snapshot,
        outcome: &RestoreOutcome,
        present: Option<&Document>,
    ) -> Result<(), ServiceError> {
        for key in &outcome.created {
            self.store.take_key_back(key.id).await?;
        }
        let key_identities = before.entries.iter().map(|entry| {
            let own = entry.key.identity.as_deref().cloned().unwrap_or_default();
            (entry.key.id, own)
        });
        let restored = RestoredConfiguration {
            document: present.map_or_else(|| "{}".to_owned(), Document::to_text),
            server_identity: Some((*before.identity).clone()),
            key_identities: key_identities.collect(),
            clients: Vec::new(),
            event: event(
                EventSeverity::Error,
                "restore_taken_back",
                "a restored configuration was taken back".to_owned(),
            ),
        };
        self.store.restore_configuration(restored).await?;
        if let Err(error) = operation.synchronize().await {
            tracing::error!(%error, "the configuration of before a restore is not in force yet");
        }
        Ok(())
    }

    async fn found(&self, backup: &Document) -> Result<Restoration, ServiceError> {
        let present = self.reconciler.document().await.ok().flatten();
        Ok(Restoration {
            current_client_count: present.map(|document| document.client_uuids().len()),
            backup_client_count: backup.client_uuids().len(),
            backup_inbound_count: backup.inbound_count(),
            ..Restoration::default()
        })
    }

    async fn read(&self, name: &str) -> Result<Document, ServiceError> {
        let name = name.to_owned();
        let text = self.files(move |path| files::read_backup(path, &name)).await?;
        let document = Document::parse(&text);
        document.map_err(|error| ServiceError::invalid("name", error.to_string()))
    }

    async fn files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&std::path::Path) -> Result<T, BackupError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let path = self.reconciler.file().path().to_owned();
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        let done = done.map_err(|error| ServiceError::internal("The backups' work ended early", &error))?;
        Ok(done?)
    }
}

/// What a backup changes. The identity that most of its clients have becomes the server's; others keep theirs as their
/// own. Keys that it lacks keep what their links carry now.
fn decide(name: &str, found: &Restored, before: &Snapshot, settings: &XraySettings) -> RestoredConfiguration {
    let clients: Vec<(&FoundClient, Identity)> = found
        .clients
        .iter()
        .map(|client| (client, as_configured(&client.identity, settings)))
        .collect();
    let server = most_frequent(clients.iter().map(|(_, identity)| identity))
        .filter(|identity| identity.private_key.is_some() && identity.short_id.is_some());
    let new_server = server.cloned().unwrap_or_else(|| (*before.identity).clone());
    let own = |identity: &Identity| match identity == &new_server {
        true => Identity::default(),
        false => identity.clone(),
    };
    let by_uuid: HashMap<Uuid, &Identity> = clients
        .iter()
        .map(|(client, identity)| (client.uuid, identity))
        .collect();
    let key_identities = before.entries.iter().map(|entry| {
        let key = &entry.key;
        let present = key.identity.as_deref().cloned().unwrap_or_default();
        let identity = match by_uuid.get(&key.uuid) {
            Some(identity) => (*identity).clone(),
            None => filled(present, &before.identity),
        };
        (key.id, own(&identity))
    });
    let new_clients = clients.iter().map(|(client, identity)| RestoredClient {
        uuid: client.uuid,
        name: match client.email.trim() {
            "" => client.uuid.to_string(),
            email => email.chars().take(NAME_LENGTH_MAX).collect(),
        },
        port: client.port,
        identity: Some(own(identity)).filter(|own| *own != Identity::default()),
    });
    // Left in an inbound of others they could connect past their key.
    let become_keys = clients.iter().map(|(client, _)| client.uuid).collect();
    RestoredConfiguration {
        document: found.base.without_clients(&become_keys).to_text(),
        server_identity: server.cloned(),
        key_identities: key_identities.collect(),
        clients: new_clients.collect(),
        event: event(
            EventSeverity::Warning,
            "restore",
            format!("the configuration of {name} was restored"),
        ),
    }
}

/// What a key of before the restore goes on with: its own, and the server's of that time.
fn filled(own: Identity, server: &Identity) -> Identity {
    let (short_id, old_short_id) = match own.short_id {
        Some(_) => (own.short_id, own.old_short_id),
        None => (server.short_id.clone(), server.old_short_id.clone()),
    };
    Identity {
        private_key: own.private_key.or(server.private_key),
        short_id,
        old_short_id,
        dest: own.dest.or_else(|| server.dest.clone()),
        server_names: match own.server_names.is_empty() {
            true => server.server_names.clone(),
            false => own.server_names,
        },
    }
}

/// What is as configured follows the configuration.
fn as_configured(identity: &Identity, settings: &XraySettings) -> Identity {
    let mut identity = identity.clone();
    identity.dest = identity.dest.filter(|dest| *dest != settings.dest);
    if identity.server_names == settings.shared_server_names(&[]) {
        identity.server_names.clear();
    }
    identity
}

/// The first of those that occur most often.
fn most_frequent<'a>(identities: impl Iterator<Item = &'a Identity>) -> Option<&'a Identity> {
    let mut counted: Vec<(&Identity, usize)> = Vec::new();
    for identity in identities {
        match counted.iter_mut().find(|(known, _)| *known == identity) {
            Some((_, count)) => *count += 1,
            None => counted.push((identity, 1)),
        }
    }
    let most = counted.iter().map(|(_, count)| *count).max()?;
    counted
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(identity, _)| identity)
}

fn event(severity: EventSeverity, action: &'static str, message: String) -> NewEvent {
    NewEvent {
        kind: EventKind::Xray,
        severity,
        service: "xray",
        action,
        message,
        details: vec![(
            "result",
            if severity == EventSeverity::Error {
                "failed"
            } else {
                "ok"
            }
            .to_owned(),
        )],
        ..NewEvent::default()
    }
}

impl From<BackupError> for ServiceError {
    fn from(error: BackupError) -> Self {
        match &error {
            BackupError::InvalidName => Self {
                reason: Reason::InvalidBackupName,
                ..Self::invalid("name", "invalid_filename")
            },
            BackupError::NotFound => Self::new(Reason::BackupNotFound, "backup_not_found"),
            BackupError::Io(_) => Self::internal("The backups cannot be read or written", &error),
        }
    }
}
