//! `portmeter-gateway`: the REST gateway as a program of its own, for a host that has no agent.
//!
//! Owns the process and its exit code. Everything else is the library's.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use portmeter_gateway::cli;

/// Answers are large buffers and thousands of small texts, many times a second, made on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Serves Portmeter's REST interface over an agent's gRPC interface.
#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    arguments: cli::Arguments,
}

#[tokio::main]
async fn main() -> ExitCode {
    portmeter_daemon::memory::keep_to_small_pages();
    match cli::run(CommandLine::parse().arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portmeter-gateway: {}", with_sources(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes in one line.
fn with_sources(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
