//! Development commands, one file each: `cargo xtask <command>`.

mod apt;
mod bench;
mod buf;
mod check;
mod checkout;
mod codegen;
mod command;
mod deb;
mod deny;
mod ebpf;
mod fuzz;
mod grpc_clients;
mod kernel;
mod parts;
mod prometheus;
mod python;
mod release;
mod reproducible;
mod sbom;
mod schemathesis;
mod soak;
mod test;
mod tools;
mod xray;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Portmeter's development commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure what the project promises.
    Bench(bench::Arguments),
    /// Check formatting, lints, the .proto files, generated code, the kernel object and the dependencies.
    Check(check::Arguments),
    /// Generate the Rust code of the .proto files (no protoc needed), and the reference of the metrics.
    Codegen(codegen::Arguments),
    /// Build the Debian package, with manual pages and completions.
    Deb(deb::Arguments),
    /// Build the kernel programs into the object that the agent embeds.
    Ebpf(ebpf::Arguments),
    /// Fuzz the packet parser and the REST routes.
    Fuzz(fuzz::Arguments),
    /// Build the program as it is handed out, with its list of parts.
    Release(release::Arguments),
    /// Build that twice at different places and compare the two.
    Reproducible(reproducible::Arguments),
    /// Write the list of everything that the program is made of (CycloneDX).
    Sbom(sbom::Arguments),
    /// Ask a real agent whatever its OpenAPI document allows, and what it does not.
    Schemathesis(schemathesis::Arguments),
    /// Keep a real agent under load, restarts and kills for minutes, and compare every byte.
    Soak(soak::Arguments),
    /// Install what the tests need and run all of them.
    Test(test::Arguments),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Codegen(arguments) => codegen::run(&arguments),
        Command::Deb(arguments) => deb::run(&arguments),
        Command::Ebpf(arguments) => ebpf::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Release(arguments) => release::run(&arguments),
        Command::Reproducible(arguments) => reproducible::run(&arguments),
        Command::Sbom(arguments) => sbom::run(&arguments),
        Command::Schemathesis(arguments) => schemathesis::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
    }
}

/// The folder of the workspace's `Cargo.toml`.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
        .to_path_buf()
}
