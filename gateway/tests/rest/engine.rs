//! The stand-in's core: links and subscriptions of keys, a configuration, and backups of it.
//!
//! It keeps the promises of the .proto files about errors, order and absent fields. The configuration is as the agent
//! writes it, with an inbound of somebody else's; its ports are ones that nothing listens on, unless a test says which.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::backup_service_server::BackupService;
use portmeter_proto::v1::preview_backup_response::{Client, Inbound};
use portmeter_proto::v1::xray_service_server::XrayService;
use portmeter_proto::v1::*;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::{Agent, NOW, State};

/// The public half of the server's identity, and its short id.
pub(crate) const PUBLIC_KEY: &str = "Z84J2IelR9ch3k8VtlVhhs5ycBUlXA7wHBWcBrjqnAw";
pub(crate) const SHORT_ID: &str = "6ba85179e30d4fc2";

/// What there is beside the keys.
pub(super) struct Engine {
    /// How often each key was given another token, by its id.
    renewed: HashMap<String, u32>,
    /// The ports of the inbounds: VLESS, but for the last, which is the core's own API.
    pub(super) ports: Vec<u32>,
    /// Whether there is no configuration file.
    pub(super) is_unconfigured: bool,
    /// Whether nobody runs the core.
    pub(super) is_unmanaged: bool,
    /// Client ids in the configuration that are no key's.
    pub(super) strangers: Vec<String>,
    backups: Vec<Backup>,
    pub(super) n_restarts: usize,
}

impl Default for Engine {
    fn default() -> Self {
        let names = ["115900__create", "115800__sync", "115700__restore-2"];
        let backup = |(label, age): (&str, i64)| Backup {
            name: format!("20250805_{label}__config.json"),
            size_bytes: 2_048,
            created_at: Some(prost_types::Timestamp {
                seconds: NOW.seconds - 60 * age,
                nanos: 0,
            }),
        };
        Self {
            renewed: HashMap::new(),
            ports: vec![1, 9],
            is_unconfigured: false,
            is_unmanaged: false,
            strangers: Vec::new(),
            backups: names.into_iter().zip(1..).map(backup).collect(),
            n_restarts: 0,
        }
    }
}

impl State {
    /// The key's token: void from when it is disabled or regenerated, and then another one.
    pub(super) fn token(&self, key: &Key) -> Option<String> {
        let n_renewed = self.engine.renewed.get(&key.id).copied().unwrap_or(0);
        key.is_active.then(|| format!("{}{n_renewed:024x}", &key.id[..8]))
    }

    pub(super) fn link(&self, key_id: &str) -> Result<GetKeyLinkResponse, Status> {
        let key = &self.keys[self.position(key_id)?];
        Ok(GetKeyLinkResponse {
            key: Some(key.clone()),
            vless_url: vless_url(key)?,
            short_id: SHORT_ID.to_owned(),
            subscription_token: self.token(key),
        })
    }

    pub(super) fn qr_code(&self, request: &GetKeyQrCodeRequest) -> Result<GetKeyQrCodeResponse, Status> {
        let key = &self.keys[self.position(&request.key_id)?];
        let url = vless_url(key)?;
        let (content_type, image) = match request.format() {
            QrCodeFormat::Unspecified | QrCodeFormat::Png => {
                ("image/png", [b"\x89PNG\r\n\x1a\n\xff", url.as_bytes()].concat())
            }
            QrCodeFormat::Svg => ("image/svg+xml", format!("<svg><!-- {url} --></svg>").into_bytes()),
            QrCodeFormat::Text => ("text/plain; charset=utf-8", "█▀█\n".as_bytes().to_vec()),
        };
        Ok(GetKeyQrCodeResponse {
            content_type: content_type.to_owned(),
            image,
        })
    }

    pub(super) fn subscription(&self, request: &GetSubscriptionRequest) -> Result<GetSubscriptionResponse, Status> {
        let key = self
            .keys
            .iter()
            .find(|key| self.token(key).as_ref() == Some(&request.token));
        let key = key.ok_or_else(|| Reason::SubscriptionNotFound.status("nobody has this token"))?;
        let url = vless_url(key)?;
        let (content_type, body) = match request.format() {
            SubscriptionFormat::Json => (
                "application/json",
                json!([{"remarks": key.name, "outbounds": []}]).to_string(),
            ),
            _ => ("text/plain; charset=utf-8", BASE64_STANDARD.encode(format!("{url}\n"))),
        };
        Ok(GetSubscriptionResponse {
            content_type: content_type.to_owned(),
            body,
            user_info: "upload=10002000; download=70014; total=0; expire=0".to_owned(),
            title: key.name.clone(),
        })
    }

