//! The gateway as a program of its own: its arguments, what is checked before it starts, and its run.
//!
//! The binary of this crate and the agent's `gateway` subcommand share it. Nothing is opened before every argument
//! has been found good.

mod listening;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use http::Uri;
use portmeter_listener::raise_open_files;
use portmeter_listener::tls::{ServerTls, TlsError};
use portmeter_proto::api_key::{ApiKey, InvalidApiKey};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::gateway::{GatewayConfig, PanelAuth};
use crate::routes::router;
use crate::server::Server;
use crate::transport::ConnectError;

pub use listening::{AgentTls, FAILED_KEYS_PER_MINUTE, Listening};

/// The environment variable that holds the API key itself.
pub const API_KEY_VARIABLE: &str = "PORTMETER_API_KEY";

/// The REST gateway, apart from the agent.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The agent's gRPC address: HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:/absolute/path
    #[arg(long, value_name = "ADDR")]
    pub agent: String,

    /// Where to listen for REST
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8000",
        env = "PORTMETER_HTTP__LISTEN"
    )]
    pub http: SocketAddr,

    /// A file that holds the API key, the agent's; without it the key is taken from PORTMETER_API_KEY
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,

    /// Whether the panel's routes need the API key (key) or answer anybody (open)
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        default_value = "key",
        env = "PORTMETER_HTTP__PANEL_AUTH"
    )]
    pub panel_auth: PanelAuth,

    /// What subscription links begin with, for example https://vpn.example.com; without it they are paths alone
    #[arg(long, value_name = "URL", value_parser = public_url, env = "PORTMETER_HTTP__PUBLIC_URL")]
    pub public_url: Option<String>,

    /// Allow --panel-auth open on an address that is not loopback
    #[arg(long)]
    pub allow_open_panel: bool,

    /// How the agent is known.
    #[command(flatten)]
    pub agent_tls: AgentTls,

    /// What the listener speaks and puts up with.
    #[command(flatten)]
    pub listening: Listening,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither a file nor the environment names an API key.
    #[error("no API key: give the agent's with --api-key-file FILE or in {API_KEY_VARIABLE}")]
    NoApiKey,
    /// The file of the API key cannot be read.
    #[error("cannot read the API key from {path}")]
    ApiKeyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was given is no API key.
    #[error("cannot use the API key from {origin}")]
    ApiKey {
        /// The file or the variable it came from.
        origin: String,
        /// What is wrong with it.
        source: InvalidApiKey,
    },
    /// The agent cannot be asked in the way that is wanted.
    #[error(transparent)]
    Agent(#[from] ConnectError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The panel would be open to a network.
    #[error(transparent)]
    OpenPanel(#[from] OpenPanel),
    /// The listener cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address of `--http`.
        address: SocketAddr,
        /// Why not, for example because another program has it.
        source: io::Error,
    },
}

/// The panel would be open to whoever reaches the listener, over a network, and nobody has said that this is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the panel's routes would be open to everybody who reaches {0}: listen on a loopback address, let them ask for \
     the API key (panel_auth key), or confirm it with allow_open_panel"
)]
pub struct OpenPanel(pub SocketAddr);

/// Refuses an open panel on anything but loopback, unless `is_allowed` says that it is meant.
pub fn check_panel(listen: SocketAddr, panel_auth: PanelAuth, is_allowed: bool) -> Result<(), OpenPanel> {
    let is_exposed = panel_auth == PanelAuth::Open && !listen.ip().to_canonical().is_loopback();
    if is_exposed && !is_allowed {
        Err(OpenPanel(listen))
    } else {
        Ok(())
    }
}

/// What was given as a public URL cannot be the beginning of a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no public URL: give http:// or https:// with a host, without a query, for example https://vpn.example.com"
)]
pub struct InvalidPublicUrl(String);

/// Reads a public URL: `http` or `https`, a host, perhaps a port and a path; no user, no query. Slashes at its end go.
pub fn public_url(text: &str) -> Result<String, InvalidPublicUrl> {
    let is_usable = |url: &Uri| {
        let has_scheme = matches!(url.scheme_str(), Some("http" | "https"));
        let has_host = url.host().is_some_and(|host| !host.is_empty());
        let has_user = url
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'));
        has_scheme && has_host && !has_user && url.query().is_none() && !text.contains('#')
    };
    match text.parse::<Uri>() {
        Ok(url) if is_usable(&url) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(InvalidPublicUrl(text.to_owned())),
    }
}

/// The host that a public URL names, an IPv6 address without its brackets.
pub fn public_url_host(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_owned())
}

