//! `cargo xtask ebpf`: builds the kernel programs into the object that the agent embeds.
//!
//! The object is committed, so that an ordinary build needs no BPF toolchain. A manifest beside it says what it was
//! built from and with; `--check` holds the two together.

mod build;
mod debian;
mod manifest;
mod source;
mod strip;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::command;
use crate::workspace_root;
use manifest::Manifest;
use toolchain::Toolchain;

const OBJECT: &str = "agent-ebpf/object/portmeter.bpf.o";
const MANIFEST: &str = "agent-ebpf/object/portmeter.bpf.json";

/// Options of `cargo xtask ebpf`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail when the committed object is not what its source gives.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check { check() } else { rebuild() }
}

fn rebuild() -> Result<()> {
    let toolchain = Toolchain::newest()?;
    let linker = toolchain::bpf_linker()?;
    let object = build::build(&toolchain, &linker)?;
    let manifest = Manifest::describe(&object, &toolchain)?;

    let path = workspace_root().join(OBJECT);
    fs::create_dir_all(path.parent().context("the object has no folder")?)?;
    fs::write(&path, &object).with_context(|| format!("writing {}", path.display()))?;
    manifest.write(&workspace_root().join(MANIFEST))?;
    println!("{OBJECT}: {} bytes, built with {}", object.len(), toolchain.identity());
    Ok(())
}

/// Fails when the committed object is not what its source gives.
pub(crate) fn check() -> Result<()> {
    let manifest = Manifest::read(&workspace_root().join(MANIFEST))?;
    let committed = fs::read(workspace_root().join(OBJECT)).with_context(|| format!("reading {OBJECT}"))?;
    ensure!(
        manifest.source_sha256 == source::digest()?,
        "the source of the kernel programs has changed since {OBJECT} was built: run `cargo xtask ebpf` and commit \
         the result"
    );
    ensure!(
        manifest.object_sha256 == manifest::sha256(&committed),
        "{OBJECT} is not the one that {MANIFEST} describes: run `cargo xtask ebpf` and commit the result"
    );

    let same = Toolchain::with_identity(&manifest.compiler)?;
    let toolchain = match &same {
        Some(toolchain) => toolchain,
        None => &Toolchain::newest()?,
    };
    let linker = toolchain::bpf_linker()?;
    let rebuilt = build::build(toolchain, &linker)?;
    if same.is_some() {
        return compare(&committed, &rebuilt);
    }
    println!("{OBJECT} was built with {},", manifest.compiler);
    println!(
        "which is not to be had here; testing what {} makes of the same source instead",
        toolchain.identity()
    );
    test_packets(&keep(&rebuilt)?)
}

fn compare(committed: &[u8], rebuilt: &[u8]) -> Result<()> {
    if committed == rebuilt {
        println!("{OBJECT} is what its source gives");
        return Ok(());
    }
    let path = keep(rebuilt)?;
    bail!(
        "{OBJECT} differs from what the same compiler makes of its source (kept as {}): run `cargo xtask ebpf` and \
         commit the result",
        path.display()
    );
}

/// Keeps a rebuilt object where it can be tested and looked into.
fn keep(object: &[u8]) -> Result<PathBuf> {
    let path = workspace_root().join("target/bpf/rebuilt.bpf.o");
    fs::write(&path, object).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Runs the packet tests over an object; they need root and say so.
fn test_packets(object: &Path) -> Result<()> {
    command::run(
        command::cargo()
            .args(["test", "--package", "portmeter-ebpf", "--test", "kernel"])
            .env("PORTMETER_BPF_OBJECT", object)
            .env("PORTMETER_REQUIRE_ROOT", "1"),
    )
    .context("the packet tests failed with the rebuilt object")
}
