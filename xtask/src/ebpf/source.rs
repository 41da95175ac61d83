//! What the object is made from, as one digest.
//!
//! Everything that goes into it and lies in this workspace: the crate's source and manifest, the `bpf` profile, the
//! versions of the crates it is built with, the compiler's flags. What only its tests need does not, so that adding
//! one needs no rebuild.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::build::FLAGS;
use super::manifest::sha256;
use super::toolchain::BPF_LINKER_VERSION;
use crate::workspace_root;

/// Crates that are compiled into the object, by the starts of their names.
const DEPENDENCIES: [&str; 3] = ["aya-ebpf", "aya-log-common", "aya-log-ebpf"];

/// SHA-256 of everything that the object is made from.
pub(super) fn digest() -> Result<String> {
    let root = workspace_root();
    let mut listing = String::new();
    for path in source_files(&root.join("agent-ebpf/src"))? {
        list_file(&mut listing, &root, &path)?;
    }
    writeln!(listing, "manifest {}", manifest_without_tests(&root)?)?;
    writeln!(listing, "profile {}", bpf_profile(&root)?)?;
    for dependency in locked_dependencies(&root)? {
        writeln!(listing, "crate {dependency}")?;
    }
    writeln!(listing, "flags {FLAGS:?}")?;
    writeln!(listing, "linker {BPF_LINKER_VERSION}")?;
    Ok(sha256(listing.as_bytes()))
}

fn source_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(source_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn list_file(listing: &mut String, root: &Path, path: &Path) -> Result<()> {
    let contents = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    writeln!(
        listing,
        "file {} {}",
        path.strip_prefix(root)?.display(),
        sha256(&contents)
    )?;
    Ok(())
}

fn manifest_without_tests(root: &Path) -> Result<String> {
    let mut manifest = parse_toml(&root.join("agent-ebpf/Cargo.toml"))?;
    let tables = manifest.as_table_mut().context("agent-ebpf/Cargo.toml is empty")?;
    for table in ["bench", "dev-dependencies", "lints", "test"] {
        tables.remove(table);
    }
    Ok(manifest.to_string())
}

fn bpf_profile(root: &Path) -> Result<String> {
    let manifest = parse_toml(&root.join("Cargo.toml"))?;
    let profiles = manifest.get("profile").context("Cargo.toml has no profiles")?;
    let profile = profiles.get("bpf").context("Cargo.toml has no profile `bpf`")?;
    Ok(profile.to_string())
}

fn locked_dependencies(root: &Path) -> Result<Vec<String>> {
    let lock = parse_toml(&root.join("Cargo.lock"))?;
    let packages = lock
        .get("package")
        .and_then(toml::Value::as_array)
        .context("Cargo.lock lists no packages")?;
    let field = |package: &toml::Value, name| package.get(name).and_then(toml::Value::as_str).map(str::to_owned);
    let mut dependencies: Vec<_> = packages
        .iter()
        .filter_map(|package| Some(format!("{} {}", field(package, "name")?, field(package, "version")?)))
        .filter(|dependency| DEPENDENCIES.iter().any(|start| dependency.starts_with(start)))
        .collect();
    dependencies.sort();
    Ok(dependencies)
}

fn parse_toml(path: &Path) -> Result<toml::Value> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.parse().with_context(|| format!("{} is not TOML", path.display()))
}
