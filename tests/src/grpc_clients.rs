//! Other people's gRPC clients: grpcurl, and Python with grpcio.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::needs;

/// Where the stories' programs in Python lie.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/grpc");

/// The clients, to be called by their usual names from one folder.
#[derive(Debug)]
pub struct GrpcClients {
    folder: TempDir,
}

impl GrpcClients {
    /// Fails where they are not installed.
    pub fn new() -> Result<Self> {
        let grpcurl = needs::grpcurl()?;
        let python = grpcurl.parent().context("grpcurl lies in no folder")?.join("python3");
        let folder = tempfile::tempdir()?;
        let (programs, copy) = (folder.path().join("bin"), folder.path().join("grpcurl"));
        fs::create_dir(&programs)?;
        // It comes from a package that nobody answers for, so it runs as nobody, who must be able to reach it.
        fs::copy(&grpcurl, &copy)?;
        for path in [folder.path(), &programs, &copy] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        let as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs";
        write_wrapper(&programs.join("grpcurl"), &format!("{as_nobody} {}", copy.display()))?;
        write_wrapper(&programs.join("python3"), &python.display().to_string())?;
        Ok(Self { folder })
    }

    /// The folder to look for programs in.
    pub fn programs(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// grpcurl.
    pub fn grpcurl(&self) -> Command {
        Command::new(self.programs().join("grpcurl"))
    }

    /// A program of the stories' in Python.
    pub fn script(&self, name: &str) -> Command {
        let mut python = Command::new(self.programs().join("python3"));
        // Nothing is to be left in the source tree.
        python.arg("-B").arg(Path::new(SCRIPTS).join(name));
        python
    }
}

fn write_wrapper(path: &Path, command: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\nexec {command} \"$@\"\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
