//! `portmeter-gateway`: the REST gateway as a program of its own, for a host that has no agent.
//!
//! Owns the process: the log, the signals and the exit code. Everything else is the library's.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use portmeter_gateway::cli;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

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
    let arguments = CommandLine::parse().arguments;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portmeter-gateway: {}", with_sources(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: cli::Arguments) -> Result<(), Box<dyn Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(cli::run(arguments, shutdown).await?)
}

/// The error and its causes in one line.
fn with_sources(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
