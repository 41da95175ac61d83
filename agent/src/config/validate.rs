//! What the values must be, beyond their types.

use std::net::SocketAddr;

use portmeter_daemon::configuration::Invalid;
use portmeter_gateway::cli::is_on_network;

use super::{Config, Interfaces};
use crate::host::FrontEndUrl;
use crate::xray::core::Unit;
use crate::xray::link::{ServerHost, is_host_and_port, is_host_name};

/// Most ports that can be tracked: half of all there are. Their counters take 4 MiB for each CPU, and the host keeps
/// ports for its own connections and services.
const MOST_PORTS: usize = 32_768;

/// Whether one subject is as it must be.
type Checked = Result<(), Invalid>;

impl Config {
    /// Everything that is wrong, in the order of the sections; of one subject the first thing.
    pub(super) fn check(&self) -> Vec<Invalid> {
        let before_http = [
            instance(&self.agent.instance),
            interface_names(&self.capture.interfaces),
            self.ports(),
            self.http_tls().check(),
        ];
        let after_http = [
            self.grpc_tls().check(),
            self.check_grpc_limits(),
            self.metrics_exposure(),
            self.commit_interval(),
            self.retention(),
            self.events(),
            self.xray(),
            self.panel(),
            self.own_ports(),
        ];
        let mut invalid: Vec<Invalid> = before_http.into_iter().filter_map(Result::err).collect();
        invalid.extend(self.http.check());
        invalid.extend(after_http.into_iter().filter_map(Result::err));
        invalid.extend(self.gateway.check());
        invalid
    }

    fn ports(&self) -> Checked {
        let count = self.capture.ports.count();
        refuse_if(
            count > MOST_PORTS,
            "capture.ports",
            format!("has {count} ports; at most {MOST_PORTS} can be tracked"),
        )
    }

    fn commit_interval(&self) -> Checked {
        let seconds = self.ledger.commit_interval_seconds;
        refuse_if(
            !(1..=60).contains(&seconds),
            "ledger.commit_interval_seconds",
            format!("is {seconds}; it must be between 1 and 60"),
        )
    }

    /// Coarser periods are kept at least as long as finer ones: they are what is left of them.
    fn retention(&self) -> Checked {
        let ledger = &self.ledger;
        let kinds = [
            (
                "ledger.minute_retention_hours",
                u64::from(ledger.minute_retention_hours),
            ),
            ("ledger.hour_retention_days", 24 * u64::from(ledger.hour_retention_days)),
            ("ledger.day_retention_days", 24 * u64::from(ledger.day_retention_days)),
        ];
        if let Some((name, _)) = kinds.iter().find(|(_, hours)| *hours == 0) {
            return Err(Invalid::new(*name, "is 0; keep at least 1"));
        }
        match kinds.windows(2).find(|pair| pair[0].1 > pair[1].1) {
            Some([(finer, _), (coarser, _)]) => Err(Invalid::new(
                *coarser,
                format!("is a shorter time than `{finer}`; keep coarser periods at least as long"),
            )),
            _ => Ok(()),
        }
    }

    /// The count is bounded above as well: statistics read all events.
    fn events(&self) -> Checked {
        let events = &self.events;
        refuse_if(
            !(1..=36_500).contains(&events.retention_days),
            "events.retention_days",
            format!("is {}; it must be between 1 and 36500", events.retention_days),
        )?;
        refuse_if(
            !(1_000..=10_000_000).contains(&events.count_max),
            "events.count_max",
            format!("is {}; it must be between 1000 and 10000000", events.count_max),
        )
    }

    /// What links and inbounds are made of.
    fn xray(&self) -> Checked {
        let xray = &self.xray;
        refuse_if(
            !["", "xtls-rprx-vision"].contains(&xray.flow.as_str()),
            "xray.flow",
            format!("is \"{}\"; use \"xtls-rprx-vision\" or \"\"", xray.flow.escape_debug()),
        )?;
        if let Some(host) = &xray.server_host {
            host.parse::<ServerHost>().map_err(|error| {
                Invalid::new("xray.server_host", format!("is \"{}\": {error}", host.escape_debug()))
            })?;
        }
        refuse_if(
            !is_host_and_port(&xray.dest),
            "xray.dest",
            format!(
                "is \"{}\"; use the name or address of a TLS 1.3 server and its port, such as www.microsoft.com:443",
                xray.dest.escape_debug()
            ),
        )?;
        refuse_if(
            xray.access_log_retention_days == 0,
            "xray.access_log_retention_days",
            "is 0; keep at least 1, or set `xray.access_log = false`",
        )?;
        refuse_if(
            xray.server_names.is_empty(),
            "xray.server_names",
            "is empty; REALITY needs at least one",
        )?;
        match xray.server_names.iter().find(|name| !is_host_name(name)) {
            Some(name) => Err(Invalid::new(
                "xray.server_names",
                format!(
                    "has \"{}\", which cannot be the name of a host; use one that the certificate of `xray.dest` has, such \
                     as www.microsoft.com",
                    name.escape_debug()
                ),
            )),
            None => Ok(()),
        }
    }

