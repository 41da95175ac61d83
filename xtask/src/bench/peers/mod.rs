//! `cargo xtask bench peers`: bytes that `kill -9` takes from Portmeter, vnStat and pmacct, in one run of the same
//! traffic.
//!
//! Two namespaces joined by veth; the client sends at a steady rate for the whole of a round, and all contenders count
//! on the server at the same time, each killed and started again a while after its own last save. What each shows in the
//! end is compared with what the kernel has counted. docs/benchmarks.md says more.

mod contender;
mod pmacct;
mod portmeter;
mod report;
mod round;
mod traffic;
mod truth;
mod vnstat;

use std::time::Duration;

use anyhow::{Result, ensure};

use self::report::Outcomes;
use super::lab::{self, Lab};
use super::machine;
use super::portmeter::{build, fresh_folder};
use crate::tools;

/// Options of `cargo xtask bench peers`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; in each everything starts with nothing, is killed once, and is compared with the truth
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds from the last save to the kill; less than a minute, when the next save is due
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=55))]
    seconds_after_save: u64,
    /// vnStat's SaveInterval: 5 is its default, and makes a round take eleven minutes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    vnstat_save_minutes: u64,
}

const TOOLS: [(&str, &str); 5] = [
    ("nft", "nftables"),
    ("sysctl", "procps"),
    ("vnstatd", "vnstat"),
    ("vnstat", "vnstat"),
    ("pmacctd", "pmacct"),
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let tools = [lab::TOOLS.as_slice(), &TOOLS].concat();
    tools::install_missing(&tools)?;
    for (tool, package) in tools {
        ensure!(
            tools::is_on_path(tool),
            "there is no {tool} to measure with: apt-get install {package}"
        );
    }
    build()?;
    machine::describe()?;
    println!(
        "{} rounds, {} bytes a second; killed {} s after the last save, which is every 60 s (vnStat: every {} min)",
        arguments.rounds,
        traffic::BYTES_PER_SECOND,
        arguments.seconds_after_save,
        arguments.vnstat_save_minutes
    );
    let lab = Lab::new()?;
    let plan = round::Plan {
        after_save: Duration::from_secs(arguments.seconds_after_save),
        vnstat_save_interval: Duration::from_secs(arguments.vnstat_save_minutes * 60),
    };
    let mut all = Outcomes::default();
    for number in 1..=arguments.rounds {
        let folder = fresh_folder("bench-peers")?;
        for (title, outcome) in round::run(&lab, &folder, &plan)? {
            report::line(number, title, &outcome);
            all.add(title, outcome);
        }
    }
    report::table(&all);
    Ok(())
}
