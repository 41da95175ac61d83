//! What the values must be, beyond their types.

use std::net::SocketAddr;

use portmeter_gateway::cli::check_panel;

use super::tls::validate_limits;
use super::{Config, Interfaces};
use crate::host::FrontEndUrl;
use crate::xray::core::Unit;
use crate::xray::link::{ServerHost, is_host_and_port, is_host_name};

/// Most ports that can be tracked: half of all there are. Their counters take 4 MiB for each CPU, and the host keeps
/// ports for its own connections and services.
const MOST_PORTS: usize = 32_768;

impl Config {
    /// One sentence about the first thing that is wrong, naming the setting and the way out.
    pub(super) fn validate(&self) -> Result<(), String> {
        instance(&self.agent.instance)?;
        interface_names(&self.capture.interfaces)?;
        if self.capture.ports.count() > MOST_PORTS {
            return Err(format!(
                "`capture.ports` has {} ports; at most {MOST_PORTS} can be tracked",
                self.capture.ports.count()
            ));
        }
        if !(1..=60).contains(&self.ledger.commit_interval_seconds) {
            return Err(format!(
                "`ledger.commit_interval_seconds` is {}; it must be between 1 and 60",
                self.ledger.commit_interval_seconds
            ));
        }
        self.retention()?;
        self.events()?;
        self.xray()?;
        self.panel()?;
        self.own_ports()?;
        self.http_tls().validate()?;
        self.grpc_tls().validate()?;
        validate_limits(self)?;
        self.exposure()
    }

    /// Coarser periods are kept at least as long as finer ones: they are what is left of them.
    fn retention(&self) -> Result<(), String> {
        let ledger = &self.ledger;
        let kinds = [
            ("minute_retention_hours", u64::from(ledger.minute_retention_hours)),
            ("hour_retention_days", 24 * u64::from(ledger.hour_retention_days)),
            ("day_retention_days", 24 * u64::from(ledger.day_retention_days)),
        ];
        if let Some((name, _)) = kinds.iter().find(|(_, hours)| *hours == 0) {
            return Err(format!("`ledger.{name}` is 0; keep at least 1"));
        }
        match kinds.windows(2).find(|pair| pair[0].1 > pair[1].1) {
            Some([(finer, _), (coarser, _)]) => Err(format!(
                "`ledger.{coarser}` is a shorter time than `ledger.{finer}`; keep coarser periods at least as long"
            )),
            _ => Ok(()),
        }
    }

    /// The count is bounded above as well: statistics read all events.
    fn events(&self) -> Result<(), String> {
        let events = &self.events;
        if !(1..=36_500).contains(&events.retention_days) {
            return Err(format!(
                "`events.retention_days` is {}; it must be between 1 and 36500",
                events.retention_days
            ));
        }
        if !(1_000..=10_000_000).contains(&events.count_max) {
            return Err(format!(
                "`events.count_max` is {}; it must be between 1000 and 10000000",
                events.count_max
            ));
        }
        Ok(())
    }

    /// What links and inbounds are made of.
    fn xray(&self) -> Result<(), String> {
        let xray = &self.xray;
        if !["", "xtls-rprx-vision"].contains(&xray.flow.as_str()) {
            return Err(format!(
                "`xray.flow` is \"{}\"; use \"xtls-rprx-vision\" or \"\"",
                xray.flow.escape_debug()
            ));
        }
        if let Some(host) = &xray.server_host {
            host.parse::<ServerHost>()
                .map_err(|error| format!("`xray.server_host` is \"{}\": {error}", host.escape_debug()))?;
        }
        if !is_host_and_port(&xray.dest) {
            return Err(format!(
                "`xray.dest` is \"{}\"; use the name or address of a TLS 1.3 server and its port, such as \
                 www.microsoft.com:443",
                xray.dest.escape_debug()
            ));
        }
        if xray.access_log_retention_days == 0 {
            return Err(
                "`xray.access_log_retention_days` is 0; keep at least 1, or set `xray.access_log = false`".to_owned(),
            );
        }
        if xray.server_names.is_empty() {
            return Err("`xray.server_names` is empty; REALITY needs at least one".to_owned());
        }
        match xray.server_names.iter().find(|name| !is_host_name(name)) {
            Some(name) => Err(format!(
                "`xray.server_names`: \"{}\" cannot be the name of a host; use one that the certificate of `xray.dest` \
                 has, such as www.microsoft.com",
                name.escape_debug()
            )),
            None => Ok(()),
        }
    }

