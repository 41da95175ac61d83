//! Programs that commands call: what is missing is installed where that is possible (root on Debian), and nothing
//! else is.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Installs the Debian packages of those programs that are not on the path; `tools` pairs program and package. Where
/// it cannot install it says what is missing: whether that matters is for the caller to find out.
pub(crate) fn install_missing(tools: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|(tool, _)| !is_on_path(tool)).collect();
    if missing.is_empty() {
        println!("all there");
        return Ok(());
    }
    let tools: Vec<&str> = missing.iter().map(|(tool, _)| *tool).collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    if !is_root()? || !is_on_path("apt-get") {
        println!(
            "missing: {}. On Debian: apt-get install {}",
            tools.join(", "),
            packages.join(" ")
        );
        return Ok(());
    }
    install(&packages)
}

/// Installs Debian packages. Where it cannot, it leaves things as they are.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !is_root()? || !is_on_path("apt-get") {
        return Ok(());
    }
    println!("installing {}", packages.join(" "));
    apt_get(&["update"])?;
    apt_get(&[["install", "--yes", "--no-install-recommends"].as_slice(), packages].concat())
}

/// Whether this is root.
pub(crate) fn is_root() -> Result<bool> {
    Ok(command::output(Command::new("id").arg("-u"))?.trim() == "0")
}

/// Whether a program is on the path.
pub(crate) fn is_on_path(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| fs::metadata(folder.join(tool)).is_ok_and(|metadata| metadata.is_file()))
}

/// Where tools are kept between builds: `PORTMETER_TOOLS_DIR`, otherwise `portmeter` in the user's cache folder.
pub(crate) fn tools_folder() -> Result<PathBuf> {
    let named = env::var_os("PORTMETER_TOOLS_DIR").map(PathBuf::from);
    let cache = || env::var_os("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("portmeter"));
    let home = || env::home_dir().map(|home| home.join(".cache/portmeter"));
    named
        .or_else(cache)
        .or_else(home)
        .context("there is no home folder to keep tools in: set PORTMETER_TOOLS_DIR")
}

/// The program of a crate, built at a pinned version with the versions that its makers built it with, if it is not there
/// yet; that takes minutes.
pub(crate) fn cargo_program(name: &str, version: &str) -> Result<PathBuf> {
    let folder = tools_folder()?.join(format!("{name}-{version}"));
    let program = folder.join("bin").join(name);
    if !program.exists() {
        println!("building {name} {version}");
        command::run(
            command::cargo()
                .args(["install", name, "--locked", "--quiet", "--version", version, "--root"])
                .arg(&folder),
        )
        .with_context(|| format!("installing {name}"))?;
    }
    Ok(program)
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    command::run(
        Command::new("apt-get")
            .args(["--quiet", "--quiet"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}
