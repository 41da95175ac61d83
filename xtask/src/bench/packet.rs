//! `cargo xtask bench packet`: nanoseconds per packet of the kernel programs, beside the same classifier in C.
//!
//! Compiles the C with clang (which Debian's packages provide; installed when it is missing) and runs the bench of
//! agent-ebpf, which explains how it measures.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{command, tools, workspace_root};

/// Options of `cargo xtask bench packet`.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

const SOURCE: &str = "agent-ebpf/benches/classifier.c";
const OBJECT: &str = "target/bpf/classifier-c.bpf.o";

/// The newest clang that Debian 12 and 13 both have; older ones make slower programs.
const CLANG_PACKAGE: &str = "clang-19";

pub(crate) fn run(Arguments {}: &Arguments) -> Result<()> {
    let clang = clang()?;
    let object = compile(&clang)?;
    println!(
        "C compiled by {}",
        command::output(Command::new(&clang).arg("--version"))?
            .lines()
            .next()
            .unwrap_or("?")
    );
    command::run(
        command::cargo()
            .args(["bench", "--quiet", "--package", "portmeter-ebpf", "--bench", "packet"])
            .env("PORTMETER_BENCH_C_OBJECT", object),
    )
}

/// A clang that builds for BPF, installed if need be.
fn clang() -> Result<String> {
    const CANDIDATES: [&str; 4] = ["clang-22", "clang-21", "clang-20", CLANG_PACKAGE];
    let runs = |name: &&str| tools::is_on_path(name);
    if let Some(clang) = CANDIDATES.into_iter().find(runs) {
        return Ok(clang.to_owned());
    }
    tools::install_missing(&[(CLANG_PACKAGE, CLANG_PACKAGE), (CLANG_PACKAGE, "linux-libc-dev")])?;
    ensure!(
        tools::is_on_path(CLANG_PACKAGE),
        "there is no clang to compile {SOURCE} with: install {CLANG_PACKAGE} (or run this as root on Debian)"
    );
    Ok(CLANG_PACKAGE.to_owned())
}

fn compile(clang: &str) -> Result<PathBuf> {
    let object = workspace_root().join(OBJECT);
    std::fs::create_dir_all(object.parent().context("the object has no folder")?)?;
    let mut compiler = Command::new(clang);
    compiler
        .current_dir(workspace_root())
        .args([
            "-O3", "-g", "-Wall", "-Wextra", "-target", "bpf", "-mcpu=v3", "-c", SOURCE, "-o",
        ])
        .arg(&object);
    // Headers that differ between machines are not found when the target is none of them.
    let machine = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    command::run(compiler.arg("-I").arg(machine)).context("compiling the C classifier")?;
    Ok(object)
}
