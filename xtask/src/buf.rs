//! The lint of the .proto files: buf's STANDARD rules (`proto/buf.yaml`), by a pinned program from its npm package.
//!
//! The package is installed beside its place and moved there when it is whole, so that nothing broken off is ever taken
//! for it. Its scripts are not run: they are of no use here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, tools, workspace_root};

/// The package that holds the program for each platform, and its version.
const PACKAGE: &str = "@bufbuild/buf";
const PACKAGE_VERSION: &str = "1.75.0";

/// Set where nothing may be left out.
const NOTHING_LEFT_OUT: &str = "CI";

/// Fails when a .proto file breaks a rule. Where the program cannot be had this says why and leaves the lint out; in CI,
/// where nothing may be, that is an error.
pub(crate) fn lint() -> Result<()> {
    let is_ci = env::var(NOTHING_LEFT_OUT).is_ok_and(|value| value == "true");
    match installed(is_ci) {
        Ok(program) => lint_in(&program, &workspace_root().join("proto")),
        Err(error) if is_ci => Err(error),
        Err(error) => {
            println!("left out, there is no buf: {error:#}");
            Ok(())
        }
    }
}

fn lint_in(program: &Path, folder: &Path) -> Result<()> {
    command::run(Command::new(program).arg("lint").current_dir(folder))
}

/// The program, installed if need be; npm itself only where it may be.
fn installed(with_npm: bool) -> Result<PathBuf> {
    let folder = tools::tools_folder()?.join(format!("buf-{PACKAGE_VERSION}"));
    let program = folder.join("node_modules/.bin/buf");
    if !is_whole(&program) {
        if with_npm && !tools::is_on_path("npm") {
            tools::install(&["npm"])?;
        }
        println!("installing {PACKAGE} {PACKAGE_VERSION}");
        make(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    Ok(program)
}

fn is_whole(program: &Path) -> bool {
    command::output(Command::new(program).arg("--version")).is_ok_and(|version| version.trim() == PACKAGE_VERSION)
}

/// Installs the package under another name and gives the folder its own when it is whole; what was there is replaced.
fn make(folder: &Path) -> Result<()> {
    if !tools::is_on_path("npm") {
        bail!("there is no npm. On Debian: apt-get install npm");
    }
    let parent = folder.parent().context("the tools' folder has no parent")?;
    fs::create_dir_all(parent)?;
    let unfinished = tempfile::Builder::new().prefix(".buf-").tempdir_in(parent)?;
    let made = unfinished.path().join("made");
    fs::create_dir(&made)?;
    command::output(
        Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--no-save"])
            .args(["--ignore-scripts", "--prefix"])
            .arg(&made)
            .arg(format!("{PACKAGE}@{PACKAGE_VERSION}")),
    )?;
    if !is_whole(&made.join("node_modules/.bin/buf")) {
        bail!("{PACKAGE} {PACKAGE_VERSION} does not run on this machine");
    }
    if folder.exists() {
        fs::rename(folder, unfinished.path().join("replaced"))?;
    }
    fs::rename(&made, folder)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lint that lets everything pass would be none. Left out where the program was never installed.
    #[test]
    fn a_file_that_breaks_a_rule_is_told() {
        let Some(program) = tools::tools_folder()
            .ok()
            .map(|folder| folder.join(format!("buf-{PACKAGE_VERSION}/node_modules/.bin/buf")))
            .filter(|program| is_whole(program))
        else {
            println!("left out: `cargo xtask check` has installed no buf yet");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let rules = fs::read_to_string(workspace_root().join("proto/buf.yaml")).unwrap();
        fs::write(folder.path().join("buf.yaml"), rules).unwrap();
        let package = folder.path().join("proto/portmeter/v1");
        fs::create_dir_all(&package).unwrap();
        let write = |text: &str| fs::write(package.join("a.proto"), text).unwrap();
        let head = "syntax = \"proto3\";\npackage portmeter.v1;\n";
        write(&format!("{head}message Good {{ string good_name = 1; }}\n"));
        lint_in(&program, folder.path()).unwrap();
        write(&format!("{head}message Bad {{ string badName = 1; }}\n"));
        assert!(lint_in(&program, folder.path()).is_err());
    }
}