    /// Gives a key another token.
    pub(super) fn renew_token(&mut self, position: usize) -> u32 {
        let id = self.keys[position].id.clone();
        let n_renewed = self.engine.renewed.entry(id).or_default();
        *n_renewed += 1;
        *n_renewed
    }

    pub(super) fn regenerate(&mut self, key_id: &str) -> Result<Key, Status> {
        let position = self.position(key_id)?;
        let n_renewed = self.renew_token(position);
        let key = &mut self.keys[position];
        key.uuid = format!("{}-0000-4000-8001-{n_renewed:012x}", &key.id[..8]);
        Ok(key.clone())
    }

    fn synchronization(&self) -> CheckSynchronizationResponse {
        let keys = self.keys.iter().filter(|key| key.is_active);
        let key_uuids: Vec<String> = keys.clone().map(|key| key.uuid.clone()).collect();
        let applied = keys.filter(|key| key.port.is_some()).map(|key| key.uuid.clone());
        let config_uuids: Vec<String> = applied.chain(self.engine.strangers.clone()).collect();
        let without = |all: &[String], others: &[String]| -> Vec<String> {
            all.iter().filter(|uuid| !others.contains(uuid)).cloned().collect()
        };
        let missing_in_config = without(&key_uuids, &config_uuids);
        let extra_in_config = without(&config_uuids, &key_uuids);
        CheckSynchronizationResponse {
            synchronized: missing_in_config.is_empty() && extra_in_config.is_empty(),
            key_uuids,
            config_uuids,
            missing_in_config,
            extra_in_config,
        }
    }

    fn configuration(&self) -> Result<GetConfigurationResponse, Status> {
        if self.engine.is_unconfigured {
            return Err(Reason::ConfigurationUnreadable.status("there is none yet"));
        }
        let ports = &self.engine.ports;
        let inbounds = ports.iter().enumerate().map(|(index, port)| {
            if index + 1 == ports.len() {
                return json!({"tag": "api", "port": port, "listen": "127.0.0.1", "protocol": "dokodemo-door",
                    "settings": {"address": "127.0.0.1"}});
            }
            json!({"tag": format!("inbound-{index}"), "port": port, "protocol": "vless",
                "settings": {"clients": [], "decryption": "none"},
                "streamSettings": {"security": "reality", "realitySettings": {"privateKey": "***"}}})
        });
        let inbounds: Vec<_> = inbounds.collect();
        let json =
            json!({"log": {"loglevel": "warning"}, "inbounds": inbounds, "outbounds": [{"protocol": "freedom"}]});
        let n_inbounds = ports.len() as u32;
        Ok(GetConfigurationResponse {
            json: json.to_string(),
            inbound_count: n_inbounds,
            vless_inbound_count: n_inbounds - 1,
            api_inbound_count: 1,
            is_valid: true,
            ports: ports.clone(),
            // All but the core's own API.
            listening_ports: ports[..n_inbounds as usize - 1].to_vec(),
        })
    }

    /// A backup that is there, by its name.
    fn backup(&self, name: &str) -> Result<usize, Status> {
        if !name.ends_with("__config.json") {
            return Err(Reason::InvalidBackupName.status(format!("{name} is no backup's name")));
        }
        let position = self.engine.backups.iter().position(|backup| backup.name == name);
        position.ok_or_else(|| Reason::BackupNotFound.status(format!("there is no {name}")))
    }
}

fn vless_url(key: &Key) -> Result<String, Status> {
    let port = key
        .port
        .ok_or_else(|| Reason::KeyHasNoPort.status("no port, no link"))?;
    let (uuid, name) = (&key.uuid, key.name.replace(' ', "%20"));
    Ok(format!(
        "vless://{uuid}@vpn.example.com:{port}?security=reality&sni=www.microsoft.com&fp=chrome&pbk={PUBLIC_KEY}\
         &sid={SHORT_ID}&type=tcp&flow=xtls-rprx-vision#{name}"
    ))
}

#[tonic::async_trait]
impl XrayService for Agent {
    async fn get_xray_state(&self, _: Request<GetXrayStateRequest>) -> Result<Response<GetXrayStateResponse>, Status> {
        drop(self.call()?);
        Ok(Response::new(GetXrayStateResponse {
            flow: "xtls-rprx-vision".into(),
            ..GetXrayStateResponse::default()
        }))
    }

    async fn check_synchronization(
        &self,
        _: Request<CheckSynchronizationRequest>,
    ) -> Result<Response<CheckSynchronizationResponse>, Status> {
        Ok(Response::new(self.call()?.synchronization()))
    }

