//! Makes a saved configuration of the core the wanted one, when that is meant.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{RestoreBackupRequest, RestoreBackupResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::BackupName;
use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::openapi::bodies::RestoreOrder;
use crate::panel_request::OptionalPanelFields;
use crate::request::Fields;

/// Tells what a restore of a saved configuration would do or, where the body says that it is meant, does it.
#[utoipa::path(
    post,
    path = "/api/backups/{file}/restore",
    request_body = Option<RestoreOrder>,
    responses((status = 200, body = RestoreAnswer))
)]
pub(crate) async fn run(
    State(gateway): State<Gateway>,
    BackupName(name): BackupName,
    OptionalPanelFields(fields): OptionalPanelFields,
) -> Result<Response, PanelFailure> {
    let order = Order::of(&fields)?;
    let request = RestoreBackupRequest {
        name: name.clone(),
        dry_run: order.is_dry_run,
        restart_core: order.restart_core && !order.is_dry_run,
    };
    let restored = gateway.backups().restore_backup(request).await;
    let restored = restored.map_err(PanelFailure::of_restore)?.into_inner();
    if order.is_dry_run {
        Ok(would_restore(&restored))
    } else {
        Ok(has_restored(&name, order.restart_core, &restored))
    }
}

/// What the body of a restore asks for.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    is_dry_run: bool,
    restart_core: bool,
}

impl Order {
    /// Panels of one age send `preview: false` when it is meant, those of another `confirm: true`.
    fn of(fields: &Fields) -> Result<Self, Failure> {
        let preview = fields.optional_flag("preview")?;
        let confirm = fields.optional_flag("confirm")?;
        let is_meant = preview == Some(false) || confirm == Some(true);
        Ok(Self {
            is_dry_run: !is_meant,
            restart_core: fields.optional_flag("restart_xray")?.unwrap_or(true),
        })
    }
}

/// What comes of it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum RestoreAnswer<'a> {
    /// Nothing was changed.
    Preview(RestorePreview),
    /// It is done.
    Restored(Restored<'a>),
}

fn would_restore(found: &RestoreBackupResponse) -> Response {
    answer::json(&RestoreAnswer::Preview(RestorePreview {
        ok: true,
        preview: true,
        current: PresentConfiguration {
            users_count: found.current_client_count,
            config_exists: found.has_current,
        },
        backup: SavedConfiguration {
            users_count: found.backup_client_count,
            inbounds_count: found.backup_inbound_count,
        },
        warning: "Nothing was changed; send \"confirm\": true to restore this backup",
    }))
}

#[derive(Serialize, ToSchema)]
struct RestorePreview {
    ok: bool,
    preview: bool,
    current: PresentConfiguration,
    backup: SavedConfiguration,
    warning: &'static str,
}

#[derive(Serialize, ToSchema)]
struct PresentConfiguration {
    users_count: u32,
    config_exists: bool,
}

#[derive(Serialize, ToSchema)]
struct SavedConfiguration {
    users_count: u32,
    inbounds_count: u32,
}

fn has_restored(name: &str, is_restart_wanted: bool, restored: &RestoreBackupResponse) -> Response {
    let (is_well, message) = match (is_restart_wanted, restored.is_restarted) {
        (_, true) => (true, "restarted"),
        (true, false) => (false, "not restarted: the core is not run by Portmeter"),
        (false, false) => (true, "not asked for"),
    };
    answer::json(&RestoreAnswer::Restored(Restored {
        ok: true,
        restored_from: name,
        restored: true,
        backup_name: name,
        pre_restore_backup: restored.saved_as.as_deref(),
        restart_result: RestartResult { ok: is_well, message },
        message: "Backup restored successfully",
        created_keys: restored.created_key_count,
        skipped: &restored.skipped,
    }))
}

#[derive(Serialize, ToSchema)]
struct Restored<'a> {
    ok: bool,
    restored_from: &'a str,
    restored: bool,
    backup_name: &'a str,
    #[schema(required)]
    pre_restore_backup: Option<&'a str>,
    restart_result: RestartResult,
    message: &'static str,
    created_keys: u32,
    skipped: &'a [String],
}

#[derive(Serialize, ToSchema)]
struct RestartResult {
    ok: bool,
    message: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_must_be_meant() {
        let order = |text: &str| Order::of(&Fields::parse(text.as_bytes()).unwrap());
        for (text, is_dry_run) in [
            ("{}", true),
            (r#"{"preview":true}"#, true),
            (r#"{"confirm":false}"#, true),
            (r#"{"preview":true,"confirm":false}"#, true),
            (r#"{"preview":null,"confirm":null}"#, true),
            (r#"{"preview":false}"#, false),
            (r#"{"confirm":true}"#, false),
            (r#"{"preview":true,"confirm":true}"#, false),
        ] {
            assert_eq!(order(text).unwrap().is_dry_run, is_dry_run, "{text}");
        }
        assert!(order("{}").unwrap().restart_core);
        assert!(!order(r#"{"restart_xray":false}"#).unwrap().restart_core);
        for field in ["preview", "confirm", "restart_xray"] {
            assert!(order(&format!("{{\"{field}\":\"false\"}}")).is_err(), "{field}");
        }
    }
}
