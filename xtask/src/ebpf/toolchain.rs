//! Compilers that can build for BPF, and the linker.
//!
//! The project's own compiler cannot: rustup's stable toolchains come without the core library for BPF. Debian has a
//! compiler with one ([`super::debian`]); rustup's nightly can build it where its source (rust-src) is installed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::command;
use crate::tools::tools_folder;

/// The version that loads the LLVM of today's compilers.
pub(super) const BPF_LINKER_VERSION: &str = "0.10.3";

/// A compiler that can build for BPF.
pub(super) struct Toolchain {
    identity: String,
    sysroot: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Comes with core for BPF, without cargo.
    Debian,
    /// Builds core from its source with its own cargo.
    Nightly,
}

impl Toolchain {
    /// The best there is on this machine, fetched if need be.
    pub(super) fn newest() -> Result<Self> {
        if let Some(packages) = debian::candidate()? {
            return Self::from_debian(&packages.identity(), packages.install()?);
        }
        if let Some(nightly) = Self::nightly()? {
            return Ok(nightly);
        }
        bail!(
            "no compiler for BPF: either run this on Debian with its package lists up to date (`apt-get update`), \
             or install rustup's nightly with its library source: `rustup toolchain install nightly --component \
             rust-src`"
        )
    }

    /// The one that answers to this identity, if it is to be had.
    pub(super) fn with_identity(identity: &str) -> Result<Option<Self>> {
        for (packages, folder) in debian::installed()? {
            let toolchain = Self::from_debian(&packages, folder)?;
            if toolchain.identity == identity {
                return Ok(Some(toolchain));
            }
        }
        if let Some(packages) = debian::candidate()?
            && debian_identity(&packages.identity())? == identity
        {
            return Ok(Some(Self::from_debian(&packages.identity(), packages.install()?)?));
        }
        Ok(Self::nightly()?.filter(|nightly| nightly.identity == identity))
    }

    /// Compiler, its LLVM, cargo and machine: what decides over the bytes of an object.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    pub(super) fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    pub(super) fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// Where the compiler's own libraries are.
    pub(super) fn library_folder(&self) -> PathBuf {
        self.sysroot.join("lib")
    }

    /// The cargo to build with, told as much as this compiler needs.
    pub(super) fn cargo_build(&self, experimental_crates: &str) -> Command {
        match self.kind {
            Kind::Debian => {
                let mut cargo = command::cargo();
                cargo.arg("build").env("RUSTC_BOOTSTRAP", experimental_crates);
                cargo
            }
            Kind::Nightly => {
                let mut cargo = Command::new(self.sysroot.join("bin/cargo"));
                cargo
                    .args(["build", "-Z", "build-std=core"])
                    .env_remove("RUSTC_BOOTSTRAP");
                cargo
            }
        }
    }

    fn from_debian(packages: &str, folder: PathBuf) -> Result<Self> {
        Ok(Self {
            identity: debian_identity(packages)?,
            sysroot: folder,
            kind: Kind::Debian,
        })
    }

    /// rustup's nightly, when it has the source of the core library.
    fn nightly() -> Result<Option<Self>> {
        let rustc = |arguments: &[&str]| {
            command::output(Command::new("rustup").args(["run", "nightly", "rustc"]).args(arguments)).ok()
        };
        let Some(sysroot) = rustc(&["--print", "sysroot"]) else {
            return Ok(None);
        };
        let sysroot = PathBuf::from(sysroot.trim());
        if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
            return Ok(None);
        }
        let version = rustc(&["--version"]).context("asking rustup's nightly for its version")?;
        let identity = format!("{} ({})", version.trim(), env::consts::ARCH);
        Ok(Some(Self {
            identity,
            sysroot,
            kind: Kind::Nightly,
        }))
    }
}

/// Debian's compiler is driven by the project's cargo, whose version is part of every symbol's name.
fn debian_identity(packages: &str) -> Result<String> {
    let version = command::output(command::cargo().arg("--version"))?;
    let cargo: Vec<_> = version.split_whitespace().take(2).collect();
    Ok(format!("{packages}, {} ({})", cargo.join(" "), env::consts::ARCH))
}

/// The linker's path, built first if it is not there yet (about two minutes).
pub(super) fn bpf_linker() -> Result<PathBuf> {
    let folder = tools_folder()?.join(format!("bpf-linker-{BPF_LINKER_VERSION}"));
    let linker = folder.join("bin/bpf-linker");
    if !linker.exists() {
        command::run(
            command::cargo()
                .args([
                    "install",
                    "bpf-linker",
                    "--locked",
                    "--version",
                    BPF_LINKER_VERSION,
                    "--root",
                ])
                .arg(&folder),
        )
        .context("installing bpf-linker")?;
    }
    Ok(linker)
}
