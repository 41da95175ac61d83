//! TLS: certificates from files or made here, servers that follow their files, clients that know one authority.
//!
//! Everything here speaks TLS 1.2 and 1.3 with ring's cryptography, and shows no key in an error or a log.

mod authority;
mod client;
mod files;
mod self_signed;
mod server;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use sha2::{Digest, Sha256};

pub use authority::{CertificateSet, make_set};
pub use client::{ClientFiles, ClientTls};
pub use self_signed::{SELF_SIGNED_FOLDER, SelfSigned, write_private};
pub use server::{Protocol, ServerFiles, ServerTls};

/// Why TLS cannot be had; each text is one sentence that names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the {what} {} cannot be read ({source})", path.display())]
    Unreadable {
        /// `certificate`, `key`, `certificate authority`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("the file {} holds no {what} in PEM form", path.display())]
    Absent {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file holds something that cannot be used.
    #[error("the {what} {} cannot be used ({why})", path.display())]
    Unusable {
        /// `certificate`, `key`, `certificate authority`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate and key are not each other's.
    #[error("the key {} does not belong to the certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A name cannot be a certificate's.
    #[error("\"{}\" cannot be the name of a host in a certificate; use a host name or an address", .0.escape_debug())]
    Name(String),
    /// A certificate could not be made or kept.
    #[error("the certificate {} cannot be made ({why})", path.display())]
    NotMade {
        /// Its file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate's SHA-256 fingerprint as openssl writes it: `AB:CD:…`.
fn fingerprint(certificate: &[u8]) -> String {
    let bytes = Sha256::digest(certificate);
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}
