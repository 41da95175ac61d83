//! The `portmeter` binary: reads the command line, runs, and says in one sentence what went wrong.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// Answers are large buffers and thousands of small texts, many times a second, made on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Everything this process makes (ledger, key, socket) is its owner's alone.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let arguments = portmeter::cli::Arguments::parse();
    match portmeter::cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portmeter: {}", portmeter::cli::sentence(&error));
            ExitCode::FAILURE
        }
    }
}
