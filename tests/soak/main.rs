//! A soak: a real agent, with a real core where there is one, under everything at once for as long as one likes: keys that
//! come and go, traffic, scrapes, panels, an operator; and restarts, kills, upgrades of the agent and kills of its core.
//!
//! In the end not a byte is lost, of any port or key, and nothing has grown. `cargo xtask soak` builds what it needs and
//! starts it. The seed decides what is done in which order; the moments are the machine's, so a seed that has found
//! something may have to be tried more than once.

mod acts;
mod booked;
mod choices;
mod curtain;
mod customer;
mod disturbances;
mod plan;
mod readers;
mod resources;
mod storm;
mod subject;
mod tally;
mod traffic;
mod world;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use portmeter_tests::agent;
use portmeter_tests::needs::{self, Lacking};

use plan::Plan;

/// Options of a soak.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long it takes, with the rests in between
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// What all choices come from; any when it is left out
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("soak of {} minute(s), --seed {seed}", arguments.minutes);
    match soak(&Plan::of_minutes(arguments.minutes), seed) {
        Ok(()) => {
            println!("nothing lost, nothing grown");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}\n{}", agent::take_logs().join("\n"));
            eprintln!("the soak with --seed {seed} has failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(plan: &Plan, seed: u64) -> Result<()> {
    agent::binary().context("there is no portmeter binary to test: run `cargo xtask soak`")?;
    acts::can_play()?;
    let with_core = match needs::xray() {
        Ok(_) => true,
        Err(error) if error.is::<Lacking>() => {
            println!("without a core: {error}");
            false
        }
        Err(error) => return Err(error),
    };
    acts::play(plan, seed, with_core)
}
