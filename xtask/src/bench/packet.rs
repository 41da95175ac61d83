//! `cargo xtask bench packet`: nanoseconds per packet of the kernel programs, beside the same classifier in C.
//!
//! Compiles the C with clang (which Debian's packages provide; installed when it is missing) and runs the bench of
//! agent-ebpf, which explains how it measures.

use anyhow::Result;

use super::clang::Clang;
use crate::command;

/// Options of `cargo xtask bench packet`.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(Arguments {}: &Arguments) -> Result<()> {
    let clang = Clang::find()?;
    let object = clang.compile("classifier")?;
    println!("C compiled by {}", clang.version()?);
    command::run(
        command::cargo()
            .args(["bench", "--quiet", "--package", "portmeter-ebpf", "--bench", "packet"])
            .env("PORTMETER_BENCH_C_OBJECT", object),
    )
}
