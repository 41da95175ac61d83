//! The asking side: a server of one authority, and a certificate of one's own where the server wants to see one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::server::refused;
use super::{TlsError, files, provider};
use crate::Stream;

/// Where a client's certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authority of which the server must show a certificate, or a self-signed certificate itself.
    pub authority: PathBuf,
    /// The client's own certificate and its key, for servers that ask for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// A client's side of TLS.
#[derive(Debug, Clone)]
pub struct ClientTls {
    files: ClientFiles,
    name: ServerName<'static>,
}

impl ClientTls {
    /// Reads the files once, so that what is wrong with them is known at the start. `host` is the server's name or
    /// address, which its certificate must have.
    pub fn load(files: ClientFiles, host: &str) -> Result<Self, TlsError> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
        config(&files)?;
        Ok(Self { files, name })
    }

    /// Does the handshake on a connection to the server. The files are read for each: certificates that were replaced
    /// are used from the next connection on.
    pub async fn open(&self, stream: TcpStream) -> io::Result<Stream> {
        let config = config(&self.files).map_err(io::Error::other)?;
        let made = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), stream);
        Ok(Stream::Made(Box::new(made.await?)))
    }
}

fn config(files: &ClientFiles) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has TLS 1.2 and 1.3")
        .with_root_certificates(files::authorities(&files.authority)?);
    let mut config = match &files.own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(files::chain(certificate)?, files::key(key)?)
            .map_err(|error| refused(error, certificate, key))?,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