    /// Where the front end is, and what systemd calls it.
    fn panel(&self) -> Result<(), String> {
        let panel = &self.panel;
        if let Some(url) = &panel.url {
            url.parse::<FrontEndUrl>()
                .map_err(|error| format!("`panel.url` is \"{}\"; {error}", url.escape_debug()))?;
        }
        if let Some(service) = &panel.service
            && service.parse::<Unit>().is_err()
        {
            return Err(format!(
                "`panel.service` is \"{}\"; use the name of a systemd service, for example \"panel.service\"",
                service.escape_debug()
            ));
        }
        Ok(())
    }

    /// A tracked port must not be one that the product itself listens on: its traffic would be booked to a key.
    fn own_ports(&self) -> Result<(), String> {
        let own = [
            ("http.listen", self.http.listen),
            ("grpc.listen", self.grpc.listen),
            ("metrics.listen", self.metrics.listen),
            ("xray.api_listen", self.xray.api_listen),
        ];
        for (position, (name, address)) in own.iter().enumerate() {
            if self.capture.ports.contains(address.port()) {
                return Err(format!(
                    "`{name}` uses port {}, which `capture.ports` ({}) tracks; move one of them",
                    address.port(),
                    self.capture.ports
                ));
            }
            if let Some((other, _)) = own[..position].iter().find(|(_, other)| collide(*other, *address)) {
                return Err(format!(
                    "`{name}` and `{other}` are both {address}; give them different ports"
                ));
            }
        }
        Ok(())
    }

    /// What answers without a key stays on loopback unless a second setting says otherwise.
    fn exposure(&self) -> Result<(), String> {
        let http = &self.http;
        check_panel(http.listen, http.panel_auth, http.allow_open_panel_on_network).map_err(|_| {
            format!(
                "`http.panel_auth` is \"open\" and `http.listen` is {}: anybody who reaches it could delete keys; \
                 set `http.allow_open_panel_on_network = true` if that is wanted",
                http.listen
            )
        })?;
        if !self.metrics.listen.ip().is_loopback() && !self.metrics.allow_on_network {
            return Err(format!(
                "`metrics.listen` is {} and needs no key; set `metrics.allow_on_network = true` if that is wanted",
                self.metrics.listen
            ));
        }
        Ok(())
    }
}

fn instance(name: &str) -> Result<(), String> {
    let usable = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&name.len()) && name.bytes().all(usable) {
        return Ok(());
    }
    Err(format!(
        "`agent.instance` is \"{}\"; use 1 to 32 of a-z, 0-9 and -",
        name.escape_default()
    ))
}

/// The kernel's rule for interface names: at most 15 bytes, no slash, no white space (`dev_valid_name`).
fn interface_names(interfaces: &Interfaces) -> Result<(), String> {
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
        Some(name) => Err(format!(
            "`capture.interfaces`: \"{}\" cannot be an interface's name",
            name.escape_default()
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
        config.validate().unwrap_err()
    }

    #[test]
    fn defaults_are_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn events_are_kept_within_bounds() {
        let mut config = Config::default();
        (config.events.retention_days, config.events.count_max) = (1, 1_000);
        config.validate().unwrap();
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
        config.validate().unwrap();
        let sentence = refused(|config| config.capture.ports = "10001-42769".parse().unwrap());
        assert_eq!(
            sentence,
            "`capture.ports` has 32769 ports; at most 32768 can be tracked"
        );
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
        config.validate().unwrap();
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
                sentence.starts_with("`xray.server_names`: ") && !sentence.contains('\r'),
                "{sentence}"
            );
        }
        let mut config = Config::default();
        config.xray.server_host = Some("2001:db8::1".into());
        config.xray.dest = "[2001:db8::2]:443".into();
        config.xray.server_names = vec!["localhost".into(), "www.example.com".into()];
        config.validate().unwrap();
    }
}
