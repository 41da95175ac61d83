//! `cargo xtask bench …`: the figures that the project promises, each measured beside something to compare with.

mod agent;
mod clang;
mod keys;
mod lab;
mod ledger;
mod machine;
mod nftables;
mod overhead;
mod packet;
mod peers;
mod portmeter;
mod process;
mod rest;
mod scrape;
mod statistics;

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
    /// What the agent takes: memory, CPU time, the time of one sample.
    Agent(agent::Arguments),
    /// What making and deleting a key takes, beside a restart of the core for each change.
    Keys(keys::Arguments),
    /// What commits, answers and a year of history take.
    Ledger(ledger::Arguments),
    /// What counting costs the traffic, beside nftables and pmacct.
    Overhead(overhead::Arguments),
    /// Nanoseconds per packet of the kernel programs beside the same classifier in C.
    Packet(packet::Arguments),
    /// Bytes that `kill -9` takes from Portmeter, vnStat and pmacct.
    Peers(peers::Arguments),
    /// Requests per second of the REST gateway beside a bare axum route.
    Rest(rest::Arguments),
    /// What a scrape of the metrics takes, with many ports and keys.
    Scrape(scrape::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.bench {
        Bench::Agent(arguments) => agent::run(arguments),
        Bench::Keys(arguments) => keys::run(arguments),
        Bench::Ledger(arguments) => ledger::run(arguments),
        Bench::Overhead(arguments) => overhead::run(arguments),
        Bench::Packet(arguments) => packet::run(arguments),
        Bench::Peers(arguments) => peers::run(arguments),
        Bench::Rest(arguments) => rest::run(arguments),
        Bench::Scrape(arguments) => scrape::run(arguments),
    }
}
