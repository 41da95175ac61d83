//! `cargo xtask bench rest`: requests per second and latency of the REST gateway in a real `portmeter run`, beside a
//! bare axum route that returns the same bytes, and beside the same routes as a FastAPI program over SQLite has them.
//!
//! One load generator (wrk) shares the machine with the server under test. Two servers take turns within each round, so
//! that a machine whose speed drifts slows both; what counts is the ratio of medians.

mod bare;
mod fastapi;
mod past;
mod wrk;

use anyhow::{Result, ensure};

use super::lab;
use super::machine;
use crate::tools;

/// Options of `cargo xtask bench rest`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; each measures every server once for every route.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Only one of the comparisons.
    #[arg(long, value_enum)]
    only: Option<Peer>,
    /// Only routes whose path contains this.
    #[arg(long, default_value = "")]
    route: String,
}

/// What the gateway is measured beside.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Peer {
    /// An axum route that returns the same bytes.
    Bare,
    /// FastAPI and uvicorn over SQLite; takes root.
    Fastapi,
}

/// The goal for the slowest answer but one in a hundred.
const P99_MAX_MS: f64 = 10.0;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let tools = lab::TOOLS.into_iter().chain([("wrk", "wrk")]);
    tools::install_missing(&tools.collect::<Vec<_>>())?;
    ensure!(
        tools::is_on_path("wrk"),
        "there is no wrk to make the load with: apt-get install wrk"
    );
    super::portmeter::build()?;
    machine::describe()?;
    if arguments.only != Some(Peer::Fastapi) {
        bare::run(arguments)?;
    }
    if arguments.only != Some(Peer::Bare) {
        fastapi::run(arguments)?;
    }
    Ok(())
}
