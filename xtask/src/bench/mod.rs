//! `cargo xtask bench …`: the figures that the project promises, each measured beside something to compare with.

mod packet;
mod rest;

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Nanoseconds per packet of the kernel programs beside the same classifier in C.
    Packet(packet::Arguments),
    /// Requests per second of the REST gateway beside a bare axum route.
    Rest(rest::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.bench {
        Bench::Packet(arguments) => packet::run(arguments),
        Bench::Rest(arguments) => rest::run(arguments),
    }
}
