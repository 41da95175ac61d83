//! What bpftool, a program that knows nothing of this product, finds in its pins.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::agent::Agent;
use crate::command;
use crate::count::{Count, Counts};

/// The counters of every port that saw a packet, summed over the CPUs.
pub fn counts(agent: &Agent<'_>) -> Result<Counts> {
    let mut counts = Counts::new();
    for entry in dump(&agent.pin_folder().join("maps/port_counters"))? {
        let line = &entry["value"];
        let field = |name: &str| {
            line[name]
                .as_u64()
                .with_context(|| format!("no field {name} in {entry}"))
        };
        let port = u16::try_from(field("port")?)?;
        if port == 0 {
            continue;
        }
        let count: &mut Count = counts.entry(port).or_default();
        count.rx_bytes += field("rx_bytes")?;
        count.rx_packets += field("rx_packets")?;
        count.tx_bytes += field("tx_bytes")?;
        count.tx_packets += field("tx_packets")?;
    }
    Ok(counts)
}

/// A port's incoming TCP connections, as the kernel programs count them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelConnections {
    /// Opened while the programs watched.
    pub opened: u64,
    /// There before the programs, and taken over by them.
    pub adopted: u64,
    /// Closed, of the two above.
    pub closed: u64,
}

impl KernelConnections {
    /// Those that are not closed.
    pub fn active(&self) -> Result<u64> {
        let all = self.opened + self.adopted;
        all.checked_sub(self.closed)
            .with_context(|| format!("more were closed than there were: {self:?}"))
    }
}

/// The connections of one port, summed over the CPUs.
pub fn connections(agent: &Agent<'_>, port: u16) -> Result<KernelConnections> {
    let mut sum = KernelConnections::default();
    for entry in dump(&agent.pin_folder().join("maps/port_counters"))? {
        let line = &entry["value"];
        if line["port"].as_u64() != Some(port.into()) {
            continue;
        }
        let field = |name: &str| {
            let value = line[format!("connections_{name}")].as_u64();
            value.with_context(|| format!("no connections_{name} in {entry}"))
        };
        sum.opened += field("opened")?;
        sum.adopted += field("adopted")?;
        sum.closed += field("closed")?;
    }
    Ok(sum)
}

/// The entries of a pinned map as bpftool shows them with the map's own type information.
pub fn dump(map: &Path) -> Result<Vec<Value>> {
    let entries = json(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(map))?;
    let entries = entries
        .as_array()
        .with_context(|| format!("{} is no list", map.display()))?;
    entries
        .iter()
        .map(|entry| {
            entry
                .get("formatted")
                .cloned()
                .with_context(|| format!("no type information: {entry}"))
        })
        .collect()
}

/// Whether a pinned map has an entry with this key.
pub fn has_key(map: &Path, key: &[u8]) -> Result<bool> {
    let entries = json(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(map))?;
    let key: Value = key.iter().map(|byte| format!("{byte:#04x}")).collect();
    Ok(entries
        .as_array()
        .is_some_and(|entries| entries.iter().any(|entry| entry["key"] == key)))
}

/// What bpftool shows of a pinned map.
pub fn map(pin: &Path) -> Result<Value> {
    json(Command::new("bpftool").args(["-j", "map", "show", "pinned"]).arg(pin))
}

/// Every loaded program that uses the map with this id.
pub fn programs_using(map_id: u64) -> Result<Vec<Value>> {
    let programs = json(Command::new("bpftool").args(["-j", "prog", "show"]))?;
    let programs = programs.as_array().context("the programs are no list")?;
    let uses = |program: &&Value| {
        program["map_ids"]
            .as_array()
            .is_some_and(|ids| ids.iter().any(|id| id.as_u64() == Some(map_id)))
    };
    Ok(programs.iter().filter(uses).cloned().collect())
}

fn json(command: &mut Command) -> Result<Value> {
    let text = command::output(command)?;
    serde_json::from_str(&text).with_context(|| format!("bpftool wrote no JSON: {text}"))
}
