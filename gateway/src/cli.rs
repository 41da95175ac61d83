//! The gateway as a program of its own: its arguments, what is checked before it starts, and its run.
//!
//! The binary of this crate and the agent's `gateway` subcommand share it. Flags win over environment over file over
//! defaults. Nothing is opened before all of it has been found good.

mod alive;
mod listening;
mod reload;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use http::Uri;
use portmeter_daemon::configuration::{ConfigError, Sources};
use portmeter_daemon::credentials;
use portmeter_daemon::log;
use portmeter_daemon::service_manager::ServiceManager;
use portmeter_daemon::signals::{HangUps, shutdown_on_signal};
use portmeter_listener::raise_open_files;
use portmeter_listener::tls::{ServerTls, TlsError};
use portmeter_proto::api_key::{ApiKey, InvalidApiKey};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::config::GatewaySettings;
use crate::gateway::{GatewayConfig, LiveConfig, PanelAuth};
use crate::metrics;
use crate::requests::RequestFigures;
use crate::routes::measured_router;
use crate::server::{Server, serve};
use crate::transport::ConnectError;
use reload::Reloader;

pub use listening::{AgentTls, FAILED_KEYS_PER_MINUTE, Listening};

/// The environment variable that holds the API key itself.
pub const API_KEY_VARIABLE: &str = "PORTMETER_API_KEY";

/// The REST gateway, apart from the agent.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Arguments {
    /// Configuration file, of which [http], [gateway] and [log] count
    /// [default: /etc/portmeter/portmeter.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The agent's gRPC address: HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:/absolute/path
    /// [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDR")]
    pub agent: Option<String>,

    /// Where to listen for REST [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,

    /// A file that holds the API key, the agent's; without it the key is taken from PORTMETER_API_KEY
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,

    /// Whether the panel's routes need the API key (key) or answer anybody (open) [default: key]
    #[arg(long, value_name = "MODE", value_enum)]
    pub panel_auth: Option<PanelAuth>,

    /// What subscription links begin with, for example https://vpn.example.com; without it they are paths alone
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub public_url: Option<String>,

    /// Allow --panel-auth open on an address that is not loopback
    #[arg(long)]
    pub allow_open_panel: bool,

    /// Where to serve Prometheus metrics of the gateway itself, without a key [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,

    /// Allow --metrics on an address that is not loopback
    #[arg(long)]
    pub allow_metrics_on_network: bool,

    /// How the agent is known.
    #[command(flatten)]
    pub agent_tls: AgentTls,

    /// What the listener speaks and puts up with.
    #[command(flatten)]
    pub listening: Listening,
}

