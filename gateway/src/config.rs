//! The gateway's part of the configuration: how REST is served, and where the agent is when it is apart.
//!
//! Agent and gateway read the same file. Here are the sections that a gateway apart reads; the agent reads `[http]` too, for
//! the gateway in its own process, and leaves `[gateway]` alone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use portmeter_daemon::configuration::{Invalid, text};
use portmeter_daemon::log::LogConfig;
use portmeter_listener::tls::{ClientFiles, Protocol, ServerFiles, ServerTls, TlsError};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::cli::{FAILED_KEYS_PER_MINUTE, check_panel, is_on_network, public_url};
use crate::gateway::PanelAuth;
use crate::server::Limits;

/// Whether a listener speaks TLS, and with which certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsChoice {
    /// It does not.
    #[default]
    Off,
    /// With one that was made at the first start and is kept in the data folder.
    SelfSigned,
    /// With the operator's own.
    Files,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address of the REST gateway.
    pub listen: SocketAddr,
    /// File that holds the API key; without it and without `PORTMETER_API_KEY` a key is made at the first start.
    pub api_key_file: Option<PathBuf>,
    /// Whether the panel routes need the API key.
    #[serde(deserialize_with = "text::choice")]
    pub panel_auth: PanelAuth,
    /// The address under which clients reach the gateway, for example `https://vpn.example.com`: what subscription
    /// addresses begin with.
    pub public_url: Option<String>,
    /// Allows `panel_auth = "open"` on an address other than loopback.
    #[serde(deserialize_with = "text::parsed")]
    pub allow_open_panel_on_network: bool,
    /// Whether REST is served over TLS, and with which certificate.
    #[serde(deserialize_with = "text::choice")]
    pub tls: TlsChoice,
    /// The certificate in PEM form, with those between it and a root; for `tls = "files"`.
    pub tls_certificate: Option<PathBuf>,
    /// Its private key.
    pub tls_key: Option<PathBuf>,
    /// Most connections at a time; beyond it those that wait longest are closed.
    #[serde(deserialize_with = "text::parsed")]
    pub connections_max: usize,
    /// The largest request head, in bytes.
    #[serde(deserialize_with = "text::parsed")]
    pub head_bytes_max: usize,
    /// How long a request head may take and a kept connection may be quiet, in seconds.
    #[serde(deserialize_with = "text::parsed")]
    pub head_timeout_seconds: u64,
    /// How long an answer may take, in seconds.
    #[serde(deserialize_with = "text::parsed")]
    pub request_timeout_seconds: u64,
    /// How many wrong API keys one address may send a minute over REST, and as many over gRPC, before further ones are
    /// refused unseen; 0: any number. The right key is never refused.
    #[serde(deserialize_with = "text::parsed")]
    pub failed_keys_per_minute: u32,
}

impl Default for HttpConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000),
            api_key_file: None,
            panel_auth: PanelAuth::Key,
            public_url: None,
            allow_open_panel_on_network: false,
            tls: TlsChoice::Off,
            tls_certificate: None,
            tls_key: None,
            connections_max: limits.connections_max,
            head_bytes_max: limits.head_bytes_max,
            head_timeout_seconds: limits.head_timeout.as_secs(),
            request_timeout_seconds: limits.request_timeout.as_secs(),
            failed_keys_per_minute: FAILED_KEYS_PER_MINUTE,
        }
    }
}

impl HttpConfig {
    /// What the listener puts up with.
    pub fn limits(&self) -> Limits {
        let seconds = std::time::Duration::from_secs;
        Limits {
            connections_max: self.connections_max,
            head_bytes_max: self.head_bytes_max,
            head_timeout: seconds(self.head_timeout_seconds),
            request_timeout: seconds(self.request_timeout_seconds),
        }
    }

