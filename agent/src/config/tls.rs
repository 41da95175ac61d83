//! Which certificates the listeners have, and what cannot be meant.

use std::path::PathBuf;

use portmeter_daemon::configuration::Invalid;
use portmeter_gateway::config::{TlsChoice, within};
use portmeter_listener::tls::{Protocol, SelfSigned, ServerFiles, ServerTls, TlsError};

use super::Config;

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

    /// Settings that contradict each other.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        let Self { section, choice, .. } = *self;
        let named = [("tls_certificate", self.certificate), ("tls_key", self.key)];
        if choice == TlsChoice::Files {
            return match named.iter().find(|(_, path)| path.is_none()) {
                None => Ok(()),
                Some((name, _)) => Err(Invalid::new(
                    format!("{section}.tls"),
                    format!("is \"files\", so `{section}.{name}` must name one"),
                )),
            };
        }
        if let Some((name, _)) = named.iter().find(|(_, path)| path.is_some()) {
            return Err(Invalid::new(
                format!("{section}.{name}"),
                format!("is for nothing unless `{section}.tls` is \"files\"; set that too"),
            ));
        }
        if choice == TlsChoice::Off && self.client_ca.is_some() {
            return Err(Invalid::new(
                format!("{section}.client_ca"),
                format!(
                    "asks clients for certificates, which takes TLS: set `{section}.tls` to \"files\" or \"self-signed\""
                ),
            ));
        }
        Ok(())
    }
}

impl Config {
    /// A limit of gRPC's that would keep everybody out.
    pub(super) fn check_grpc_limits(&self) -> Result<(), Invalid> {
        within("grpc.connections_max", self.grpc.connections_max as u64, 1, 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        let tls = config.http_tls().check().and_then(|()| config.grpc_tls().check());
        let all = tls.and_then(|()| config.check_grpc_limits());
        all.unwrap_err().to_string()
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
        assert!(refused(|config| config.grpc.connections_max = 0).contains("grpc.connections_max"));
    }
}
