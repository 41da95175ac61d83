//! The listeners' certificates: read, or made at the first start.

use anyhow::{Context, Result};
use portmeter_gateway::cli::public_url_host;
use portmeter_listener::tls::{SELF_SIGNED_FOLDER, SelfSigned, ServerTls};

use crate::config::{Config, TlsChoice};
use crate::first_session::TlsFacts;
use crate::instance::Undo;
use crate::network::rtnetlink::NetworkReader;

/// Each listener's side of TLS, where it has one.
pub(super) struct Certificates {
    pub(super) http: Option<ServerTls>,
    pub(super) grpc: Option<ServerTls>,
}

impl Certificates {
    /// Reads what the settings name. A self-signed one is made in the data folder where it is wanted and not there.
    pub(super) async fn take(config: &Config, network: &NetworkReader, undo: &mut Undo) -> Result<Self> {
        let own = SelfSigned::within(&config.agent.data_dir);
        let (http, grpc) = (config.http_tls(), config.grpc_tls());
        if [http, grpc].iter().any(|tls| tls.choice == TlsChoice::SelfSigned) {
            let folder = config.agent.data_dir.join(SELF_SIGNED_FOLDER);
            for path in [&folder, &own.key, &own.certificate] {
                undo.watch_file(path.clone());
            }
            own.keep_or_make(names(config, network).await?)?;
        }
        Ok(Self {
            http: http.load(&own)?,
            grpc: grpc.load(&own)?,
        })
    }

    /// What the REST listener's user is told.
    pub(super) fn http_facts(&self, config: &Config) -> Option<TlsFacts> {
        self.http.as_ref().map(|tls| facts(tls, config.http.tls))
    }

    /// What the gRPC listener's user is told.
    pub(super) fn grpc_facts(&self, config: &Config) -> Option<TlsFacts> {
        self.grpc.as_ref().map(|tls| facts(tls, config.grpc.tls))
    }
}

fn facts(tls: &ServerTls, choice: TlsChoice) -> TlsFacts {
    TlsFacts {
        fingerprint: tls.fingerprint(),
        self_signed: (choice == TlsChoice::SelfSigned).then(|| tls.files().certificate.clone()),
    }
}

/// Everything that clients may call this host: what is configured, what it calls itself, its addresses.
async fn names(config: &Config, network: &NetworkReader) -> Result<Vec<String>> {
    let network = network
        .read()
        .await
        .context("the network's interfaces cannot be read")?;
    let public_host = config.http.public_url.as_deref().and_then(public_url_host);
    let configured = [config.xray.server_host.clone(), public_host];
    let mut names: Vec<String> = configured.into_iter().flatten().collect();
    names.push("localhost".to_owned());
    let loopback = ["127.0.0.1", "::1"].map(ToOwned::to_owned);
    let own = network
        .addresses
        .iter()
        .map(|address| address.to_canonical().to_string());
    for address in loopback.into_iter().chain(own) {
        if !names.contains(&address) {
            names.push(address);
        }
    }
    names.dedup();
    Ok(names)
}
