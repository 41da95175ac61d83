//! The arguments about TLS and limits.

use std::path::PathBuf;

use crate::config::{ConnectionConfig, HttpConfig, TlsChoice};

/// How many wrong API keys one address may send a minute, unless something else is said. Far more than a
/// misconfigured program needs to be noticed, far too few to guess a key of sixteen characters.
pub const FAILED_KEYS_PER_MINUTE: u32 = 1_000;

/// How the agent is known, and the gateway to it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AgentTls {
    /// The certificate authority of an agent at https://, or its self-signed certificate
    #[arg(long, value_name = "FILE")]
    pub agent_ca: Option<PathBuf>,

    /// The certificate to show to an agent that asks for one (grpc.client_ca)
    #[arg(long, value_name = "FILE")]
    pub agent_certificate: Option<PathBuf>,

    /// The private key of --agent-certificate
    #[arg(long, value_name = "FILE")]
    pub agent_key: Option<PathBuf>,
}

impl AgentTls {
    /// Puts what is given over what is configured.
    pub(super) fn apply(&self, connection: &mut ConnectionConfig) {
        set(&mut connection.agent_ca, &self.agent_ca);
        set(&mut connection.agent_certificate, &self.agent_certificate);
        set(&mut connection.agent_key, &self.agent_key);
    }
}

/// What the listener speaks and puts up with.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Listening {
    /// Serve REST over TLS with this certificate, in PEM form with those between it and a root
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,

    /// The private key of --tls-certificate
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,

    /// Most connections at a time; beyond it those that wait longest are closed [default: 512]
    #[arg(long, value_name = "COUNT")]
    pub connections_max: Option<usize>,

    /// How long a request's head may take and a kept connection may be quiet, in seconds [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub head_timeout_seconds: Option<u64>,

    /// How many wrong API keys one address may send a minute, 0 for any number; the right one is never refused
    /// [default: 1000]
    #[arg(long, value_name = "COUNT")]
    pub failed_keys_per_minute: Option<u32>,
}

impl Listening {
    /// Puts what is given over what is configured. Whoever names a certificate wants it shown.
    pub(super) fn apply(&self, http: &mut HttpConfig) {
        if self.tls_certificate.is_some() {
            http.tls = TlsChoice::Files;
        }
        set(&mut http.tls_certificate, &self.tls_certificate);
        set(&mut http.tls_key, &self.tls_key);
        http.connections_max = self.connections_max.unwrap_or(http.connections_max);
        http.head_timeout_seconds = self.head_timeout_seconds.unwrap_or(http.head_timeout_seconds);
        http.failed_keys_per_minute = self.failed_keys_per_minute.unwrap_or(http.failed_keys_per_minute);
    }
}

fn set(setting: &mut Option<PathBuf>, flag: &Option<PathBuf>) {
    if flag.is_some() {
        setting.clone_from(flag);
    }
}