    /// The listener's side of TLS, of a gateway apart; `None` where it has none. Reads the certificate.
    pub(crate) fn server_tls(&self) -> Result<Option<ServerTls>, TlsError> {
        let files = match (self.tls, &self.tls_certificate, &self.tls_key) {
            (TlsChoice::Files, Some(certificate), Some(key)) => ServerFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: None,
            },
            // What else there could be is refused with the settings.
            _ => return Ok(None),
        };
        ServerTls::load(files, Protocol::Http1).map(Some)
    }

    /// Everything that cannot be meant, certificates aside.
    pub fn check(&self) -> Vec<Invalid> {
        let limits = [
            within("http.connections_max", self.connections_max as u64, 1, 1_000_000),
            within("http.head_bytes_max", self.head_bytes_max as u64, 8192, 1024 * 1024),
            within("http.head_timeout_seconds", self.head_timeout_seconds, 1, 3600),
            within("http.request_timeout_seconds", self.request_timeout_seconds, 1, 3600),
        ];
        let public_url = self.public_url.as_deref().map_or(Ok(()), |url| match public_url(url) {
            Ok(_) => Ok(()),
            Err(_) => Err(Invalid::new(
                "http.public_url",
                format!(
                    "is \"{}\"; use http:// or https:// with a host and without a query, for example \
                     https://vpn.example.com",
                    url.escape_debug()
                ),
            )),
        });
        let panel = check_panel(self.listen, self.panel_auth, self.allow_open_panel_on_network).map_err(|_| {
            Invalid::new(
                "http.panel_auth",
                format!(
                    "is \"open\" and `http.listen` is {}: anybody who reaches it could delete keys; set \
                     `http.allow_open_panel_on_network = true` if that is wanted",
                    self.listen
                ),
            )
        });
        let all = limits.into_iter().chain([public_url, panel]);
        all.filter_map(Result::err).collect()
    }
}

/// Refuses a number that would keep everybody out, or nobody.
pub fn within(setting: &str, value: u64, least: u64, most: u64) -> Result<(), Invalid> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(Invalid::new(
            setting,
            format!("is {value}; it must be between {least} and {most}"),
        )),
    }
}

/// `[gateway]`: where the agent is, and what a gateway apart tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionConfig {
    /// The agent's gRPC address: `HOST:PORT`, `http://HOST:PORT`, `https://HOST:PORT` or `unix:/absolute/path`.
    pub agent: String,
    /// The certificate authority of an agent at `https://`, or its self-signed certificate.
    pub agent_ca: Option<PathBuf>,
    /// The certificate to show to an agent that asks for one.
    pub agent_certificate: Option<PathBuf>,
    /// Its private key.
    pub agent_key: Option<PathBuf>,
    /// Address of a Prometheus endpoint of the gateway's own; without it there is none.
    pub metrics_listen: Option<SocketAddr>,
    /// Allows an address other than loopback although the endpoint needs no key.
    #[serde(deserialize_with = "text::parsed")]
    pub allow_metrics_on_network: bool,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            agent: "127.0.0.1:50051".to_owned(),
            agent_ca: None,
            agent_certificate: None,
            agent_key: None,
            metrics_listen: None,
            allow_metrics_on_network: false,
        }
    }
}

impl ConnectionConfig {
    /// The certificates for an agent at `https://`.
    pub(crate) fn client_files(&self) -> Option<ClientFiles> {
        Some(ClientFiles {
            authority: self.agent_ca.clone()?,
            own: self.agent_certificate.clone().zip(self.agent_key.clone()),
        })
    }

    /// Everything that cannot be meant.
    pub fn check(&self) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        let lacks = |name: &str, other: &str| Invalid::new(name, format!("takes `{other}` beside it; set that too"));
        match (&self.agent_certificate, &self.agent_key) {
            (Some(_), None) => invalid.push(lacks("gateway.agent_certificate", "gateway.agent_key")),
            (None, Some(_)) => invalid.push(lacks("gateway.agent_key", "gateway.agent_certificate")),
            (Some(_), Some(_)) if self.agent_ca.is_none() => {
                invalid.push(lacks("gateway.agent_certificate", "gateway.agent_ca"));
            }
            _ => {}
        }
        if let Some(address) = self.metrics_listen
            && is_on_network(address)
            && !self.allow_metrics_on_network
        {
            invalid.push(Invalid::new(
                "gateway.metrics_listen",
                format!(
                    "is {address}, and the endpoint needs no key; set `gateway.allow_metrics_on_network = true` if \
                     everybody who reaches it may read it"
                ),
            ));
        }
        invalid
    }
}

