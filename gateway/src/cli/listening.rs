//! The arguments about TLS and limits, and what they come to.

use std::path::PathBuf;
use std::time::Duration;

use portmeter_listener::tls::{ClientFiles, Protocol, ServerFiles, ServerTls, TlsError};

use crate::server::Limits;

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
    #[arg(long, value_name = "FILE", requires_all = ["agent_key", "agent_ca"])]
    pub agent_certificate: Option<PathBuf>,

    /// The private key of --agent-certificate
    #[arg(long, value_name = "FILE", requires = "agent_certificate")]
    pub agent_key: Option<PathBuf>,
}

impl AgentTls {
    /// Where the files are; `None` without an authority.
    pub(super) fn files(self) -> Option<ClientFiles> {
        Some(ClientFiles {
            authority: self.agent_ca?,
            own: self.agent_certificate.zip(self.agent_key),
        })
    }
}

/// What the listener speaks and puts up with.
#[derive(Debug, Clone, clap::Args)]
pub struct Listening {
    /// Serve REST over TLS with this certificate, in PEM form with those between it and a root
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "PORTMETER_HTTP__TLS_CERTIFICATE"
    )]
    pub tls_certificate: Option<PathBuf>,

    /// The private key of --tls-certificate
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_certificate",
        env = "PORTMETER_HTTP__TLS_KEY"
    )]
    pub tls_key: Option<PathBuf>,

    /// Most connections at a time; beyond it those that wait longest are closed
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().connections_max,
          value_parser = at_least_one, env = "PORTMETER_HTTP__CONNECTIONS_MAX")]
    pub connections_max: usize,

    /// How long a request's head may take and a kept connection may be quiet, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().head_timeout.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=3600), env = "PORTMETER_HTTP__HEAD_TIMEOUT_SECONDS")]
    pub head_timeout_seconds: u64,

    /// How many wrong API keys one address may send a minute, 0 for any number; the right one is never refused
    #[arg(long, value_name = "COUNT", default_value_t = FAILED_KEYS_PER_MINUTE,
          env = "PORTMETER_HTTP__FAILED_KEYS_PER_MINUTE")]
    pub failed_keys_per_minute: u32,
}

impl Listening {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            connections_max: self.connections_max,
            head_timeout: Duration::from_secs(self.head_timeout_seconds),
            ..Limits::default()
        }
    }

    /// The listener's side of TLS, where files are named for it.
    pub(super) fn tls(self) -> Result<Option<ServerTls>, TlsError> {
        let files = self.tls_certificate.zip(self.tls_key);
        let files = files.map(|(certificate, key)| ServerFiles {
            certificate,
            key,
            client_ca: None,
        });
        files.map(|files| ServerTls::load(files, Protocol::Http1)).transpose()
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("give a whole number above zero".to_owned()),
    }
}
