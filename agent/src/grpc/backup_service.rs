//! `portmeter.v1.BackupService`.

use portmeter_proto::v1::backup_service_server::BackupService as Rpc;
use portmeter_proto::v1::preview_backup_response::{Client, Inbound};
use portmeter_proto::v1::{
    Backup, DeleteBackupRequest, DeleteBackupResponse, ListBackupsRequest, ListBackupsResponse, PreviewBackupRequest,
    PreviewBackupResponse, RestoreBackupRequest, RestoreBackupResponse,
};
use tonic::{Request, Response, Status};

use super::changes::Changes;
use super::convert;
use crate::services::BackupService;

/// The adapter around the service of saved configurations.
pub struct BackupAdapter {
    backups: BackupService,
    changes: Changes,
}

impl BackupAdapter {
    pub(super) fn new(backups: BackupService, changes: Changes) -> Self {
        Self { backups, changes }
    }
}

#[tonic::async_trait]
impl Rpc for BackupAdapter {
    async fn list_backups(&self, _: Request<ListBackupsRequest>) -> Result<Response<ListBackupsResponse>, Status> {
        let backups = self.backups.list().await?.into_iter().map(|backup| Backup {
            name: backup.name,
            size_bytes: backup.size_bytes,
            created_at: Some(convert::timestamp(backup.created_at)),
        });
        Ok(Response::new(ListBackupsResponse {
            backups: backups.collect(),
        }))
    }

    async fn preview_backup(
        &self,
        request: Request<PreviewBackupRequest>,
    ) -> Result<Response<PreviewBackupResponse>, Status> {
        let summary = self.backups.preview(&request.get_ref().name).await?;
        let clients = summary.clients.into_iter().map(|client| Client {
            uuid: client.id,
            email: client.email,
            flow: client.flow,
        });
        let inbounds = summary.inbounds.into_iter().map(|inbound| Inbound {
            protocol: inbound.protocol,
            port: inbound.port.map(u32::from),
            tag: inbound.tag,
            listen: inbound.listen,
        });
        Ok(Response::new(PreviewBackupResponse {
            clients: clients.collect(),
            inbounds: inbounds.collect(),
        }))
    }

    async fn restore_backup(
        &self,
        request: Request<RestoreBackupRequest>,
    ) -> Result<Response<RestoreBackupResponse>, Status> {
        let request = request.into_inner();
        let restoration = if request.dry_run {
            self.backups.look(&request.name).await?
        } else {
            let backups = self.backups.clone();
            let restore = async move { backups.restore(&request.name, request.restart_core).await };
            self.changes.run(restore).await?
        };
        Ok(Response::new(RestoreBackupResponse {
            current_client_count: convert::count(restoration.current_client_count.unwrap_or_default()),
            has_current: restoration.current_client_count.is_some(),
            backup_client_count: convert::count(restoration.backup_client_count),
            backup_inbound_count: convert::count(restoration.backup_inbound_count),
            saved_as: restoration.saved_as,
            created_key_count: convert::count(restoration.created_key_count),
            skipped: restoration.skipped,
            is_restarted: restoration.is_restarted,
        }))
    }

    async fn delete_backup(
        &self,
        request: Request<DeleteBackupRequest>,
    ) -> Result<Response<DeleteBackupResponse>, Status> {
        let (backups, name) = (self.backups.clone(), request.into_inner().name);
        self.changes.run(async move { backups.delete(&name).await }).await?;
        Ok(Response::new(DeleteBackupResponse {}))
    }
}
