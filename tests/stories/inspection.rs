//! What a person sees who looks at the kernel with bpftool alone, and whether the page about it holds what it says.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::{self, Agent};
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::traffic::udp;
use portmeter_tests::{bpftool, command, page};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("counters_have_field_names", counters_have_field_names),
    ("programs_have_names", programs_have_names),
    ("the_page_about_bpftool", the_page_about_bpftool),
];

/// The page whose commands are run as they stand.
const PAGE: &str = include_str!("../../docs/bpftool.md");

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

/// Every command of the page, in one shell as a reader would type them, with this agent's folders for the usual ones.
fn the_page_about_bpftool() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    fs::write(agent.data_folder().join("api.key"), agent::API_KEY)?;
    let key = agent.rest().create_key("customer")?;
    ensure!(key.port == 10_001, "the page is about another port than {}", key.port);
    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), key.port),
        &[72, 172],
    )?;

    let blocks = page::blocks(PAGE, "sh");
    let said = page::run_in_one_shell(&agent, &blocks, agent.home(), None)?;
    let lines = |part: &str| -> Result<Vec<&str>> {
        let at = blocks.iter().position(|block| block.contains(part));
        let said = at
            .and_then(|at| said.get(at))
            .with_context(|| format!("no command with {part}"))?;
        Ok(said.lines().collect())
    };
    let expected = r#"{"rx_bytes":300,"rx_packets":2,"tx_bytes":300,"tx_packets":2}"#;
    ensure!(lines("kernel() {")? == [expected], "{said:#?}");
    ensure!(lines("for second in")? == [expected; 3], "{said:#?}");
    ensure!(lines("rest() {")? == [expected; 2], "{said:#?}");
    // Five datagrams of six bytes and their headers.
    let grown = r#"{"rx_bytes":170,"rx_packets":5,"tx_bytes":0,"tx_packets":0}"#;
    ensure!(lines("grown() {")? == [grown; 2], "{said:#?}");
    ensure!(
        lines("bytes() {")?.iter().any(|line| line.contains("\"rx_bytes\"")),
        "{said:#?}"
    );
    let life = agent.grpc()?.state()?.map_life.replace('-', "");
    ensure!(lines("map_life")?.contains(&life.as_str()), "{said:#?}");
    every_pin_is_named(&agent, &lines("find ")?)
}

/// What `find` shows is in the page's table.
fn every_pin_is_named(agent: &Agent<'_>, found: &[&str]) -> Result<()> {
    let maps = agent.pin_folder().join("maps");
    let names = fs::read_dir(&maps)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<String>>>()?;
    for name in names {
        let path = maps.join(&name).display().to_string();
        ensure!(found.contains(&path.as_str()), "find does not show {path}");
        ensure!(
            PAGE.contains(&format!("`maps/{name}`")),
            "the page does not name maps/{name}"
        );
    }
    Ok(())
}
