//! What a person sees who looks at the kernel with bpftool alone.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::traffic::udp;
use portmeter_tests::{bpftool, command};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("counters_have_field_names", counters_have_field_names),
    ("programs_have_names", programs_have_names),
];

fn counters_have_field_names() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), 10_007),
        &[72],
    )?;
    let pin = agent.pin_folder().join("maps/port_counters");
    let shown = command::output(Command::new("bpftool").args(["map", "dump", "pinned"]).arg(&pin))?;
    for field in [
        "\"port\": 10007",
        "\"rx_bytes\": 100",
        "\"rx_packets\": 1",
        "\"tx_bytes\": 100",
        "\"tx_packets\": 1",
    ] {
        ensure!(shown.contains(field), "no {field} in bpftool's view");
    }
    let map = bpftool::map(&pin)?;
    ensure!(map["name"] == "port_counters", "{map}");
    Ok(())
}

fn programs_have_names() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let map = bpftool::map(&agent.pin_folder().join("maps/port_counters"))?;
    let id = map["id"].as_u64().context("the map's id")?;
    let programs = bpftool::programs_using(id)?;
    let names: Vec<&str> = programs.iter().filter_map(|program| program["name"].as_str()).collect();
    for name in ["portmeter_rx", "portmeter_tx"] {
        ensure!(names.contains(&name), "no {name} among {names:?}");
    }
    ensure!(names.iter().all(|name| name.starts_with("portmeter")), "{names:?}");
    Ok(())
}
