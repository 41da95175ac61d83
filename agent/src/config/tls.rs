//! Which certificates the listeners have, and what cannot be meant.

use std::path::PathBuf;

use portmeter_gateway::Limits;
use portmeter_listener::tls::{Protocol, SelfSigned, ServerFiles, ServerTls, TlsError};
use serde::Deserialize;

use super::Config;

/// Whether a listener speaks TLS, and with which certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
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

/// A listener's TLS settings.
#[derive(Debug, Clone, Copy)]
pub struct TlsConfig<'a> {
    /// `http` or `grpc`.
    section: &'static str,
    /// Which certificate.
    pub choice: TlsChoice,
    certificate: Option<&'a PathBuf>,
    key: Option<&'a PathBuf>,
    client_ca: Option<&'a PathBuf>,
    protocol: Protocol,
}

impl Config {
    /// The REST listener's.
    pub fn http_tls(&self) -> TlsConfig<'_> {
        TlsConfig {
            section: "http",
            choice: self.http.tls,
            certificate: self.http.tls_certificate.as_ref(),
            key: self.http.tls_key.as_ref(),
            client_ca: None,
            protocol: Protocol::Http1,
        }
    }

    /// The gRPC listener's.
    pub fn grpc_tls(&self) -> TlsConfig<'_> {
        TlsConfig {
            section: "grpc",
            choice: self.grpc.tls,
            certificate: self.grpc.tls_certificate.as_ref(),
            key: self.grpc.tls_key.as_ref(),
            client_ca: self.grpc.client_ca.as_ref(),
            protocol: Protocol::Http2,
        }
    }

    /// What the REST listener puts up with.
    pub fn http_limits(&self) -> Limits {
        let seconds = std::time::Duration::from_secs;
        Limits {
            connections_max: self.http.connections_max,
            head_bytes_max: self.http.head_bytes_max,
            head_timeout: seconds(self.http.head_timeout_seconds),
            request_timeout: seconds(self.http.request_timeout_seconds),
        }
    }

    /// Reads the certificates that the settings name; one that the first start makes need not be there yet.
    pub fn check_certificates(&self) -> Result<(), TlsError> {
        for tls in [self.http_tls(), self.grpc_tls()] {
            let own = SelfSigned::within(&self.agent.data_dir);
            if tls.choice != TlsChoice::SelfSigned || own.certificate.exists() {
                tls.load(&own)?;
            }
        }
        Ok(())
    }
}

impl TlsConfig<'_> {
    /// Reads the certificate; `own` is where a self-signed one is. `None` where TLS is off.
    pub fn load(&self, own: &SelfSigned) -> Result<Option<ServerTls>, TlsError> {
        let client_ca = self.client_ca.cloned();
        let files = match (self.choice, self.certificate, self.key) {
            (TlsChoice::SelfSigned, ..) => own.server_files(client_ca),
            (TlsChoice::Files, Some(certificate), Some(key)) => ServerFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca,
            },
            // Files without both names are refused with the settings.
            (TlsChoice::Off | TlsChoice::Files, ..) => return Ok(None),
        };
        ServerTls::load(files, self.protocol).map(Some)
    }

    /// One sentence about settings that contradict each other.
    pub(super) fn validate(&self) -> Result<(), String> {
        let Self { section, choice, .. } = *self;
        let named = [("tls_certificate", self.certificate), ("tls_key", self.key)];
        if choice == TlsChoice::Files {
            return match named.iter().find(|(_, path)| path.is_none()) {
                None => Ok(()),
                Some((name, _)) => Err(format!(
                    "`{section}.tls` is \"files\", so `{section}.{name}` must name one"
                )),
            };
        }
        if let Some((name, _)) = named.iter().find(|(_, path)| path.is_some()) {
            return Err(format!(
                "`{section}.{name}` is for nothing unless `{section}.tls` is \"files\"; set that too"
            ));
        }
        if choice == TlsChoice::Off && self.client_ca.is_some() {
            return Err(format!(
                "`{section}.client_ca` asks clients for certificates, which takes TLS: set `{section}.tls` to \"files\" or \
                 \"self-signed\""
            ));
        }
        Ok(())
    }
}

/// One sentence about a limit that would keep everybody out.
pub(super) fn validate_limits(config: &Config) -> Result<(), String> {
    let http = &config.http;
    let within = |name: &str, value: u64, lowest: u64, highest: u64| {
        if (lowest..=highest).contains(&value) {
            Ok(())
        } else {
            Err(format!(
                "`{name}` is {value}; it must be between {lowest} and {highest}"
            ))
        }
    };
    let number = |value: usize| value.try_into().unwrap_or(u64::MAX);
    within("http.connections_max", number(http.connections_max), 1, 1_000_000)?;
    within("http.head_bytes_max", number(http.head_bytes_max), 8192, 1024 * 1024)?;
    within("http.head_timeout_seconds", http.head_timeout_seconds, 1, 3600)?;
    within("http.request_timeout_seconds", http.request_timeout_seconds, 1, 3600)?;
    within(
        "grpc.connections_max",
        number(config.grpc.connections_max),
        1,
        1_000_000,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        let tls = config.http_tls().validate().and_then(|()| config.grpc_tls().validate());
        tls.and_then(|()| validate_limits(&config)).unwrap_err()
    }

    #[test]
    fn half_of_what_tls_takes_is_refused_with_the_other_half_named() {
        let sentence = refused(|config| config.http.tls = TlsChoice::Files);
        assert!(sentence.contains("`http.tls_certificate` must name one"), "{sentence}");
        let sentence = refused(|config| {
            config.grpc.tls = TlsChoice::Files;
            config.grpc.tls_certificate = Some("/c".into());
        });
        assert!(sentence.contains("`grpc.tls_key` must name one"), "{sentence}");
        let sentence = refused(|config| config.http.tls_key = Some("/k".into()));
        assert!(sentence.contains("unless `http.tls` is \"files\""), "{sentence}");
        let sentence = refused(|config| config.grpc.client_ca = Some("/a".into()));
        assert!(sentence.contains("takes TLS"), "{sentence}");
    }

    #[test]
    fn limits_let_somebody_in() {
        assert!(refused(|config| config.http.connections_max = 0).contains("between 1 and"));
        assert!(refused(|config| config.http.head_bytes_max = 100).contains("between 8192 and"));
        assert!(refused(|config| config.grpc.connections_max = 0).contains("grpc.connections_max"));
        assert!(refused(|config| config.http.head_timeout_seconds = 0).contains("head_timeout_seconds"));
    }
}