    /// Where the front end is, and what systemd calls it.
    fn panel(&self) -> Checked {
        let panel = &self.panel;
        if let Some(url) = &panel.url {
            url.parse::<FrontEndUrl>()
                .map_err(|error| Invalid::new("panel.url", format!("is \"{}\"; {error}", url.escape_debug())))?;
        }
        match &panel.service {
            Some(service) if service.parse::<Unit>().is_err() => Err(Invalid::new(
                "panel.service",
                format!(
                    "is \"{}\"; use the name of a systemd service, for example \"panel.service\"",
                    service.escape_debug()
                ),
            )),
            _ => Ok(()),
        }
    }

    /// A tracked port must not be one that the product itself listens on: its traffic would be booked to a key.
    fn own_ports(&self) -> Checked {
        let own = [
            ("http.listen", self.http.listen),
            ("grpc.listen", self.grpc.listen),
            ("metrics.listen", self.metrics.listen),
            ("xray.api_listen", self.xray.api_listen),
        ];
        for (position, (name, address)) in own.iter().enumerate() {
            refuse_if(
                self.capture.ports.contains(address.port()),
                name,
                format!(
                    "uses port {}, which `capture.ports` ({}) tracks; move one of them",
                    address.port(),
                    self.capture.ports
                ),
            )?;
            if let Some((other, _)) = own[..position].iter().find(|(_, other)| collide(*other, *address)) {
                return Err(Invalid::new(
                    *name,
                    format!("and `{other}` are both {address}; give them different ports"),
                ));
            }
        }
        Ok(())
    }

    /// What answers without a key stays on loopback unless a second setting says otherwise.
    fn metrics_exposure(&self) -> Checked {
        let metrics = &self.metrics;
        refuse_if(
            is_on_network(metrics.listen) && !metrics.allow_on_network,
            "metrics.listen",
            format!(
                "is {} and needs no key; set `metrics.allow_on_network = true` if that is wanted",
                metrics.listen
            ),
        )
    }
}

fn refuse_if(is_wrong: bool, setting: &str, predicate: impl std::fmt::Display) -> Checked {
    match is_wrong {
        true => Err(Invalid::new(setting, predicate)),
        false => Ok(()),
    }
}

fn instance(name: &str) -> Checked {
    let usable = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_usable = (1..=32).contains(&name.len()) && name.bytes().all(usable);
    refuse_if(
        !is_usable,
        "agent.instance",
        format!("is \"{}\"; use 1 to 32 of a-z, 0-9 and -", name.escape_default()),
    )
}

/// The kernel's rule for interface names: at most 15 bytes, no slash, no white space (`dev_valid_name`).
fn interface_names(interfaces: &Interfaces) -> Checked {
    let Interfaces::Named(names) = interfaces else {
        return Ok(());
    };
    let usable = |name: &str| {
        name.len() <= 15
            && name != "."
            && name != ".."
            && !name.contains(['/', ':'])
            && !name.contains(char::is_whitespace)
    };
    match names.iter().find(|name| !usable(name)) {
        Some(name) => Err(Invalid::new(
            "capture.interfaces",
            format!(
                "has \"{}\", which cannot be an interface's name; `ip link` lists them",
                name.escape_default()
            ),
        )),
        None => Ok(()),
    }
}

