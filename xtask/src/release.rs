//! `cargo xtask release`: the program as it is handed out, its digest, and the list of what it is made of.
//!
//! It is built so that the same sources give the same file everywhere and at any time: it is told neither where the sources
//! lie nor where cargo keeps others', nor what time it is. `cargo xtask reproducible` checks that.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{command, sbom, workspace_root};

/// Options of `cargo xtask release`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the files go
    #[arg(long, default_value = "target/distribution")]
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = workspace_root();
    let folder = root.join(&arguments.folder);
    fs::create_dir_all(&folder)?;
    let built = build(&root, &root.join("target/release-build"), "release")?;
    let program = folder.join("portmeter");
    fs::copy(&built, &program).with_context(|| format!("copying {}", built.display()))?;
    let digest = digest(&program)?;
    // As `sha256sum --check` reads it.
    fs::write(folder.join("portmeter.sha256"), format!("{digest}  portmeter\n"))?;
    sbom::write(&folder.join("portmeter.cdx.json"))?;
    println!("{}: SHA-256 {digest}", program.display());
    Ok(())
}

/// Builds the program from the sources in a folder; gives its path below `target`.
pub(crate) fn build(sources: &Path, target: &Path, profile: &str) -> Result<PathBuf> {
    let places = [
        (sources.to_path_buf(), "/portmeter"),
        (target.to_path_buf(), "/target"),
        (cargo_home()?, "/cargo"),
    ];
    command::run(
        command::cargo()
            .current_dir(sources)
            .args(["build", "--locked", "--package", "portmeter", "--profile", profile])
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&places))
            .env("CFLAGS", c_flags(&places))
            .env("SOURCE_DATE_EPOCH", date()),
    )?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target.join(folder).join("portmeter"))
}

/// The hexadecimal SHA-256 of a file.
pub(crate) fn digest(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let digest = Sha256::digest(&bytes);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where cargo keeps the sources of others.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    let named = env::var_os("CARGO_HOME").map(PathBuf::from);
    named
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .context("there is no home folder")
}

/// For rustc, separated as cargo reads them.
fn rust_flags(places: &[(PathBuf, &str)]) -> String {
    let flags = places
        .iter()
        .map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display()));
    flags.collect::<Vec<_>>().join("\x1f")
}

/// For the C compiler, which builds SQLite and the TLS library's assembly.
fn c_flags(places: &[(PathBuf, &str)]) -> String {
    let flags = places
        .iter()
        .map(|(place, name)| format!("-ffile-prefix-map={}={name}", place.display()));
    flags.collect::<Vec<_>>().join(" ")
}

/// When a release is said to be made, by C code that tells (the allocator's does) and by the list of parts, in seconds since
/// 1970: as given, for those who build packages, or 0 (<https://reproducible-builds.org/specs/source-date-epoch/>).
pub(crate) fn date() -> OsString {
    env::var_os("SOURCE_DATE_EPOCH").unwrap_or_else(|| "0".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_is_told_to_a_compiler_without_another_name() {
        let places = [(PathBuf::from("/a/b"), "/portmeter"), (PathBuf::from("/c d"), "/cargo")];
        assert_eq!(
            rust_flags(&places),
            "--remap-path-prefix=/a/b=/portmeter\x1f--remap-path-prefix=/c d=/cargo"
        );
        assert_eq!(c_flags(&places[..1]), "-ffile-prefix-map=/a/b=/portmeter");
    }

    #[test]
    fn a_digest_is_that_of_sha256sum() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "abc").unwrap();
        assert_eq!(
            digest(file.path()).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
