//! `cargo xtask fuzz`: fuzzes the packet parser on this machine (libFuzzer, by way of cargo-fuzz).
//!
//! No nightly compiler is needed: without a sanitizer, which code without `unsafe` has no use for, cargo-fuzz asks for
//! nothing that the project's compiler does not have. A C++ compiler is, for libFuzzer itself.
//!
//! What a run finds worth keeping goes to `target/fuzz`, never into the committed corpus by itself: `--keep` brings the
//! smallest set of inputs there that reaches all that is reached.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, tools, workspace_root};

const CARGO_FUZZ_VERSION: &str = "0.13.2";
const TARGET: &str = "parser";
const FOLDER: &str = "agent-ebpf/fuzz";
/// The committed corpus, replayed by agent-ebpf's test `corpus`.
const CORPUS: &str = "agent-ebpf/fuzz/corpus/parser";
/// Inputs that once broke a rule, kept by hand under the name of what they showed.
const REGRESSIONS: &str = "agent-ebpf/fuzz/regressions/parser";
const WORK_FOLDER: &str = "target/fuzz";

/// Longest input: room for a long chain of extension headers, or for eight short packets.
const INPUT_BYTES_MAX: u32 = 1_024;

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many inputs to try
    #[arg(long, default_value_t = 500_000)]
    runs: u64,
    /// Afterwards make the committed corpus the smallest one that reaches all that was reached
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let cargo_fuzz = cargo_fuzz()?;
    let seeds = folder(&format!("{WORK_FOLDER}/seeds"))?;
    write_seeds(&seeds)?;
    let found = folder(&format!("{WORK_FOLDER}/corpus"))?;
    let corpora = [found, folder(CORPUS)?, folder(REGRESSIONS)?, seeds];
    fuzz(&cargo_fuzz, &corpora, &[format!("-runs={}", arguments.runs)])?;
    if arguments.keep {
        keep(&cargo_fuzz, &corpora)?;
    }
    Ok(())
}

/// Replaces the committed corpus by what libFuzzer picks from all of them.
fn keep(cargo_fuzz: &Path, corpora: &[PathBuf]) -> Result<()> {
    let merged = empty_folder(&format!("{WORK_FOLDER}/merged"))?;
    let into_merged: Vec<_> = [merged.clone()].into_iter().chain(corpora.to_vec()).collect();
    // Without counters an input has to reach another branch to be kept, not one more often: hundreds instead of thousands.
    fuzz(
        cargo_fuzz,
        &into_merged,
        &["-merge=1".to_owned(), "-use_counters=0".to_owned()],
    )?;

    let committed = empty_folder(CORPUS)?;
    for entry in fs::read_dir(&merged)? {
        let entry = entry?;
        fs::copy(entry.path(), committed.join(entry.file_name())).context("keeping an input")?;
    }
    println!("{CORPUS}: {} inputs", fs::read_dir(&committed)?.count());
    Ok(())
}

/// Runs the target. libFuzzer writes to the first corpus and reads all of them.
fn fuzz(cargo_fuzz: &Path, corpora: &[PathBuf], options: &[String]) -> Result<()> {
    command::run(
        Command::new(cargo_fuzz)
            .current_dir(workspace_root())
            .args(["fuzz", "run", "--fuzz-dir", FOLDER, "--target-dir", WORK_FOLDER])
            .args(["--sanitizer", "none", TARGET])
            .args(corpora)
            .arg("--")
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .args(options),
    )
    .context("an input broke a rule, or the target does not build; the input is in agent-ebpf/fuzz/artifacts/parser")
}

fn write_seeds(folder: &Path) -> Result<()> {
    command::run(
        command::cargo()
            .args([
                "run",
                "--quiet",
                "--package",
                "portmeter-ebpf",
                "--example",
                "fuzz_seeds",
                "--",
            ])
            .arg(folder),
    )
    .context("writing what the fuzzer starts from")
}

fn folder(path: &str) -> Result<PathBuf> {
    let folder = workspace_root().join(path);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

fn empty_folder(path: &str) -> Result<PathBuf> {
    let emptied = folder(path)?;
    fs::remove_dir_all(&emptied).with_context(|| format!("emptying {}", emptied.display()))?;
    folder(path)
}

/// cargo-fuzz's path, built first if it is not there yet (about two minutes).
fn cargo_fuzz() -> Result<PathBuf> {
    let folder = tools::tools_folder()?.join(format!("cargo-fuzz-{CARGO_FUZZ_VERSION}"));
    let program = folder.join("bin/cargo-fuzz");
    if !program.exists() {
        command::run(
            command::cargo()
                .args([
                    "install",
                    "cargo-fuzz",
                    "--locked",
                    "--version",
                    CARGO_FUZZ_VERSION,
                    "--root",
                ])
                .arg(&folder),
        )
        .context("installing cargo-fuzz")?;
    }
    Ok(program)
}
