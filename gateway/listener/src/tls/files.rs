//! Certificates and keys as files have them: PEM.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// A certificate with those of the authorities between it and a root.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates("certificate", path)
}

/// A private key, of whichever form.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read("key", path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::Absent {
        what: "private key",
        path: path.to_owned(),
    })
}

/// The authorities that a file names.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let what = "certificate authority";
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(what, path)? {
        authorities.add(certificate).map_err(|error| TlsError::Unusable {
            what,
            path: path.to_owned(),
            why: error.to_string(),
        })?;
    }
    Ok(authorities)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(what, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| TlsError::Absent {
            what: "certificate",
            path: path.to_owned(),
        })
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    })
}
