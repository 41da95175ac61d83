//! What a built object was built from and with.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::source;
use super::toolchain::{BPF_LINKER_VERSION, Toolchain};

/// The file beside the committed object.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Digest of everything that goes into the object, see [`source::digest`].
    pub(super) source_sha256: String,
    /// Digest of the object itself.
    pub(super) object_sha256: String,
    /// Which compiler, as exactly as decides whether another build can be byte for byte the same.
    pub(super) compiler: String,
    /// Which linker.
    pub(super) linker: String,
}

impl Manifest {
    pub(super) fn describe(object: &[u8], toolchain: &Toolchain) -> Result<Self> {
        Ok(Self {
            source_sha256: source::digest()?,
            object_sha256: sha256(object),
            compiler: toolchain.identity().to_owned(),
            linker: format!("bpf-linker {BPF_LINKER_VERSION}"),
        })
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not a manifest", path.display()))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