impl Arguments {
    /// What file, environment and flags come to, checked.
    pub fn load(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<GatewaySettings, ConfigError> {
        let sources = Sources::read(self.config.as_deref(), environment)?;
        let mut settings: GatewaySettings = sources.extract()?;
        self.apply(&mut settings);
        match settings.check() {
            invalid if invalid.is_empty() => Ok(settings),
            invalid => Err(sources.refuse(invalid)),
        }
    }

    fn apply(&self, settings: &mut GatewaySettings) {
        let GatewaySettings { http, gateway, .. } = settings;
        if let Some(agent) = &self.agent {
            gateway.agent.clone_from(agent);
        }
        http.listen = self.http.unwrap_or(http.listen);
        http.panel_auth = self.panel_auth.unwrap_or(http.panel_auth);
        http.allow_open_panel_on_network |= self.allow_open_panel;
        if self.public_url.is_some() {
            http.public_url.clone_from(&self.public_url);
        }
        gateway.metrics_listen = self.metrics.or(gateway.metrics_listen);
        gateway.allow_metrics_on_network |= self.allow_metrics_on_network;
        self.agent_tls.apply(gateway);
        self.listening.apply(http);
    }
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    /// Signals cannot be listened for.
    #[error("signals cannot be listened for")]
    Signals(#[source] io::Error),
    /// The listener cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address of `--http` or `--metrics`.
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

/// Whether others than this host may reach a listener. An IPv4 loopback address written as IPv6 is loopback.
pub fn is_on_network(listen: SocketAddr) -> bool {
    !listen.ip().to_canonical().is_loopback()
}

/// Refuses an open panel on anything but loopback, unless `is_allowed` says that it is meant.
pub fn check_panel(listen: SocketAddr, panel_auth: PanelAuth, is_allowed: bool) -> Result<(), OpenPanel> {
    if panel_auth == PanelAuth::Open && is_on_network(listen) && !is_allowed {
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

/// Runs the gateway until a signal ends it, then drains it. It starts whether or not the agent is there; until it is,
/// answers are 503. Called once in a process: it starts the log.
pub async fn run(arguments: Arguments) -> Result<(), StartError> {
    let settings = arguments.load(env::vars_os())?;
    let log = log::start(&settings.log);
    let manager = ServiceManager::find();
    let shutdown = shutdown_on_signal().map_err(StartError::Signals)?;
    let hang_ups = HangUps::listen().map_err(StartError::Signals)?;
    let (http, agent) = (&settings.http, &settings.gateway.agent);
    let variable = env::var(API_KEY_VARIABLE).ok().filter(|text| !text.is_empty());
    let credential = credentials::find(credentials::API_KEY);
    let key_files = KeyFiles {
        flag: arguments.api_key_file.as_deref(),
        configured: http.api_key_file.as_deref(),
        credential: credential.as_deref(),
    };
    let api_key = api_key(key_files.choose(variable.is_some()), variable.as_deref())?;
    let backend = Backend::connect(agent, &api_key, settings.gateway.client_files())?;
    let tls = http.server_tls()?;
    raise_open_files();
    let listener = bind(http.listen).await?;
    let metrics_listener = match settings.gateway.metrics_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    if http.panel_auth == PanelAuth::Open {
        tracing::warn!("the panel's routes answer without the API key");
    }
    let address = listener.local_addr().unwrap_or(http.listen);
    let fingerprint = tls.as_ref().map(ServerTls::fingerprint);
    tracing::info!(%address, %agent, fingerprint, "REST is served");
    let live = LiveConfig::from(GatewayConfig::of(http, api_key, address));
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.follow(shutdown.clone()));
    }
    let requests = RequestFigures::default();
    let server = Server {
        listener,
        router: measured_router(backend, live.clone(), requests.clone()),
        tls,
        limits: http.limits(),
    };
    tokio::spawn(alive::tell(manager, server.router.clone(), shutdown.clone()));
    manager.status(&format!("REST on {address}, for the agent at {agent}"));
    manager.ready();
    let reloader = Reloader {
        arguments,
        running: settings,
        live,
        log,
        manager,
    };
    tokio::spawn(reloader.run(hang_ups, shutdown.clone()));
    // Not a task of its own: with nothing to drain the process may end before such a task has had its turn.
    let tell_the_stop = async {
        shutdown.cancelled().await;
        manager.stopping();
    };
    tokio::join!(
        tell_the_stop,
        server.run(shutdown.clone()),
        serve_metrics(metrics_listener, requests, shutdown.clone())
    );
    tracing::info!("REST has stopped");
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| StartError::Listen { address, source })
}

/// Serves the gateway's own metrics until `shutdown`, where that is wanted.
async fn serve_metrics(listener: Option<TcpListener>, requests: RequestFigures, shutdown: CancellationToken) {
    let Some(listener) = listener else { return };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics are served");
    }
    let page = move |format| metrics::page(requests.clone(), format);
    serve(listener, portmeter_metrics::router(page), shutdown).await;
}

/// Files that the API key may be in.
#[derive(Debug, Clone, Copy)]
struct KeyFiles<'a> {
    flag: Option<&'a Path>,
    configured: Option<&'a Path>,
    credential: Option<&'a Path>,
}

impl<'a> KeyFiles<'a> {
    /// The one that counts. What the environment holds goes before all of them but the one that a flag names.
    fn choose(self, is_in_environment: bool) -> Option<&'a Path> {
        let others = self.configured.or(self.credential).filter(|_| !is_in_environment);
        self.flag.or(others)
    }
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
    fn a_flag_wins_over_the_environment_over_the_configuration_over_a_credential() {
        let path = |name| Some(Path::new(name));
        let all = KeyFiles {
            flag: path("/flag"),
            configured: path("/configured"),
            credential: path("/credential"),
        };
        let without_flag = KeyFiles { flag: None, ..all };
        let credential = KeyFiles {
            configured: None,
            ..without_flag
        };
        assert_eq!([all.choose(true), all.choose(false)], [path("/flag"); 2]);
        assert_eq!(
            [without_flag.choose(true), without_flag.choose(false)],
            [None, path("/configured")]
        );
        assert_eq!(
            [credential.choose(true), credential.choose(false)],
            [None, path("/credential")]
        );
    }

    fn load(arguments: &Arguments, environment: &[(&str, &str)]) -> Result<GatewaySettings, ConfigError> {
        arguments.load(environment.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn flags_win_over_the_environment() {
        let environment = [
            ("PORTMETER_HTTP__LISTEN", "127.0.0.1:1"),
            ("PORTMETER_XRAY__MODE", "none"),
        ];
        assert_eq!(load(&Arguments::default(), &environment).unwrap().http.listen.port(), 1);
        let arguments = Arguments {
            http: "127.0.0.1:2".parse().ok(),
            agent: Some("unix:/a".to_owned()),
            ..Arguments::default()
        };
        let settings = load(&arguments, &environment).unwrap();
        assert_eq!(
            (settings.http.listen.port(), settings.gateway.agent.as_str()),
            (2, "unix:/a")
        );
    }

    #[test]
    fn a_wrong_setting_is_told_with_its_place() {
        let error = load(&Arguments::default(), &[("PORTMETER_HTTP__LISTEN", "x")]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("environment variable PORTMETER_HTTP__LISTEN"),
            "{error}"
        );
        let error = load(&Arguments::default(), &[("PORTMETER_HTTPS__LISTEN", "x")]).unwrap_err();
        assert!(error.to_string().contains("did you mean [http]?"), "{error}");
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
    fn what_is_open_to_a_network_must_be_meant() {
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
