//! `portmeter.v1.XrayService`.

use portmeter_proto::v1::xray_service_server::XrayService as Rpc;
use portmeter_proto::v1::{
    CheckSynchronizationRequest, CheckSynchronizationResponse, GetConfigurationRequest, GetConfigurationResponse,
    GetRealityRequest, GetRealityResponse, GetXrayStateRequest, GetXrayStateResponse, RestartCoreRequest,
    RestartCoreResponse, RotateRealityRequest, RotateRealityResponse, SynchronizeRequest, SynchronizeResponse,
    VerifyRealityRequest, VerifyRealityResponse,
};
use tonic::{Request, Response, Status};

use super::changes::Changes;
use super::convert;
use crate::services::{LinkService, Rotation, XrayService};
use crate::xray::core::{CoreMode, CoreState};

/// The adapter around the service of the core.
pub struct XrayAdapter {
    xray: XrayService,
    links: LinkService,
    changes: Changes,
}

impl XrayAdapter {
    pub(super) fn new(xray: XrayService, links: LinkService, changes: Changes) -> Self {
        Self { xray, links, changes }
    }
}

#[tonic::async_trait]
impl Rpc for XrayAdapter {
    async fn get_xray_state(&self, _: Request<GetXrayStateRequest>) -> Result<Response<GetXrayStateResponse>, Status> {
        let (facts, drift_count) = self.xray.facts();
        let core = facts.core;
        let errors = [core.last_error, facts.file_error, facts.apply_error];
        Ok(Response::new(GetXrayStateResponse {
            mode: mode(core.mode).to_owned(),
            state: state(core.mode, core.state).to_owned(),
            version: core.version.unwrap_or_default(),
            process_id: core.process_id,
            started_at: core.started_at.map(convert::timestamp),
            restart_count: core.restart_count,
            api_address: self.xray.settings().core.api_listen.to_string(),
            last_error: errors.into_iter().flatten().next().unwrap_or_default(),
            drift_count: convert::count(drift_count),
            flow: self.xray.settings().core.flow,
        }))
    }

    async fn check_synchronization(
        &self,
        _: Request<CheckSynchronizationRequest>,
    ) -> Result<Response<CheckSynchronizationResponse>, Status> {
        let found = self.xray.compare().await;
        Ok(Response::new(CheckSynchronizationResponse {
            synchronized: found.is_synchronized(),
            key_uuids: found.keys,
            config_uuids: found.clients,
            missing_in_config: found.missing,
            extra_in_config: found.extra,
        }))
    }

    async fn synchronize(&self, _: Request<SynchronizeRequest>) -> Result<Response<SynchronizeResponse>, Status> {
        let xray = self.xray.clone();
        let done = self.changes.run(async move { xray.synchronize().await }).await?;
        Ok(Response::new(SynchronizeResponse {
            applied_count: convert::count(done.applied_count),
            is_file_written: done.is_file_written,
        }))
    }

    async fn get_configuration(
        &self,
        _: Request<GetConfigurationRequest>,
    ) -> Result<Response<GetConfigurationResponse>, Status> {
        let document = self.xray.document().await?;
        let listening = self.xray.listening_ports().await?;
        let ports = document.ports();
        Ok(Response::new(GetConfigurationResponse {
            json: document.masked().to_text(),
            inbound_count: convert::count(document.inbound_count()),
            vless_inbound_count: convert::count(document.vless_inbound_count()),
            api_inbound_count: convert::count(document.api_inbound_count()),
            is_valid: document.is_valid(),
            listening_ports: ports
                .iter()
                .filter(|port| listening.contains(port))
                .copied()
                .map(u32::from)
                .collect(),
            ports: ports.into_iter().map(u32::from).collect(),
        }))
    }

    async fn verify_reality(
        &self,
        _: Request<VerifyRealityRequest>,
    ) -> Result<Response<VerifyRealityResponse>, Status> {
        let xray = self.xray.clone();
        let repairs = self.changes.run(async move { xray.verify_reality().await }).await?;
        Ok(Response::new(VerifyRealityResponse { repairs }))
    }

    async fn get_reality(&self, _: Request<GetRealityRequest>) -> Result<Response<GetRealityResponse>, Status> {
        let first = self.xray.first_reality().await?;
        Ok(Response::new(GetRealityResponse {
            port: first.port.map(u32::from),
            public_key: first.public_key.to_string(),
            server_name: first.server_name,
            short_id: first.short_id.to_string(),
            fingerprint: self.links.fingerprint(),
            flow: first.flow,
            server_host: self.links.host().await?.to_string(),
        }))
    }

    async fn rotate_reality(
        &self,
        request: Request<RotateRealityRequest>,
    ) -> Result<Response<RotateRealityResponse>, Status> {
        let request = request.into_inner();
        let rotation = Rotation {
            key_id: request.key_id,
            private_key: request.private_key,
            grace_seconds: request.grace_seconds,
        };
        let xray = self.xray.clone();
        let rotated = self.changes.run(async move { xray.rotate(&rotation).await }).await?;
        Ok(Response::new(RotateRealityResponse {
            public_key: rotated.public_key.to_string(),
            short_id: rotated.short_id.to_string(),
            old_accepted_until: rotated.old_accepted_until.map(convert::timestamp),
        }))
    }

    async fn restart_core(&self, _: Request<RestartCoreRequest>) -> Result<Response<RestartCoreResponse>, Status> {
        let xray = self.xray.clone();
        self.changes.run(async move { xray.restart().await }).await?;
        Ok(Response::new(RestartCoreResponse {}))
    }
}

fn mode(mode: CoreMode) -> &'static str {
    match mode {
        CoreMode::Supervised => "supervised",
        CoreMode::Systemd => "systemd",
        CoreMode::None => "none",
    }
}

fn state(mode: CoreMode, state: CoreState) -> &'static str {
    match (mode, state) {
        (CoreMode::None, _) => "unmanaged",
        (_, CoreState::Running) => "running",
        (_, CoreState::Starting) => "starting",
        (_, CoreState::Down) => "stopped",
        (_, CoreState::Unknown) => "unknown",
    }
}
