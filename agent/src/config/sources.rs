//! What the configuration comes to: file and environment, with the command line's flags over them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use portmeter_daemon::configuration::{ConfigError, Invalid, Sources};

use super::{Config, Interfaces};

/// What the command line sets; `None` and empty leave the setting alone.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--instance`
    pub instance: Option<String>,
    /// `--interface`, once for each
    pub interfaces: Vec<String>,
    /// `--http`
    pub http_listen: Option<SocketAddr>,
    /// `--grpc`
    pub grpc_listen: Option<SocketAddr>,
    /// `--metrics`
    pub metrics_listen: Option<SocketAddr>,
}

/// Reads and checks the configuration. `environment` is the process's; names that do not look like
/// `PORTMETER_<SECTION>__<NAME>` are passed over.
pub fn load(flags: &Flags, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Config, ConfigError> {
    let sources = Sources::read(flags.config.as_deref(), environment)?;
    let mut config: Config = sources.extract()?;
    apply(flags, &mut config);
    // The working folder may be another one when the path is used or shown.
    match std::path::absolute(&config.agent.data_dir) {
        Ok(path) => config.agent.data_dir = path,
        Err(error) => {
            let invalid = Invalid::new("agent.data_dir", format!("cannot be used: {error}"));
            return Err(sources.refuse(vec![invalid]));
        }
    }
    match config.check() {
        invalid if invalid.is_empty() => Ok(config),
        invalid => Err(sources.refuse(invalid)),
    }
}

fn apply(flags: &Flags, config: &mut Config) {
    fn set<T: Clone>(setting: &mut T, flag: Option<&T>) {
        if let Some(value) = flag {
            setting.clone_from(value);
        }
    }
    set(&mut config.agent.data_dir, flags.data_dir.as_ref());
    set(&mut config.agent.instance, flags.instance.as_ref());
    set(&mut config.http.listen, flags.http_listen.as_ref());
    set(&mut config.grpc.listen, flags.grpc_listen.as_ref());
    set(&mut config.metrics.listen, flags.metrics_listen.as_ref());
    if !flags.interfaces.is_empty() {
        config.capture.interfaces = match flags.interfaces.as_slice() {
            [name] if name == "auto" => Interfaces::Auto,
            names => Interfaces::Named(names.to_vec()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HookChoice, PanelAuth, TlsChoice};

    fn from_environment(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
        load(
            &Flags::default(),
            settings.iter().map(|(name, value)| (name.into(), value.into())),
        )
    }

    fn from_file(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portmeter.toml");
        std::fs::write(&path, text).unwrap();
        load(
            &Flags {
                config: Some(path),
                ..Flags::default()
            },
            [],
        )
    }

    #[test]
    fn runs_without_any_configuration() {
        let config = from_environment(&[]).unwrap();
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(config.grpc.listen.to_string(), "127.0.0.1:50051");
        assert_eq!(config.metrics.listen.to_string(), "127.0.0.1:9435");
        assert_eq!(config.xray.api_listen.to_string(), "127.0.0.1:9436");
        assert_eq!(config.capture.ports.to_string(), "10001-10100");
        assert_eq!(config.agent.instance, "default");
    }

    #[test]
    fn reads_every_name_from_the_environment() {
        let config = from_environment(&[
            ("PORTMETER_AGENT__DATA_DIR", "/d"),
            ("PORTMETER_AGENT__INSTANCE", "7"),
            ("PORTMETER_CAPTURE__INTERFACES", "eth0, eth1"),
            ("PORTMETER_CAPTURE__PORTS", "20000"),
            ("PORTMETER_CAPTURE__HOOK", "clsact"),
            ("PORTMETER_HTTP__LISTEN", "127.0.0.1:1"),
            ("PORTMETER_HTTP__PANEL_AUTH", "open"),
            ("PORTMETER_HTTP__TLS", "self-signed"),
            ("PORTMETER_HTTP__CONNECTIONS_MAX", "100"),
            ("PORTMETER_HTTP__FAILED_KEYS_PER_MINUTE", "7"),
            ("PORTMETER_GRPC__TLS", "files"),
            ("PORTMETER_GRPC__TLS_CERTIFICATE", "/opt/c.pem"),
            ("PORTMETER_GRPC__TLS_KEY", "/opt/k.pem"),
            ("PORTMETER_GRPC__CLIENT_CA", "/opt/ca.pem"),
            ("PORTMETER_GRPC__LISTEN", "127.0.0.1:2"),
            ("PORTMETER_METRICS__LISTEN", "127.0.0.1:3"),
            ("PORTMETER_LEDGER__COMMIT_INTERVAL_SECONDS", "9"),
            ("PORTMETER_LEDGER__TIME_ZONE", "Europe/Berlin"),
            ("PORTMETER_XRAY__MODE", "none"),
            ("PORTMETER_XRAY__BINARY", "/opt/xray"),
            ("PORTMETER_XRAY__CONFIG", "/opt/config.json"),
            ("PORTMETER_XRAY__SERVER_HOST", "vpn.example.org"),
            ("PORTMETER_XRAY__DEST", "example.org:443"),
            ("PORTMETER_XRAY__SERVER_NAMES", "a.example.org,b.example.org"),
            ("PORTMETER_XRAY__FLOW", ""),
            ("PORTMETER_XRAY__MAX_TIME_DIFF_SECONDS", "120"),
            ("PORTMETER_XRAY__API_LISTEN", "127.0.0.1:4"),
            ("PORTMETER_XRAY__SERVICE", "xray-two.service"),
            ("PORTMETER_API_KEY", "not a setting of this kind"),
        ])
        .unwrap();
        assert_eq!(config.agent.instance, "7");
        assert_eq!(
            config.capture.interfaces,
            Interfaces::Named(vec!["eth0".into(), "eth1".into()])
        );
        assert_eq!(config.capture.hook, HookChoice::Clsact);
        assert_eq!(config.http.panel_auth, PanelAuth::Open);
        assert_eq!(
            (config.http.tls, config.grpc.tls),
            (TlsChoice::SelfSigned, TlsChoice::Files)
        );
        assert_eq!(
            (config.http.connections_max, config.http.failed_keys_per_minute),
            (100, 7)
        );
        assert_eq!(config.ledger.commit_interval_seconds, 9);
        assert_eq!(config.xray.server_names, ["a.example.org", "b.example.org"]);
    }

    #[test]
    fn environment_wins_over_file_and_flags_over_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portmeter.toml");
        std::fs::write(
            &path,
            "[agent]\ninstance = \"file\"\n[capture]\nports = 20000\ninterfaces = [\"a\", \"b\"]\n",
        )
        .unwrap();
        let flags = Flags {
            config: Some(path),
            instance: Some("flag".into()),
            ..Flags::default()
        };
        let config = load(&flags, [("PORTMETER_CAPTURE__PORTS".into(), "30000".into())]).unwrap();
        assert_eq!(config.agent.instance, "flag");
        assert_eq!(config.capture.ports.to_string(), "30000");
        assert_eq!(
            config.capture.interfaces,
            Interfaces::Named(vec!["a".into(), "b".into()])
        );
    }

    #[test]
    fn names_the_setting_that_is_wrong_and_where_it_was_set() {
        for (text, part) in [
            ("[agent]\nname = \"x\"\n", "`agent.name`"),
            ("[agents]\nname = \"x\"\n", "`agents`"),
            ("[capture]\nports = \"10100-10001\"\n", "`capture.ports`"),
            (
                "[capture]\nhook = \"magic\"\n",
                "\"magic\" is none of \"auto\", \"tcx\", \"clsact\", \"xdp\"",
            ),
            ("[capture]\nhook = 7\n", "\"7\" is none of"),
            ("[http]\nlisten = \"nowhere\"\n", "`http.listen`"),
            ("[ledger]\ntime_zone = \"Mars/Olympus\"\n", "`ledger.time_zone`"),
            (
                "[ledger]\ncommit_interval_seconds = -1\n",
                "`ledger.commit_interval_seconds`",
            ),
            ("[agent]\n\n[capture\n", "portmeter.toml, line 3: "),
            ("[capture]\n\nhook = 7\n", "portmeter.toml, line 3: `capture.hook`"),
            (
                "[ledger]\n\n\ncommit_interval_seconds = 61\n",
                "portmeter.toml, line 4: ",
            ),
            (
                "[http]\nlisten = \"nowhere\"\n",
                "write for example `listen = \"127.0.0.1:8000\"`",
            ),
            (
                "[capture]\ninterface = \"eth0\"\n",
                "did you mean `capture.interfaces`?",
            ),
        ] {
            let message = from_file(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message:?} does not name {part}");
            assert!(message.contains("portmeter.toml"), "{message:?} does not name the file");
            assert!(!message.contains('\n'), "{message:?} is more than a line");
        }
        let message = from_environment(&[("PORTMETER_CAPTURE__PORTS", "x")])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("environment variable PORTMETER_CAPTURE__PORTS"),
            "{message:?}"
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let text = "[agent]\ninstance = \"No\"\n[ledger]\ncommit_interval_seconds = 0\n[http]\nlisten = \"0.0.0.0:1\"\n\
                    panel_auth = \"open\"\n";
        let sentences = from_file(text).unwrap_err().sentences();
        assert_eq!(sentences.len(), 3, "{sentences:#?}");
        for (sentence, part) in sentences
            .iter()
            .zip(["line 2: `agent.instance`", "line 4: `ledger.", "line 7: `http."])
        {
            assert!(sentence.contains(part), "{sentences:#?}");
        }
    }

    #[test]
    fn a_relative_data_folder_is_made_absolute() {
        let config = from_environment(&[("PORTMETER_AGENT__DATA_DIR", "data")]).unwrap();
        assert_eq!(config.agent.data_dir, std::env::current_dir().unwrap().join("data"));
    }
}
