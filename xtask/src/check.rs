//! `cargo xtask check`: everything that CI asks of the source before it runs any of it. Needs no root.

use anyhow::Result;

use crate::parts::Parts;
use crate::{buf, codegen, command, deny, ebpf};

/// Options of `cargo xtask check`.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments) -> Result<()> {
    let mut parts = Parts::default();
    parts.run("formatting", || {
        cargo(&["fmt", "--all", "--check"])?;
        cargo(&["fmt", "--manifest-path", "agent-ebpf/fuzz/Cargo.toml", "--check"])?;
        cargo(&["fmt", "--manifest-path", "gateway/fuzz/Cargo.toml", "--check"])
    })?;
    parts.run("clippy", || {
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ])
    })?;
    parts.run("lint of the .proto files", buf::lint)?;
    parts.run("generated code", codegen::check)?;
    parts.run("kernel object", ebpf::check)?;
    parts.run("dependencies", deny::check)?;
    parts.report();
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    command::run(command::cargo().args(arguments))
}
