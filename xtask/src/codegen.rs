//! `cargo xtask codegen`: compiles the .proto files into `proto/src/generated`, and has the agent write what is made from
//! its code: `docs/metrics.md` and the list of metrics that guards it.
//!
//! The results are committed, so that a build needs neither protoc nor this step. `--check` fails when the generated code is
//! stale; the others are compared by the agent's own tests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use prost::Message;

use crate::{command, workspace_root};

const PROTO_FILES: [&str; 12] = [
    "portmeter/v1/backup_service.proto",
    "portmeter/v1/check_service.proto",
    "portmeter/v1/collector_service.proto",
    "portmeter/v1/domain_service.proto",
    "portmeter/v1/event_service.proto",
    "portmeter/v1/history_service.proto",
    "portmeter/v1/key_service.proto",
    "portmeter/v1/port_service.proto",
    "portmeter/v1/settings_service.proto",
    "portmeter/v1/system_service.proto",
    "portmeter/v1/traffic_service.proto",
    "portmeter/v1/xray_service.proto",
];

/// Options of `cargo xtask codegen`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail when the committed code differs from what the .proto files give.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check {
        return check();
    }
    let committed = committed();
    std::fs::create_dir_all(&committed)?;
    generate(&committed)?;
    write_reference()
}

/// Has the test that compares the reference write it.
fn write_reference() -> Result<()> {
    let mut test = command::cargo();
    test.args(["test", "--quiet", "--package", "portmeter", "--test", "metrics"]);
    command::run(test.env("PORTMETER_WRITE_REFERENCE", "1"))
}

fn committed() -> PathBuf {
    workspace_root().join("proto/src/generated")
}

/// Fails when the committed code differs from what the .proto files give.
pub(crate) fn check() -> Result<()> {
    let fresh = workspace_root().join("target/codegen-check");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh)?;
    }
    std::fs::create_dir_all(&fresh)?;
    generate(&fresh)?;
    for entry in std::fs::read_dir(&fresh)? {
        let name = entry?.file_name();
        let stale = std::fs::read(committed().join(&name)).ok() != Some(std::fs::read(fresh.join(&name))?);
        if stale {
            bail!(
                "proto/src/generated/{} is stale: run `cargo xtask codegen` and commit the result",
                name.display()
            );
        }
    }
    Ok(())
}

fn generate(folder: &Path) -> Result<()> {
    let include = workspace_root().join("proto/proto");
    let descriptors = protox::Compiler::new([&include])
        .context("reading proto/proto")?
        .include_source_info(true)
        .include_imports(true)
        .open_files(PROTO_FILES)
        .context("compiling the .proto files")?
        .file_descriptor_set();
    tonic_prost_build::configure()
        .out_dir(folder)
        .compile_fds(descriptors.clone())
        .context("generating Rust code")?;

    // Reflection serves the descriptors; comments are of no use there and would only grow the binary.
    let mut reflected = descriptors;
    for file in &mut reflected.file {
        file.source_code_info = None;
    }
    std::fs::write(folder.join("portmeter.v1.descriptors.bin"), reflected.encode_to_vec())?;
    Ok(())
}
