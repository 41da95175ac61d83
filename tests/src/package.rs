//! The Debian package, and later ones made from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;

/// The same package as a later revision: other programs' package managers know a version by its number alone.
pub fn later(package: &Path, folder: &Path) -> Result<PathBuf> {
    let unpacked = folder.join("unpacked");
    command::output(dpkg_deb("--raw-extract").arg(package).arg(&unpacked))?;
    let control = unpacked.join("DEBIAN/control");
    let text = fs::read_to_string(&control).with_context(|| format!("reading {}", control.display()))?;
    let lines = text.lines().map(|line| match line.strip_prefix("Version: ") {
        Some(version) => format!("Version: {version}+later\n"),
        None => format!("{line}\n"),
    });
    let later: String = lines.collect();
    ensure!(later != text, "the package has no version");
    fs::write(&control, later)?;
    let built = folder.join("later.deb");
    // Little compression is quick, and nobody keeps it.
    let mut build = dpkg_deb("--build");
    build.args(["--root-owner-group", "-Zgzip", "-z1"]);
    command::output(build.arg(&unpacked).arg(&built))?;
    Ok(built)
}

/// Its version.
pub fn version(package: &Path) -> Result<String> {
    let shown = command::output(dpkg_deb("--field").arg(package).arg("Version"))?;
    Ok(shown.trim().to_owned())
}

fn dpkg_deb(action: &str) -> Command {
    let mut command = Command::new("dpkg-deb");
    command.arg(action);
    command
}