    async fn synchronize(&self, _: Request<SynchronizeRequest>) -> Result<Response<SynchronizeResponse>, Status> {
        let mut state = self.call()?;
        let applied_count = state.engine.strangers.drain(..).count() as u32;
        Ok(Response::new(SynchronizeResponse {
            applied_count,
            is_file_written: applied_count > 0,
        }))
    }

    async fn get_configuration(
        &self,
        _: Request<GetConfigurationRequest>,
    ) -> Result<Response<GetConfigurationResponse>, Status> {
        Ok(Response::new(self.call()?.configuration()?))
    }

    async fn verify_reality(
        &self,
        _: Request<VerifyRealityRequest>,
    ) -> Result<Response<VerifyRealityResponse>, Status> {
        drop(self.call()?);
        let repairs = vec!["maxTimeDiff of inbound-0 was 600 ms.".to_owned()];
        Ok(Response::new(VerifyRealityResponse { repairs }))
    }

    async fn get_reality(&self, _: Request<GetRealityRequest>) -> Result<Response<GetRealityResponse>, Status> {
        let state = self.call()?;
        let key = state.keys.first();
        let key = key.ok_or_else(|| Reason::RealityNotConfigured.status("VLESS inbound not found"))?;
        Ok(Response::new(GetRealityResponse {
            port: key.port,
            public_key: PUBLIC_KEY.to_owned(),
            server_name: "www.microsoft.com".to_owned(),
            short_id: SHORT_ID.to_owned(),
            fingerprint: "chrome".to_owned(),
            flow: "xtls-rprx-vision".to_owned(),
            server_host: "vpn.example.com".to_owned(),
        }))
    }

    async fn rotate_reality(
        &self,
        _: Request<RotateRealityRequest>,
    ) -> Result<Response<RotateRealityResponse>, Status> {
        Err(Status::unimplemented("no route asks for this"))
    }

    async fn restart_core(&self, _: Request<RestartCoreRequest>) -> Result<Response<RestartCoreResponse>, Status> {
        let mut state = self.call()?;
        if state.engine.is_unmanaged {
            return Err(Reason::CoreNotManaged.status("xray.mode is none"));
        }
        state.engine.n_restarts += 1;
        Ok(Response::new(RestartCoreResponse {}))
    }
}

#[tonic::async_trait]
impl BackupService for Agent {
    async fn list_backups(&self, _: Request<ListBackupsRequest>) -> Result<Response<ListBackupsResponse>, Status> {
        let backups = self.call()?.engine.backups.clone();
        Ok(Response::new(ListBackupsResponse { backups }))
    }

    /// Every backup holds one client on port 10001, a socket without a port, and the core's API.
    async fn preview_backup(
        &self,
        request: Request<PreviewBackupRequest>,
    ) -> Result<Response<PreviewBackupResponse>, Status> {
        self.call()?.backup(&request.get_ref().name)?;
        let inbound = |protocol: &str, port, tag: &str, listen: &str| Inbound {
            protocol: protocol.to_owned(),
            port,
            tag: tag.to_owned(),
            listen: listen.to_owned(),
        };
        Ok(Response::new(PreviewBackupResponse {
            clients: vec![Client {
                uuid: "00000000-0000-4000-8000-00000000000c".to_owned(),
                email: "old".to_owned(),
                flow: "xtls-rprx-vision".to_owned(),
            }],
            inbounds: vec![
                inbound("vless", Some(10_001), "inbound-old", ""),
                inbound("vless", None, "", "/run/xray.sock"),
                inbound("dokodemo-door", Some(9_436), "api", "127.0.0.1"),
            ],
        }))
    }

    async fn restore_backup(
        &self,
        request: Request<RestoreBackupRequest>,
    ) -> Result<Response<RestoreBackupResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.call()?;
        state.backup(&request.name)?;
        let mut answer = RestoreBackupResponse {
            current_client_count: state.keys.len() as u32,
            has_current: !state.engine.is_unconfigured,
            backup_client_count: 1,
            backup_inbound_count: 3,
            ..RestoreBackupResponse::default()
        };
        if !request.dry_run {
            answer.saved_as = answer
                .has_current
                .then(|| "20250805_120000__restore__config.json".to_owned());
            answer.created_key_count = 1;
            answer.skipped = vec!["The client `x` has no uuid.".to_owned()];
            answer.is_restarted = request.restart_core && !state.engine.is_unmanaged;
            state.engine.n_restarts += usize::from(answer.is_restarted);
        }
        Ok(Response::new(answer))
    }

    async fn delete_backup(
        &self,
        request: Request<DeleteBackupRequest>,
    ) -> Result<Response<DeleteBackupResponse>, Status> {
        let mut state = self.call()?;
        let position = state.backup(&request.get_ref().name)?;
        state.engine.backups.remove(position);
        Ok(Response::new(DeleteBackupResponse {}))
    }
}
