//! The accepting side: a configuration made from files, and made again when they change.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::{Error, ServerConfig};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{TlsError, files, fingerprint, provider};
use crate::Stream;

/// How often it is looked whether the files have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The first byte of what a TLS client sends: the record type `handshake` (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Where a server's certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate, with those between it and a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority of which every client must show a certificate; `None`: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, for REST.
    Http1,
    /// HTTP/2, for gRPC.
    Http2,
}

impl Protocol {
    fn alpn(self) -> Vec<Vec<u8>> {
        let name: &[u8] = match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        };
        vec![name.to_vec()]
    }
}

/// A server's side of TLS. A clone is the same one.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: ServerFiles,
    protocol: Protocol,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    fingerprint: String,
}

impl ServerTls {
    /// Reads the files.
    pub fn load(files: ServerFiles, protocol: Protocol) -> Result<Self, TlsError> {
        let loaded = load(&files, protocol)?;
        Ok(Self(Arc::new(Inner {
            files,
            protocol,
            current: ArcSwap::from_pointee(loaded),
        })))
    }

    /// The present certificate's SHA-256 fingerprint as openssl writes it.
    pub fn fingerprint(&self) -> String {
        self.0.current.load().fingerprint.clone()
    }

    /// Where certificate and key are.
    pub fn files(&self) -> &ServerFiles {
        &self.0.files
    }

    /// Does the handshake on an accepted connection.
    pub async fn open(&self, stream: TcpStream) -> io::Result<Stream> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.0.current.load().config));
        let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
        let accepted = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Stream::Accepted(Box::new(accepted)))
    }

    /// Reads the files anew when they change and when the process gets SIGHUP, until `shutdown`. Where they cannot be
    /// used, what there was stays in use and the log says so.
    pub async fn follow(self, shutdown: CancellationToken) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            tracing::warn!("SIGHUP cannot be listened for: new certificates take a restart");
            return;
        };
        let mut seen = self.versions();
        loop {
            let is_asked = tokio::select! {
                _ = hangup.recv() => true,
                () = tokio::time::sleep(LOOK_INTERVAL) => false,
                () = shutdown.cancelled() => return,
            };
            let versions = self.versions();
            if is_asked || versions != seen {
                seen = versions;
                self.reload();
            }
        }
    }

    fn reload(&self) {
        match load(&self.0.files, self.0.protocol) {
            Ok(loaded) => {
                tracing::info!(fingerprint = loaded.fingerprint, "the certificate is read anew");
                self.0.current.store(Arc::new(loaded));
            }
            Err(error) => tracing::warn!(%error, "the earlier certificate stays in use"),
        }
    }

    /// What tells one version of each file from another; a file that is not there has none.
    fn versions(&self) -> Vec<Option<(SystemTime, u64)>> {
        let version = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let ServerFiles {
            certificate,
            key,
            client_ca,
        } = &self.0.files;
        let paths = [Some(certificate), Some(key), client_ca.as_ref()];
        paths.into_iter().flatten().map(|path| version(path)).collect()
    }
}

/// Whether an accepted connection begins as TLS does. Waits for its first byte, which stays where it is; one that ends
/// before is none.
pub(crate) async fn begins_with_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let peek = poll_fn(|context| {
        let mut buffer = tokio::io::ReadBuf::new(&mut first);
        stream.poll_peek(context, &mut buffer)
    });
    let peeked = tokio::time::timeout(HANDSHAKE_TIMEOUT, peek).await;
    let count = peeked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(count == 1 && first[0] == HANDSHAKE_RECORD)
}

impl ServerTls {
    /// Whether an accepted connection begins as TLS does; its first byte stays unread.
    pub async fn is_spoken_on(&self, stream: &TcpStream) -> io::Result<bool> {
        begins_with_tls(stream).await
    }
}

fn load(files: &ServerFiles, protocol: Protocol) -> Result<Loaded, TlsError> {
    let chain = files::chain(&files.certificate)?;
    let key = files::key(&files.key)?;
    let fingerprint = fingerprint(&chain[0]);
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has TLS 1.2 and 1.3");
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let authorities = Arc::new(files::authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| TlsError::Unusable {
                what: "certificate authority",
                path: path.clone(),
                why: error.to_string(),
            })?)
        }
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| refused(error, &files.certificate, &files.key))?;
    config.alpn_protocols = protocol.alpn();
    Ok(Loaded {
        config: Arc::new(config),
        fingerprint,
    })
}

/// What rustls has against a certificate and its key.
pub(super) fn refused(error: Error, certificate: &Path, key: &Path) -> TlsError {
    let (what, path) = match error {
        Error::InconsistentKeys(_) => {
            return TlsError::Mismatch {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            };
        }
        Error::InvalidCertificate(_) => ("certificate", certificate),
        _ => ("key", key),
    };
    TlsError::Unusable {
        what,
        path: path.to_owned(),
        why: error.to_string(),
    }
}
