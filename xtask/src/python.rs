//! Virtual environments for what the tests need of Python's packages.
//!
//! One is made beside its place and moved there when it is whole, so that nothing broken off is ever taken for one. It is
//! made without root; Debian's package for virtual environments is installed where it is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, tools};

/// The interpreter of an environment.
pub(crate) fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python3")
}

/// Whether the interpreter of an environment can import these modules.
pub(crate) fn can_import(environment: &Path, modules: &str) -> bool {
    let import = format!("import {modules}");
    command::output(Command::new(interpreter(environment)).args(["-c", &import])).is_ok()
}

/// Makes an environment with what `fill` installs into it; what was at its place before is replaced.
pub(crate) fn make_environment(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    install_python()?;
    let parent = folder.parent().context("the tools' folder has no parent")?;
    fs::create_dir_all(parent)?;
    let unfinished = tempfile::Builder::new().prefix(".python-").tempdir_in(parent)?;
    let environment = unfinished.path().join("environment");
    command::output(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    fill(&environment)?;
    if folder.exists() {
        fs::rename(folder, unfinished.path().join("replaced"))?;
    }
    fs::rename(&environment, folder)?;
    Ok(())
}

/// `pip` of an environment.
pub(crate) fn pip(environment: &Path, arguments: &[&str]) -> Command {
    let mut pip = Command::new(interpreter(environment));
    pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"])
        .args(arguments);
    pip
}

/// Debian has Python without virtual environments.
fn install_python() -> Result<()> {
    if !tools::is_on_path("python3") {
        tools::install(&["python3"])?;
    }
    let has_environments = || command::output(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_ok();
    if !has_environments() {
        tools::install(&["python3-venv"])?;
    }
    if !has_environments() {
        bail!("there is no python3 with virtual environments. On Debian: apt-get install python3 python3-venv");
    }
    Ok(())
}
