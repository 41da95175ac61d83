//! The configuration: what can be set, where it comes from, what is refused.
//!
//! Flags win over environment over file over defaults. Everything is read and checked here, before anything else happens
//! and again when it is read anew; the rest of the agent takes plain values. Paths, binaries, listeners and service names
//! come from here only, never over an API.

mod live;
mod ports;
mod sources;
mod tls;
mod validate;
mod values;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use portmeter_daemon::configuration::text;
use portmeter_daemon::log::LogConfig;
use portmeter_gateway::Limits;
use portmeter_gateway::config::ConnectionConfig;
use serde::{Deserialize, Serialize};

pub use live::Live;
pub use portmeter_daemon::configuration::{ConfigError, DEFAULT_FILE};
pub use portmeter_gateway::PanelAuth;
pub use portmeter_gateway::config::{HttpConfig, TlsChoice};
pub use ports::{InvalidPortSet, PortSet};
pub use sources::{Flags, load};
pub use tls::TlsConfig;

/// Everything that can be configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The process: where it keeps its data and what it is called.
    pub agent: AgentConfig,
    /// What is counted, and where.
    pub capture: CaptureConfig,
    /// The REST gateway.
    pub http: HttpConfig,
    /// The gRPC server.
    pub grpc: GrpcConfig,
    /// The Prometheus endpoint.
    pub metrics: MetricsConfig,
    /// The history.
    pub ledger: LedgerConfig,
    /// What is kept of what happened.
    pub events: EventsConfig,
    /// The Xray core.
    pub xray: XrayConfig,
    /// The web panel's front end, where there is one.
    pub panel: PanelConfig,
    /// The log.
    pub log: LogConfig,
    /// Where a gateway apart finds its agent; no business of the agent's, but in the same file.
    pub gateway: ConnectionConfig,
}

impl Config {
    /// Where the core's configuration file is.
    pub fn xray_configuration(&self) -> PathBuf {
        let default = || self.agent.data_dir.join("xray/config.json");
        self.xray.config.clone().unwrap_or_else(default)
    }
}

/// `[agent]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// Folder of the ledger, the API key and the Xray configuration.
    pub data_dir: PathBuf,
    /// Names this agent among others on the machine, `[a-z0-9-]{1,32}`; its pins and its socket lie in folders of
    /// this name.
    #[serde(deserialize_with = "text::string")]
    pub instance: String,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/portmeter"),
            instance: "default".to_owned(),
        }
    }
}

/// `[capture]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureConfig {
    /// Interfaces to count on.
    pub interfaces: Interfaces,
    /// Ports to count and to give to keys.
    pub ports: PortSet,
    /// How programs are attached.
    #[serde(deserialize_with = "text::choice")]
    pub hook: HookChoice,
    /// Whether the kernel programs tell of rare events: packets that cannot be read, tables that are full.
    #[serde(deserialize_with = "text::parsed")]
    pub kernel_log: bool,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            interfaces: Interfaces::default(),
            ports: PortSet::default(),
            hook: HookChoice::default(),
            kernel_log: true,
        }
    }
}

/// Interfaces to count on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Interfaces {
    /// Every interface of the namespace that owns an IP address, followed while running.
    #[default]
    Auto,
    /// These, by name.
    Named(Vec<String>),
}

/// How programs are attached to an interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookChoice {
    /// TCX where the kernel has it (6.6 and later), clsact elsewhere.
    #[default]
    Auto,
    /// TCX links.
    Tcx,
    /// Filters on the clsact qdisc.
    Clsact,
    /// XDP in driver mode for rx.
    Xdp,
}

/// `[grpc]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcConfig {
    /// TCP address of the gRPC server; it listens on its unix socket as well.
    pub listen: SocketAddr,
    /// Whether gRPC over TCP is served over TLS, and with which certificate.
    #[serde(deserialize_with = "text::choice")]
    pub tls: TlsChoice,
    /// The certificate in PEM form, with those between it and a root; for `tls = "files"`.
    pub tls_certificate: Option<PathBuf>,
    /// Its private key.
    pub tls_key: Option<PathBuf>,
    /// The authority of which every client must show a certificate, beside the API key.
    pub client_ca: Option<PathBuf>,
    /// Most connections over TCP at a time; beyond it those without the API key are closed.
    #[serde(deserialize_with = "text::parsed")]
    pub connections_max: usize,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            listen: loopback(50051),
            tls: TlsChoice::Off,
            tls_certificate: None,
            tls_key: None,
            client_ca: None,
            connections_max: Limits::default().connections_max,
        }
    }
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address of the Prometheus endpoint.
    pub listen: SocketAddr,
    /// Allows an address other than loopback although the endpoint needs no key.
    #[serde(deserialize_with = "text::parsed")]
    pub allow_on_network: bool,
    /// Whether keys are told by their names too; otherwise by their ids alone.
    #[serde(deserialize_with = "text::parsed")]
    pub key_names: bool,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            listen: loopback(9435),
            allow_on_network: false,
            key_names: false,
        }
    }
}

