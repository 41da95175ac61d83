//! What every handler is given: the agent's services and the gateway's own settings.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use portmeter_listener::FailedKeys;
use portmeter_proto::api_key::ApiKey;
use portmeter_proto::v1::backup_service_client::BackupServiceClient;
use portmeter_proto::v1::check_service_client::CheckServiceClient;
use portmeter_proto::v1::collector_service_client::CollectorServiceClient;
use portmeter_proto::v1::domain_service_client::DomainServiceClient;
use portmeter_proto::v1::event_service_client::EventServiceClient;
use portmeter_proto::v1::history_service_client::HistoryServiceClient;
use portmeter_proto::v1::key_service_client::KeyServiceClient;
use portmeter_proto::v1::port_service_client::PortServiceClient;
use portmeter_proto::v1::settings_service_client::SettingsServiceClient;
use portmeter_proto::v1::system_service_client::SystemServiceClient;
use portmeter_proto::v1::traffic_service_client::TrafficServiceClient;
use portmeter_proto::v1::xray_service_client::XrayServiceClient;

use crate::backend::Backend;
use crate::backend::lists::Lists;
use crate::cli::public_url;
use crate::config::HttpConfig;
use crate::key_list::KeyList;
use crate::requests::RequestFigures;
use crate::shared_answer::SharedAnswer;
use crate::transport::Transport;

/// Whether the panel's routes ask for the API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PanelAuth {
    /// They do, like all others.
    #[default]
    Key,
    /// They answer anybody who reaches the listener, as the panel's old server did.
    Open,
}

/// The gateway's settings.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// The key that callers send as `X-API-Key`.
    pub api_key: ApiKey,
    /// Whether the panel's routes ask for it too.
    pub panel_auth: PanelAuth,
    /// Where the router is served; the panel's list of watched ports begins with it.
    pub listen: SocketAddr,
    /// What subscription links begin with, for example `https://vpn.example.com`; see
    /// [`cli::public_url`](crate::cli::public_url). Without it there are paths alone.
    pub public_url: Option<String>,
    /// How many wrong API keys one address may send a minute before further ones are refused unseen; 0: any number.
    pub failed_keys_per_minute: u32,
}

impl GatewayConfig {
    /// As `http` says, which has been checked.
    pub fn of(http: &HttpConfig, api_key: ApiKey, listen: SocketAddr) -> Self {
        Self {
            api_key,
            panel_auth: http.panel_auth,
            listen,
            public_url: http.public_url.as_deref().and_then(|url| public_url(url).ok()),
            failed_keys_per_minute: http.failed_keys_per_minute,
        }
    }
}

/// The settings as they are now. A clone is the same ones; whoever has one can change what may change while the gateway
/// runs: everything but the API key and the address.
#[derive(Debug, Clone)]
pub struct LiveConfig(Arc<ArcSwap<GatewayConfig>>);

impl From<GatewayConfig> for LiveConfig {
    fn from(config: GatewayConfig) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }
}

impl LiveConfig {
    /// Takes over what `http` says of what may change.
    pub fn follow(&self, http: &HttpConfig) {
        let now = self.0.load();
        let next = GatewayConfig::of(http, now.api_key.clone(), now.listen);
        self.0.store(Arc::new(next));
    }
}

/// The state of the router. A clone is one more pointer to the same.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Inner>);

struct Inner {
    backend: Backend,
    api_key: ApiKey,
    listen: SocketAddr,
    config: LiveConfig,
    key_list: KeyList,
    failed_keys: FailedKeys,
    shared: Shared,
    requests: RequestFigures,
}

/// The lists that are the same for everybody and take long to make.
#[derive(Default)]
pub(crate) struct Shared {
    /// The counters by port.
    pub(crate) simple: SharedAnswer,
    /// The counters by key.
    pub(crate) exact: SharedAnswer,
    /// The keys' totals.
    pub(crate) totals: SharedAnswer,
    /// The present month.
    pub(crate) month: SharedAnswer,
}

impl Gateway {
    pub(crate) fn new(backend: Backend, config: LiveConfig, requests: RequestFigures) -> Self {
        let now = config.0.load();
        Self(Arc::new(Inner {
            backend,
            api_key: now.api_key.clone(),
            listen: now.listen,
            failed_keys: FailedKeys::new(now.failed_keys_per_minute),
            config,
            key_list: KeyList::default(),
            shared: Shared::default(),
            requests,
        }))
    }

    pub(crate) fn api_key(&self) -> &ApiKey {
        &self.0.api_key
    }

    pub(crate) fn failed_keys(&self) -> &FailedKeys {
        let failed_keys = &self.0.failed_keys;
        failed_keys.set_per_minute(self.0.config.0.load().failed_keys_per_minute);
        failed_keys
    }

    pub(crate) fn panel_auth(&self) -> PanelAuth {
        self.0.config.0.load().panel_auth
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        self.0.listen
    }

    pub(crate) fn public_url(&self) -> Option<String> {
        self.0.config.0.load().public_url.clone()
    }

    pub(crate) fn key_list(&self) -> &KeyList {
        &self.0.key_list
    }

    pub(crate) fn requests(&self) -> &RequestFigures {
        &self.0.requests
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    pub(crate) fn backups(&self) -> BackupServiceClient<Transport> {
        self.0.backend.backups.clone()
    }

    pub(crate) fn checks(&self) -> CheckServiceClient<Transport> {
        self.0.backend.checks.clone()
    }

    pub(crate) fn collector(&self) -> CollectorServiceClient<Transport> {
        self.0.backend.collector.clone()
    }

    pub(crate) fn domains(&self) -> DomainServiceClient<Transport> {
        self.0.backend.domains.clone()
    }

    pub(crate) fn events(&self) -> EventServiceClient<Transport> {
        self.0.backend.events.clone()
    }

    pub(crate) fn history(&self) -> HistoryServiceClient<Transport> {
        self.0.backend.history.clone()
    }

    /// The lists that have a row for each key.
    pub(crate) fn lists(&self) -> &dyn Lists {
        &*self.0.backend.lists
    }

    pub(crate) fn keys(&self) -> KeyServiceClient<Transport> {
        self.0.backend.keys.clone()
    }

    pub(crate) fn ports(&self) -> PortServiceClient<Transport> {
        self.0.backend.ports.clone()
    }

    pub(crate) fn settings(&self) -> SettingsServiceClient<Transport> {
        self.0.backend.settings.clone()
    }

    pub(crate) fn system(&self) -> SystemServiceClient<Transport> {
        self.0.backend.system.clone()
    }

    pub(crate) fn traffic(&self) -> TrafficServiceClient<Transport> {
        self.0.backend.traffic.clone()
    }

    pub(crate) fn xray(&self) -> XrayServiceClient<Transport> {
        self.0.backend.xray.clone()
    }
}
