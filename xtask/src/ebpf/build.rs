//! One build of the kernel programs, such that the same source and compiler give the same bytes anywhere.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::strip::strip;
use super::toolchain::Toolchain;
use crate::command;
use crate::workspace_root;

const PACKAGE: &str = "portmeter-ebpf";
const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";

/// What the compiler is told, apart from paths.
///
/// - `target-cpu=v3`: 32-bit arithmetic and jumps, understood since kernel 5.3.
/// - `allows-misaligned-mem-access`: headers lie at odd places, and the processors this runs on do not mind; without
///   it every field is put together from single bytes. LLVM before 22 does not know it and goes on without.
/// - `bpf_target_arch`: aya-ebpf wants to know whose registers a tracing program sees. There are none here, so the
///   object is the same for every little-endian machine, and so must be the value.
pub(super) const FLAGS: [&str; 5] = [
    "-Cdebuginfo=2",
    "-Clink-arg=--btf",
    "-Ctarget-cpu=v3",
    "-Ctarget-feature=+allows-misaligned-mem-access",
    "--cfg=bpf_target_arch=\"x86_64\"",
];

/// The crates in the object whose experimental features (assembler for BPF) a stable compiler must let pass. Named
/// rather than allowed for all, because build scripts read a general permission as "this is a nightly compiler".
const EXPERIMENTAL_CRATES: &str = "aya_ebpf,portmeter_ebpf";

/// Builds the programs and returns the object without debug information.
pub(super) fn build(toolchain: &Toolchain, linker: &Path) -> Result<Vec<u8>> {
    let root = workspace_root();
    let target_folder = root.join("target/bpf");
    let mut cargo = toolchain.cargo_build(EXPERIMENTAL_CRATES);
    // Whatever the caller's environment says about flags, wrappers and profiles would end up in the object.
    for (name, _) in env::vars_os() {
        if changes_a_build(&name.to_string_lossy()) {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(&root)
        .args([
            "--locked",
            "--package",
            PACKAGE,
            "--bin",
            PACKAGE,
            "--features",
            "kernel",
        ])
        .args(["--target", TARGET, "--profile", PROFILE, "--target-dir"])
        .arg(&target_folder)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(toolchain, linker)?)
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC", toolchain.rustc())
        // The linker finds the compiler's LLVM here, as does a compiler that is installed nowhere.
        .env("LD_LIBRARY_PATH", toolchain.library_folder());
    command::run(&mut cargo).context("building the kernel programs")?;

    let built = target_folder.join(TARGET).join(PROFILE).join(PACKAGE);
    strip(&fs::read(&built).with_context(|| format!("reading {}", built.display()))?)
}

fn changes_a_build(variable: &str) -> bool {
    const NAMES: [&str; 2] = ["RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER"];
    const PREFIXES: [&str; 3] = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_"];
    NAMES.contains(&variable) || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

/// The flags, with every path that differs between machines replaced by one that does not.
fn rust_flags(toolchain: &Toolchain, linker: &Path) -> Result<String> {
    let mut flags: Vec<_> = FLAGS.iter().map(ToString::to_string).collect();
    flags.push(format!("-Clinker={}", linker.display()));
    for (from, to) in [
        (workspace_root(), "."),
        (crate_sources(toolchain)?, "/crates"),
        (toolchain.sysroot().to_owned(), "/rust"),
    ] {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }
    Ok(flags.join("\x1f"))
}

/// The folder that holds the unpacked sources of the crates in use.
fn crate_sources(toolchain: &Toolchain) -> Result<PathBuf> {
    let output = command::output(
        command::cargo()
            .current_dir(workspace_root())
            .args(["metadata", "--locked", "--format-version", "1"])
            .env("RUSTC", toolchain.rustc())
            .env("LD_LIBRARY_PATH", toolchain.library_folder()),
    )
    .context("asking cargo where the crates' sources are")?;
    let metadata: serde_json::Value = serde_json::from_str(&output)?;
    metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == "aya-ebpf"))
        .and_then(|package| package["manifest_path"].as_str())
        .and_then(|manifest| Path::new(manifest).ancestors().nth(2))
        .map(Path::to_owned)
        .context("cargo does not know the crate aya-ebpf")
}