/// `[ledger]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerConfig {
    /// How often what was counted is committed, in seconds, 1 to 60. A power cut can lose this much, nothing else
    /// loses anything.
    #[serde(deserialize_with = "text::parsed")]
    pub commit_interval_seconds: u64,
    /// The zone of days and months.
    #[serde(serialize_with = "text::shown", deserialize_with = "text::parsed")]
    pub time_zone: chrono_tz::Tz,
    /// How long minutes are kept, in hours.
    #[serde(deserialize_with = "text::parsed")]
    pub minute_retention_hours: u32,
    /// How long hours are kept, in days.
    #[serde(deserialize_with = "text::parsed")]
    pub hour_retention_days: u32,
    /// How long days are kept, in days. Months and totals are kept for ever.
    #[serde(deserialize_with = "text::parsed")]
    pub day_retention_days: u32,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            commit_interval_seconds: 5,
            time_zone: chrono_tz::Tz::UTC,
            minute_retention_hours: 48,
            hour_retention_days: 60,
            day_retention_days: 730,
        }
    }
}

/// `[events]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// How long events are kept, in days.
    #[serde(deserialize_with = "text::parsed")]
    pub retention_days: u32,
    /// Most events that are kept, 1,000 to 10,000,000; the oldest go first. Until they do there may be 1,000 more.
    #[serde(deserialize_with = "text::parsed")]
    pub count_max: u64,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            retention_days: 90,
            count_max: 100_000,
        }
    }
}

/// `[xray]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct XrayConfig {
    /// Who runs the core; unset: supervised when its binary is found, otherwise none.
    pub mode: Option<XrayMode>,
    /// The core's binary, a path or a name looked up in PATH.
    pub binary: PathBuf,
    /// The core's configuration file; unset: `<data-dir>/xray/config.json`.
    pub config: Option<PathBuf>,
    /// The public name or address in links; unset: the source address of the default route.
    pub server_host: Option<String>,
    /// The TLS 1.3 server that REALITY borrows its handshake from, `host:port`.
    pub dest: String,
    /// Server names that REALITY accepts.
    #[serde(deserialize_with = "text::list")]
    pub server_names: Vec<String>,
    /// The VLESS flow, in link and inbound alike: `xtls-rprx-vision` or empty.
    pub flow: String,
    /// How far a client's clock may be off, in seconds; 0 switches the check off.
    #[serde(deserialize_with = "text::parsed")]
    pub max_time_diff_seconds: u64,
    /// The address that keys' inbounds listen on; unset: all addresses.
    pub listen: Option<IpAddr>,
    /// Whether all keys share one REALITY identity or each has its own.
    #[serde(deserialize_with = "text::choice")]
    pub reality_identity: RealityIdentity,
    /// Whether a supervised core is stopped with the agent; otherwise it goes on and the next start adopts it.
    #[serde(deserialize_with = "text::parsed")]
    pub stop_with_agent: bool,
    /// Whether the domains that keys connect to are recorded, from the core's access log: what people visit.
    #[serde(deserialize_with = "text::parsed")]
    pub access_log: bool,
    /// How many days of that are kept, today included.
    #[serde(deserialize_with = "text::parsed")]
    pub access_log_retention_days: u32,
    /// Address of the core's own API.
    pub api_listen: SocketAddr,
    /// The systemd unit of the core in mode `systemd`.
    pub service: String,
}

impl Default for XrayConfig {
    fn default() -> Self {
        Self {
            mode: None,
            binary: PathBuf::from("xray"),
            config: None,
            server_host: None,
            dest: "www.microsoft.com:443".to_owned(),
            server_names: vec!["www.microsoft.com".to_owned()],
            flow: "xtls-rprx-vision".to_owned(),
            max_time_diff_seconds: 600,
            listen: None,
            reality_identity: RealityIdentity::Server,
            stop_with_agent: false,
            access_log: false,
            access_log_retention_days: 30,
            api_listen: loopback(9436),
            service: "xray.service".to_owned(),
        }
    }
}

/// `[panel]`: a front end that somebody else made and runs. Its state is shown, and it can be restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PanelConfig {
    /// Where it answers, for example `http://127.0.0.1:3000`.
    pub url: Option<String>,
    /// Its systemd unit.
    pub service: Option<String>,
}

/// Whose a REALITY identity is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RealityIdentity {
    /// The server has one for all keys.
    #[default]
    Server,
    /// Each key gets its own when it is made.
    Key,
}

/// Who runs the Xray core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XrayMode {
    /// The agent starts or adopts it.
    Supervised,
    /// systemd does.
    Systemd,
    /// Nobody: files only.
    None,
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
