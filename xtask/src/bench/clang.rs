//! The C that benches compare with, compiled for BPF.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{command, tools, workspace_root};

/// The newest clang that Debian 12 and 13 both have; older ones make slower programs.
const PACKAGE: &str = "clang-19";

/// A clang that builds for BPF.
pub(super) struct Clang(&'static str);

impl Clang {
    /// Finds one, installed if need be.
    pub(super) fn find() -> Result<Self> {
        const CANDIDATES: [&str; 4] = ["clang-22", "clang-21", "clang-20", PACKAGE];
        let runs = |name: &&str| tools::is_on_path(name);
        if let Some(clang) = CANDIDATES.into_iter().find(runs) {
            return Ok(Self(clang));
        }
        tools::install_missing(&[(PACKAGE, PACKAGE), (PACKAGE, "linux-libc-dev")])?;
        ensure!(
            tools::is_on_path(PACKAGE),
            "there is no clang to compile programs with: install {PACKAGE} (or run this as root on Debian)"
        );
        Ok(Self(PACKAGE))
    }

    /// Its version, in one line.
    pub(super) fn version(&self) -> Result<String> {
        let text = command::output(Command::new(self.0).arg("--version"))?;
        Ok(text.lines().next().unwrap_or("?").to_owned())
    }

    /// Compiles `agent-ebpf/benches/<name>.c`; gives the object's path.
    pub(super) fn compile(&self, name: &str) -> Result<PathBuf> {
        let source = format!("agent-ebpf/benches/{name}.c");
        let object = workspace_root().join(format!("target/bpf/{name}-c.bpf.o"));
        std::fs::create_dir_all(object.parent().context("the object has no folder")?)?;
        let mut compiler = Command::new(self.0);
        compiler
            .current_dir(workspace_root())
            .args([
                "-O3", "-g", "-Wall", "-Wextra", "-target", "bpf", "-mcpu=v3", "-c", &source, "-o",
            ])
            .arg(&object);
        // Headers that differ between machines are not found when the target is none of them.
        let machine = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
        command::run(compiler.arg("-I").arg(machine)).with_context(|| format!("compiling {source}"))?;
        Ok(object)
    }
}
