//! A certificate of the server's own, made at its first start and kept.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::authority::{self, Role};
use super::{ServerFiles, TlsError};

/// The folder within the data folder that keeps a self-signed certificate and its key.
pub const SELF_SIGNED_FOLDER: &str = "tls";

/// Where a self-signed certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfSigned {
    /// The certificate, which clients can be given to know the server by.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl SelfSigned {
    /// Where it is within a data folder.
    pub fn within(data_folder: &Path) -> Self {
        let folder = data_folder.join(SELF_SIGNED_FOLDER);
        Self {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        }
    }

    /// Makes it for a server of these names and addresses, unless it is there already: whoever has noted its
    /// fingerprint can rely on it, so it stays as it is also when names change.
    pub fn keep_or_make(&self, names: Vec<String>) -> Result<(), TlsError> {
        // The certificate is written last, so where it is the key is.
        if self.certificate.exists() {
            return Ok(());
        }
        let made = authority::self_signed(names, Role::Server)?;
        let folder = self.certificate.parent().unwrap_or(Path::new("/"));
        let written = make_folder(folder)
            .and_then(|()| write_private(&self.key, &made.key))
            .and_then(|()| write_private(&self.certificate, &made.certificate));
        written.map_err(|error| TlsError::NotMade {
            path: self.certificate.clone(),
            why: error.to_string(),
        })
    }

    /// As a server has it, with the authority of its clients where they must show a certificate.
    pub fn server_files(&self, client_ca: Option<PathBuf>) -> ServerFiles {
        ServerFiles {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_ca,
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
