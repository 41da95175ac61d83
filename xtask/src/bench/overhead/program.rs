//! Beside the CPU time of a packet as a whole: what the kernel itself says its time in Portmeter's program was
//! (`kernel.bpf_stats_enabled`). Looking at the clock twice a run is part of that figure, some 25 ns.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::contender::{Active, Contender};
use super::workload;
use crate::bench::lab::{Lab, Offloads};
use crate::command;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Statistics of programs, switched on until dropped; they slow every program of the machine.
struct Statistics {
    before: String,
}

impl Statistics {
    fn on() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("reading {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("writing {SWITCH}"))?;
        Ok(Self { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, self.before.trim()) {
            eprintln!("{SWITCH} stays on: {error}");
        }
    }
}

/// Runs and their time, as bpftool shows them.
#[derive(Debug, Clone, Copy, Default)]
struct Runs {
    count: u64,
    time_ns: u64,
}

/// Prints the program's own time for each of Portmeter's forms among `contenders`.
pub(super) fn report(lab: &Lab, contenders: &[Contender], folder: &Path, packets: u32) -> Result<()> {
    for contender in contenders.iter().filter(|contender| contender.is_portmeter()) {
        lab.set_offloads(Offloads::Off)?;
        let active = Active::start(*contender, lab, folder)?;
        let statistics = Statistics::on()?;
        let before = runs()?;
        workload::small_packets(lab, packets, &[])?;
        let after = runs()?;
        drop(statistics);
        drop(active);
        let (name, busiest) = busiest(&before, &after).context("no program has run")?;
        println!(
            "{:<26} {name}: {:.0} ns a run by the kernel's own statistics, of which 20 to 28 are theirs ({} runs)",
            contender.title(),
            busiest.time_ns as f64 / busiest.count as f64,
            busiest.count
        );
    }
    Ok(())
}

/// Of every loaded program, by id.
fn runs() -> Result<BTreeMap<u64, (String, Runs)>> {
    let programs: Value =
        serde_json::from_str(&command::output(Command::new("bpftool").args(["-j", "prog", "show"]))?)?;
    let programs = programs.as_array().context("bpftool shows no list")?;
    Ok(programs
        .iter()
        .filter_map(|program| {
            let figure = |name: &str| program[name].as_u64().unwrap_or_default();
            let runs = Runs {
                count: figure("run_cnt"),
                time_ns: figure("run_time_ns"),
            };
            let name = program["name"].as_str()?.to_owned();
            Some((program["id"].as_u64()?, (name, runs)))
        })
        .collect())
}

/// Of Portmeter's programs the one that ran most in between.
fn busiest(before: &BTreeMap<u64, (String, Runs)>, after: &BTreeMap<u64, (String, Runs)>) -> Option<(String, Runs)> {
    let differences = after.iter().filter_map(|(id, (name, after))| {
        let before = before.get(id).map(|(_, runs)| *runs).unwrap_or_default();
        let runs = Runs {
            count: after.count.checked_sub(before.count)?,
            time_ns: after.time_ns.checked_sub(before.time_ns)?,
        };
        (name.starts_with("portmeter") && runs.count > 0).then(|| (name.clone(), runs))
    });
    differences.max_by_key(|(_, runs)| runs.count)
}
