//! `cargo xtask bench overhead`: what counting costs the traffic, of Portmeter and of what else counts per port.
//!
//! Two namespaces joined by veth; the client sends, the server is where things count. Contenders take turns, and each
//! measurement is compared with one of "nothing" made right before it, so that a machine whose speed drifts slows both;
//! what counts is the median of those ratios and differences over the rounds. docs/benchmarks.md says more.

mod contender;
mod pmacct;
mod program;
mod report;
mod tcx_nothing;
mod workload;
mod xdp_nothing;

use std::path::Path;

use anyhow::{Result, ensure};

use self::contender::{Active, Contender};
use self::report::Comparison;
use self::workload::{Measured, Workload};
use super::lab::{self, Lab, Offloads};
use super::{machine, portmeter};
use crate::tools;

/// Options of `cargo xtask bench overhead`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; each measures every contender once, and "nothing" before each
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of one measurement of throughput; there are two, TCP and UDP
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Packets of one measurement of CPU time
    #[arg(long, default_value_t = 1_000_000)]
    packets: u32,
    /// Measure only this; may be given several times
    #[arg(long)]
    only: Vec<Contender>,
    /// Measure only with offloads as named
    #[arg(long)]
    offloads: Option<Offloads>,
}

const TOOLS: [(&str, &str); 5] = [
    ("iperf3", "iperf3"),
    ("nft", "nftables"),
    ("pmacctd", "pmacct"),
    ("pmacct", "pmacct"),
    ("bpftool", "bpftool"),
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
    machine::describe()?;
    workload::check_cpu_accounting()?;
    let contenders = if arguments.only.is_empty() {
        Contender::ALL.to_vec()
    } else {
        arguments.only.clone()
    };
    let lab = Lab::new()?;
    let folder = portmeter::fresh_folder("bench-overhead")?;
    if contenders.iter().any(|contender| contender.is_portmeter()) {
        portmeter::build()?;
        contender::make_keys(&lab, &folder)?;
    }
    let workload = Workload::new(&lab, arguments.seconds, arguments.packets)?;
    println!(
        "{} rounds, {} s of TCP and of UDP each, {} packets for CPU time",
        arguments.rounds, arguments.seconds, arguments.packets
    );
    for offloads in [Offloads::Off, Offloads::On] {
        if arguments.offloads.is_some_and(|wanted| wanted != offloads) {
            continue;
        }
        let mut comparisons: Vec<_> = contenders.iter().map(|one| Comparison::new(*one)).collect();
        for round in 1..=arguments.rounds {
            for comparison in &mut comparisons {
                compare(&workload, offloads, comparison, &folder)?;
                comparison.print_last(round);
            }
        }
        report::table(offloads, &comparisons);
    }
    program::report(&lab, &contenders, &folder, arguments.packets)
}

/// One measurement of nothing, then one of the contender.
fn compare(workload: &Workload<'_>, offloads: Offloads, comparison: &mut Comparison, folder: &Path) -> Result<()> {
    workload.lab.set_offloads(offloads)?;
    let nothing = measure(workload, &[])?;
    // A contender that changes the offloads is measured with what it leaves.
    let active = Active::start(comparison.contender, workload.lab, folder)?;
    let with = measure(workload, &active.process_ids())?;
    active.check_counted(workload::PORT)?;
    comparison.add(nothing, with);
    Ok(())
}

fn measure(workload: &Workload<'_>, processes: &[u32]) -> Result<Measured> {
    let tcp_megabits_per_second = workload.tcp_megabits_per_second()?;
    let udp_packets_per_second = workload.udp_packets_per_second()?;
    let cost = workload::small_packets(workload.lab, workload.packets, processes)?;
    Ok(Measured {
        tcp_megabits_per_second,
        udp_packets_per_second,
        cost,
    })
}
