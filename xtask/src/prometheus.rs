//! The Prometheus of the tests: Debian's package, with promtool in it, and the OpenMetrics parser of Prometheus's own Python
//! client, pinned.
//!
//! The package is unpacked into the tools' folder and not installed: installing it would start a server on this machine,
//! for everybody to reach.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{apt, command, python, tools};

/// Tells the tests where the server is; promtool and an interpreter with the parser lie beside it.
pub(crate) const VARIABLE: &str = "PORTMETER_PROMETHEUS";

const PACKAGE: &str = "prometheus";
const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// Python's package with the parser. It depends on no other.
const CLIENT: &str = "prometheus-client==0.26.0";

/// The server, fetched if need be. Where it cannot be had this says why and gives `None`: the tests that need it then say
/// so too. In CI, where none may be left out, it is an error at once.
pub(crate) fn server() -> Result<Option<PathBuf>> {
    match fetched() {
        Ok(server) => Ok(Some(server)),
        Err(error) if env::var("CI").is_ok_and(|value| value == "true") => Err(error),
        Err(error) => {
            println!("no Prometheus for the tests: {error:#}");
            Ok(None)
        }
    }
}

fn fetched() -> Result<PathBuf> {
    let folder = tools::tools_folder()?;
    if let Some(whole) = present(&folder)? {
        return Ok(server_in(&whole));
    }
    let version = version()?;
    let folder = folder.join(format!("{PREFIX}{version}"));
    python::make_environment(&folder, |environment| fill(environment, &version))
        .with_context(|| format!("making {}", folder.display()))?;
    Ok(server_in(&folder))
}

/// What the folders begin with; the package's version follows.
const PREFIX: &str = "prometheus-";

/// A folder that is whole already, the newest: nothing has to be asked for then.
fn present(tools: &Path) -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(tools) else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && is_whole(&entry.path()) {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    Ok(found.into_iter().max().map(|(_, folder)| folder))
}

/// The version of Debian's package.
fn version() -> Result<String> {
    if !apt::is_there() {
        bail!("there is no apt to fetch Debian's package {PACKAGE} with");
    }
    if let Some(version) = apt::candidate_version(PACKAGE)? {
        return Ok(version);
    }
    apt::update();
    apt::candidate_version(PACKAGE)?.with_context(|| format!("apt knows no package {PACKAGE}"))
}

fn fill(environment: &Path, version: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (packages, files) = (folder.path().join("packages"), folder.path().join("files"));
    fs::create_dir(&packages)?;
    let wanted = [format!("{PACKAGE}={version}")];
    if apt::download(&wanted, &packages).is_err() {
        // The lists are older than what the archive has now.
        apt::update();
        apt::download(&wanted, &packages)?;
    }
    apt::unpack(&packages, &files)?;
    for program in PROGRAMS {
        let from = files.join("usr/bin").join(program);
        fs::copy(&from, environment.join("bin").join(program))
            .with_context(|| format!("the package has no {}", from.display()))?;
    }
    command::output(&mut python::pip(
        environment,
        &["install", "--only-binary", ":all:", "--no-deps", CLIENT],
    ))?;
    ensure!(is_whole(environment), "this machine cannot run what was fetched");
    Ok(())
}

fn server_in(environment: &Path) -> PathBuf {
    environment.join("bin").join(PROGRAMS[0])
}

fn is_whole(environment: &Path) -> bool {
    let runs = |program| command::output(Command::new(environment.join("bin").join(program)).arg("--version")).is_ok();
    PROGRAMS.into_iter().all(runs) && python::can_import(environment, "prometheus_client.openmetrics.parser")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_programs_is_none() {
        let tools = tempfile::tempdir().unwrap();
        fs::create_dir(tools.path().join(format!("{PREFIX}1.0"))).unwrap();
        assert!(!is_whole(&tools.path().join(format!("{PREFIX}1.0"))));
        assert_eq!(present(tools.path()).unwrap(), None);
        assert_eq!(present(&tools.path().join("nothing")).unwrap(), None);
    }
}
