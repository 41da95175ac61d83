//! `cargo xtask bench ledger`: what commits, answers and a year of history take, on the disk of the target folder.
//!
//! The measuring itself is agent's bench of the same name, which explains how.

use anyhow::Result;

use super::{machine, portmeter};
use crate::command;

/// Options of `cargo xtask bench ledger`.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(Arguments {}: &Arguments) -> Result<()> {
    machine::describe()?;
    let folder = portmeter::fresh_folder("bench-ledger")?;
    let bench = ["bench", "--quiet", "--package", "portmeter", "--bench", "ledger"];
    command::run(command::cargo().args(bench).env("PORTMETER_BENCH_FOLDER", &folder))?;
    Ok(std::fs::remove_dir_all(folder)?)
}
