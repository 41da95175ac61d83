//! What apt knows of Debian's packages, and packages fetched without being installed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Whether this machine has apt.
pub(crate) fn is_there() -> bool {
    Command::new("apt-cache").arg("--version").output().is_ok()
}

/// Fetches the package lists. Only root can: for anyone else whatever comes next gives the answer.
pub(crate) fn update() {
    let _ = command::output(Command::new("apt-get").arg("update"));
}

/// The version that apt would install; `None` where it knows none.
pub(crate) fn candidate_version(package: &str) -> Result<Option<String>> {
    let policy = command::output(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"))?;
    Ok(policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
        .map(str::to_owned))
}

/// The one package that `package` depends on and whose name starts so.
pub(crate) fn dependency(package: &str, prefix: &str) -> Result<String> {
    let depends = command::output(Command::new("apt-cache").args(["depends", package]).env("LC_ALL", "C"))?;
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("Debian's {package} depends on no {prefix}…"))
}

/// Fetches packages into `folder`, each as `name` or `name=version`. Needs no rights.
pub(crate) fn download(packages: &[String], folder: &Path) -> Result<()> {
    println!("fetching {}", packages.join(" "));
    command::output(
        Command::new("apt-get")
            .arg("download")
            .args(packages)
            .current_dir(folder),
    )?;
    Ok(())
}

/// Unpacks every package in `folder` to `to`.
pub(crate) fn unpack(folder: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            command::output(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(to))?;
        }
    }
    Ok(())
}