/// Whether two listeners would take each other's port.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && (any || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PanelAuth;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        let invalid = config.check();
        invalid.first().expect("it cannot be meant").to_string()
    }

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Config::default().check(), []);
    }

    #[test]
    fn events_are_kept_within_bounds() {
        let mut config = Config::default();
        (config.events.retention_days, config.events.count_max) = (1, 1_000);
        assert_eq!(config.check(), []);
        for days in [0, 36_501] {
            let sentence = refused(|config| config.events.retention_days = days);
            assert!(sentence.starts_with("`events.retention_days` is "), "{sentence}");
        }
        for count in [0, 999, 10_000_001] {
            let sentence = refused(|config| config.events.count_max = count);
            assert!(sentence.starts_with("`events.count_max` is "), "{sentence}");
        }
    }

    #[test]
    fn the_host_keeps_some_ports() {
        let mut config = Config::default();
        config.capture.ports = "10001-42768".parse().unwrap();
        assert_eq!(config.check(), []);
        let sentence = refused(|config| config.capture.ports = "10001-42769".parse().unwrap());
        assert_eq!(
            sentence,
            "`capture.ports` has 32769 ports; at most 32768 can be tracked"
        );
    }

    #[test]
    fn metrics_stay_on_loopback_however_it_is_written() {
        for listen in ["127.0.0.1:9435", "[::1]:9435", "[::ffff:127.0.0.1]:9435"] {
            let mut config = Config::default();
            config.metrics.listen = listen.parse().unwrap();
            assert!(config.check().is_empty(), "{listen}");
        }
        assert!(refused(|config| config.metrics.listen = "[::]:9435".parse().unwrap()).contains("allow_on_network"));
    }

    #[test]
    fn refuses_what_would_hurt() {
        assert!(refused(|config| config.agent.instance = "Über".into()).contains("agent.instance"));
        assert!(refused(|config| config.agent.instance = "../x".into()).contains("agent.instance"));
        assert!(refused(|config| config.capture.ports = "8000".parse().unwrap()).contains("http.listen"));
        assert!(refused(|config| config.capture.ports = "50000-50100".parse().unwrap()).contains("grpc.listen"));
        assert!(refused(|config| config.capture.ports = "9435".parse().unwrap()).contains("metrics.listen"));
        assert!(refused(|config| config.capture.ports = "9000-9999".parse().unwrap()).contains("metrics.listen"));
        assert!(refused(|config| config.capture.ports = "9436".parse().unwrap()).contains("xray.api_listen"));
        assert!(refused(|config| config.grpc.listen = config.http.listen).contains("grpc.listen"));
        assert!(refused(|config| config.metrics.listen = "0.0.0.0:9435".parse().unwrap()).contains("allow_on_network"));
        assert!(refused(|config| config.ledger.commit_interval_seconds = 61).contains("between 1 and 60"));
        assert!(refused(|config| config.ledger.day_retention_days = 0).contains("at least 1"));
        assert!(refused(|config| config.xray.access_log_retention_days = 0).contains("access_log_retention_days"));
        assert!(refused(|config| config.ledger.hour_retention_days = 1).contains("shorter time"));
        let open = |config: &mut Config| {
            config.http.listen = "0.0.0.0:8000".parse().unwrap();
            config.http.panel_auth = PanelAuth::Open;
        };
        assert!(refused(open).contains("allow_open_panel_on_network"));
    }

    #[test]
    fn a_front_end_is_an_address_and_a_unit() {
        for url in [
            "",
            "127.0.0.1:3000",
            "https://127.0.0.1",
            "http://",
            "http://a@b",
            "http://a b",
            "file:///x",
        ] {
            let sentence = refused(|config| config.panel.url = Some(url.into()));
            assert!(sentence.starts_with("`panel.url` is \""), "{sentence}");
        }
        for service in ["", "panel", "../x.service", "-H x.service", "a\n.service"] {
            let sentence = refused(|config| config.panel.service = Some(service.into()));
            assert!(
                sentence.starts_with("`panel.service` is \"") && !sentence.contains('\n'),
                "{sentence}"
            );
        }
        let mut config = Config::default();
        config.panel.url = Some("http://[::1]:3000/login".into());
        config.panel.service = Some("panel@main.service".into());
        assert_eq!(config.check(), []);
    }

    #[test]
    fn links_are_made_of_names_and_addresses() {
        for (host, what) in [
            ("", "is \"\": it is empty"),
            ("a b", "is \"a b\": use a host name"),
            ("[::1]", "without brackets"),
            ("vpn.example.com:443", "without port"),
            ("a\n", "is \"a\\n\": use"),
        ] {
            let sentence = refused(|config| config.xray.server_host = Some(host.into()));
            assert!(
                sentence.starts_with("`xray.server_host`") && sentence.contains(what),
                "{sentence}"
            );
        }
        for dest in ["", "www.microsoft.com", "a b:443", "a\n:443", "a:0"] {
            let sentence = refused(|config| config.xray.dest = dest.into());
            assert!(
                sentence.starts_with("`xray.dest` is") && !sentence.contains('\n'),
                "{sentence}"
            );
        }
        for name in ["", "a b", "*.example.com", "a\r", "192.0.2.1", "a:443"] {
            let sentence = refused(|config| config.xray.server_names.push(name.into()));
            assert!(
                sentence.starts_with("`xray.server_names` has ") && !sentence.contains('\r'),
                "{sentence}"
            );
        }
        let mut config = Config::default();
        config.xray.server_host = Some("2001:db8::1".into());
        config.xray.dest = "[2001:db8::2]:443".into();
        config.xray.server_names = vec!["localhost".into(), "www.example.com".into()];
        assert_eq!(config.check(), []);
    }
}