/// Runs the gateway until `shutdown` is cancelled, then drains it. It starts whether or not the agent is there;
/// until it is, answers are 503.
pub async fn run(arguments: Arguments, shutdown: CancellationToken) -> Result<(), StartError> {
    let Arguments {
        agent,
        http,
        api_key_file,
        panel_auth,
        public_url,
        allow_open_panel,
        agent_tls,
        listening,
    } = arguments;
    check_panel(http, panel_auth, allow_open_panel)?;
    let api_key = api_key(api_key_file.as_deref(), env::var(API_KEY_VARIABLE).ok().as_deref())?;
    let backend = Backend::connect(&agent, &api_key, agent_tls.files())?;
    let (limits, failed_keys_per_minute) = (listening.limits(), listening.failed_keys_per_minute);
    let tls = listening.tls()?;
    raise_open_files();
    let listener = TcpListener::bind(http)
        .await
        .map_err(|source| StartError::Listen { address: http, source })?;
    if panel_auth == PanelAuth::Open {
        tracing::warn!("the panel's routes answer without the API key");
    }
    let address = listener.local_addr().unwrap_or(http);
    let fingerprint = tls.as_ref().map(ServerTls::fingerprint);
    tracing::info!(%address, %agent, fingerprint, "REST is served");
    let config = GatewayConfig {
        api_key,
        panel_auth,
        listen: address,
        public_url,
        failed_keys_per_minute,
    };
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.follow(shutdown.clone()));
    }
    let server = Server {
        listener,
        router: router(backend, config),
        tls,
        limits,
    };
    server.run(shutdown).await;
    tracing::info!("REST has stopped");
    Ok(())
}

/// The API key: from the `file` if one is named, else from the environment `variable` that holds it.
pub fn api_key(file: Option<&Path>, variable: Option<&str>) -> Result<ApiKey, StartError> {
    let (text, origin) = match (file, variable) {
        (Some(path), _) => {
            let text = fs::read_to_string(path).map_err(|source| StartError::ApiKeyFile {
                path: path.to_owned(),
                source,
            })?;
            (text, path.display().to_string())
        }
        (None, Some(text)) if !text.is_empty() => (text.to_owned(), API_KEY_VARIABLE.to_owned()),
        (None, _) => return Err(StartError::NoApiKey),
    };
    ApiKey::new(&text).map_err(|source| StartError::ApiKey { origin, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    #[test]
    fn a_named_file_goes_before_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.key");
        fs::write(&path, format!("{KEY}\n")).unwrap();
        let from_file = api_key(Some(&path), Some("another-key-of-16-characters")).unwrap();
        assert!(from_file.matches(KEY.as_bytes()));
        assert!(api_key(None, Some(KEY)).unwrap().matches(KEY.as_bytes()));
    }

    #[test]
    fn there_is_no_start_without_a_usable_key() {
        assert!(matches!(api_key(None, None), Err(StartError::NoApiKey)));
        assert!(matches!(api_key(None, Some("")), Err(StartError::NoApiKey)));
        assert!(matches!(api_key(None, Some("short")), Err(StartError::ApiKey { .. })));
        assert!(matches!(
            api_key(Some(Path::new("/nonexistent")), Some(KEY)),
            Err(StartError::ApiKeyFile { .. })
        ));
    }

    #[test]
    fn a_public_url_can_begin_a_link() {
        for (text, expected) in [
            ("https://vpn.example.com", "https://vpn.example.com"),
            ("https://vpn.example.com/", "https://vpn.example.com"),
            ("http://192.0.2.1:8000/vpn//", "http://192.0.2.1:8000/vpn"),
            ("http://[2001:db8::1]", "http://[2001:db8::1]"),
        ] {
            assert_eq!(public_url(text).as_deref(), Ok(expected));
        }
        for text in [
            "",
            "vpn.example.com",
            "/sub",
            "ftp://vpn.example.com",
            "https://",
            "https://me@vpn.example.com",
            "https://vpn.example.com/?a=b",
            "https://vpn.example.com/#a",
            "https://vpn example.com",
        ] {
            assert!(public_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_open_panel_on_a_network_must_be_meant() {
        for (listen, is_loopback) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
        ] {
            let listen = listen.parse().unwrap();
            assert_eq!(
                check_panel(listen, PanelAuth::Open, false).is_ok(),
                is_loopback,
                "{listen}"
            );
            assert!(check_panel(listen, PanelAuth::Open, true).is_ok());
            assert!(check_panel(listen, PanelAuth::Key, false).is_ok());
        }
    }
}