/// Everything that a gateway apart is configured with. What is the agent's in the same file is passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// How REST is served.
    pub http: HttpConfig,
    /// Where the agent is.
    pub gateway: ConnectionConfig,
    /// The log.
    pub log: LogConfig,
    #[serde(skip_serializing)]
    agent: Others,
    #[serde(skip_serializing)]
    capture: Others,
    #[serde(skip_serializing)]
    grpc: Others,
    #[serde(skip_serializing)]
    metrics: Others,
    #[serde(skip_serializing)]
    ledger: Others,
    #[serde(skip_serializing)]
    events: Others,
    #[serde(skip_serializing)]
    xray: Others,
    #[serde(skip_serializing)]
    panel: Others,
}

/// A section that is no business of the gateway's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "IgnoredAny")]
struct Others;

impl From<IgnoredAny> for Others {
    fn from(_: IgnoredAny) -> Self {
        Self
    }
}

impl GatewaySettings {
    /// Reads the certificate that the settings name.
    pub fn check_files(&self) -> Result<(), TlsError> {
        self.http.server_tls().map(drop)
    }

    /// Everything that cannot be meant.
    pub fn check(&self) -> Vec<Invalid> {
        let http = &self.http;
        let mut invalid = http.check();
        invalid.extend(self.gateway.check());
        match (http.tls, &http.tls_certificate, &http.tls_key) {
            (TlsChoice::SelfSigned, ..) => invalid.push(Invalid::new(
                "http.tls",
                "is \"self-signed\", and a gateway apart has no data folder to keep a certificate in; use \"files\"",
            )),
            (TlsChoice::Files, None, _) => invalid.push(lacking("http.tls_certificate")),
            (TlsChoice::Files, _, None) => invalid.push(lacking("http.tls_key")),
            (TlsChoice::Off, Some(_), _) => invalid.push(idle("http.tls_certificate")),
            (TlsChoice::Off, _, Some(_)) => invalid.push(idle("http.tls_key")),
            _ => {}
        }
        invalid
    }
}

fn lacking(name: &str) -> Invalid {
    Invalid::new("http.tls", format!("is \"files\", so `{name}` must name one"))
}

fn idle(name: &str) -> Invalid {
    Invalid::new(name, "is for nothing unless `http.tls` is \"files\"; set that too")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut GatewaySettings)) -> String {
        let mut settings = GatewaySettings::default();
        assert_eq!(settings.check(), []);
        change(&mut settings);
        let invalid = settings.check();
        invalid.first().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_way_out() {
        assert!(refused(|settings| settings.http.connections_max = 0).contains("between 1 and"));
        assert!(refused(|settings| settings.http.tls = TlsChoice::SelfSigned).contains("use \"files\""));
        assert!(
            refused(|settings| settings.http.tls = TlsChoice::Files).contains("`http.tls_certificate` must name one")
        );
        assert!(refused(|settings| settings.http.tls_key = Some("/k".into())).contains("set that too"));
        assert!(refused(|settings| settings.http.public_url = Some("x".into())).contains("https://vpn.example.com"));
        assert!(
            refused(|settings| settings.gateway.agent_key = Some("/k".into())).contains("gateway.agent_certificate")
        );
        let metrics = |settings: &mut GatewaySettings| {
            settings.gateway.metrics_listen = Some("192.0.2.1:9436".parse().unwrap());
        };
        assert!(refused(metrics).contains("allow_metrics_on_network"));
        let open = |settings: &mut GatewaySettings| {
            settings.http.listen = "0.0.0.0:1".parse().unwrap();
            settings.http.panel_auth = PanelAuth::Open;
        };
        assert!(refused(open).contains("allow_open_panel_on_network"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let settings = GatewaySettings::default();
        let written = serde_json::to_value(&settings).unwrap();
        assert_eq!(serde_json::from_value::<GatewaySettings>(written).unwrap(), settings);
    }
}
