//! The version is the same wherever it is shown.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::{self, Agent};
use portmeter_tests::doctor::Diagnosis;
use portmeter_tests::network::Pair;
use portmeter_tests::{command, metrics};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[("every_face_shows_the_same_version", every_face_shows_the_same_version)];

/// That of the workspace, and so of the package.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const CHANGELOG: &str = include_str!("../../CHANGELOG.md");

fn every_face_shows_the_same_version() -> Result<()> {
    let binary = agent::binary().context("the binary")?;
    let said = command::output(Command::new(binary).arg("--version"))?;
    ensure!(said == format!("portmeter {VERSION}\n"), "{said}");

    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let greeting = agent.read_log("stdout");
    ensure!(greeting.starts_with(&format!("Portmeter {VERSION}\n")), "{greeting}");
    let over_grpc = agent.grpc()?.version()?;
    ensure!(over_grpc == VERSION, "gRPC shows {over_grpc}");
    let document = agent.rest().shown("/api/openapi.json")?;
    ensure!(document["info"]["version"] == VERSION, "{}", document["info"]);
    let (_, _, scraped) = metrics::get(&pair.server, "/metrics", "*/*")?;
    let line = format!("portmeter_build_info{{version=\"{VERSION}\"}} 1");
    ensure!(scraped.lines().any(|found| found == line), "no {line} in\n{scraped}");
    Diagnosis::of(&agent)?.expect("agent", "ok", &format!("version {VERSION} runs"))?;

    let newest = CHANGELOG.lines().find_map(|line| line.strip_prefix("## "));
    let newest = newest.and_then(|heading| heading.split([',', ' ']).next());
    ensure!(newest == Some(VERSION), "the changelog begins with {newest:?}");
    Ok(())
}
