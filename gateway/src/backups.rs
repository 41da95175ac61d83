//! The panel's routes of saved configurations of the core: list, look into, delete, and [`restore`].
//!
//! A name that could lead out of their folder is refused here already, before the agent hears of it.

use std::collections::BTreeSet;

use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use portmeter_proto::v1::preview_backup_response::{Client, Inbound};
use portmeter_proto::v1::{Backup, DeleteBackupRequest, ListBackupsRequest, PreviewBackupRequest};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::moment::{Moment, Zulu};
use crate::openapi::bodies::PanelMessage;
use crate::request::Segment;

pub(crate) mod restore;

/// The longest name that a file can have, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// What a backup in a list takes, and an inbound or client of one; see [`answer::json_of_size`].
const ROW_BYTES: usize = 224;

/// The name of a backup in the path, percent-decoded: the name of a file and nothing more.
pub(crate) struct BackupName(String);

impl<S: Send + Sync> FromRequestParts<S> for BackupName {
    type Rejection = PanelFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PanelFailure> {
        let Ok(Segment(name)) = Segment::from_request_parts(parts, state).await;
        if is_file_name(&name) {
            Ok(Self(name))
        } else {
            Err(Failure::invalid_backup_name().into())
        }
    }
}

fn is_file_name(text: &str) -> bool {
    let has_bad_character = text.contains(['/', '\\', '\0']);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !has_bad_character && !text.contains("..")
}

/// Lists the saved configurations, newest first; each field under both names that clients look for.
#[utoipa::path(get, path = "/api/backups", responses((status = 200, body = BackupList)))]
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    fn row(backup: &Backup) -> Result<BackupRow<'_>, Failure> {
        let created = Moment::of(backup.created_at.as_ref(), "backup.created_at")?.zulu();
        Ok(BackupRow {
            filename: &backup.name,
            size: backup.size_bytes,
            created,
            name: &backup.name,
            mtime: created,
        })
    }
    let backups = gateway.backups().list_backups(ListBackupsRequest {}).await?;
    let backups = backups.into_inner().backups;
    let rows = backups.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    let expected_bytes = (rows.len() + 1) * ROW_BYTES;
    Ok(answer::json_of_size(
        &BackupList {
            ok: true,
            backups: rows,
        },
        expected_bytes,
    ))
}

#[derive(Serialize, ToSchema)]
struct BackupList<'a> {
    ok: bool,
    backups: Vec<BackupRow<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Backup)]
struct BackupRow<'a> {
    filename: &'a str,
    size: u64,
    created: Zulu,
    name: &'a str,
    mtime: Zulu,
}

/// Shows what is in a saved configuration.
#[utoipa::path(get, path = "/api/backups/{file}/preview", responses((status = 200, body = BackupPreview)))]
pub(crate) async fn preview(
    State(gateway): State<Gateway>,
    BackupName(name): BackupName,
) -> Result<Response, PanelFailure> {
    let request = PreviewBackupRequest { name };
    let found = gateway.backups().preview_backup(request).await?.into_inner();
    let expected_bytes = (found.clients.len() + found.inbounds.len() + 1) * ROW_BYTES;
    let preview = Preview::of(&found.clients, &found.inbounds);
    Ok(answer::json_of_size(
        &BackupPreview { ok: true, preview },
        expected_bytes,
    ))
}

#[derive(Serialize, ToSchema)]
struct BackupPreview<'a> {
    ok: bool,
    preview: Preview<'a>,
}

/// What is in a backup.
#[derive(Serialize, ToSchema)]
#[schema(as = BackupContents)]
struct Preview<'a> {
    users: Vec<UserRow<'a>>,
    inbounds: Vec<InboundRow<'a>>,
    users_count: usize,
    ports: BTreeSet<u32>,
    protocols: BTreeSet<&'a str>,
    inbounds_count: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BackupUser)]
struct UserRow<'a> {
    id: &'a str,
    email: &'a str,
    flow: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BackupInbound)]
struct InboundRow<'a> {
    protocol: &'a str,
    #[schema(required, maximum = 65_535)]
    port: Option<u32>,
    tag: &'a str,
    listen: &'a str,
}

impl<'a> Preview<'a> {
    fn of(clients: &'a [Client], inbounds: &'a [Inbound]) -> Self {
        let user = |client: &'a Client| UserRow {
            id: &client.uuid,
            email: &client.email,
            flow: &client.flow,
        };
        let row = |inbound: &'a Inbound| InboundRow {
            protocol: &inbound.protocol,
            port: inbound.port,
            tag: &inbound.tag,
            listen: &inbound.listen,
        };
        Self {
            users: clients.iter().map(user).collect(),
            inbounds: inbounds.iter().map(row).collect(),
            users_count: clients.len(),
            ports: inbounds.iter().filter_map(|inbound| inbound.port).collect(),
            protocols: inbounds.iter().map(|inbound| inbound.protocol.as_str()).collect(),
            inbounds_count: inbounds.len(),
        }
    }
}

/// Deletes a saved configuration.
#[utoipa::path(delete, path = "/api/backups/{file}", responses((status = 200, body = PanelMessage)))]
pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    BackupName(name): BackupName,
) -> Result<Response, PanelFailure> {
    gateway.backups().delete_backup(DeleteBackupRequest { name }).await?;
    Ok(answer::json_bytes(Bytes::from_static(
        br#"{"ok":true,"message":"backup_deleted"}"#,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_folder() {
        assert!(is_file_name("20250805_120000__create__config.json"));
        assert!(is_file_name(&"x".repeat(NAME_BYTES_MAX)));
        for text in ["", "..", "a..b", "../x", "a/b", "a\\b", "a\0", "/etc/passwd"] {
            assert!(!is_file_name(text), "{text:?}");
        }
        assert!(!is_file_name(&"x".repeat(NAME_BYTES_MAX + 1)));
    }
}
