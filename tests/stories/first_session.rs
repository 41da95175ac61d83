//! The first session: what a start prints, typed into a second terminal as it stands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::command;
use portmeter_tests::network::Pair;
use serde_json::Value;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[("the_printed_commands_work", the_printed_commands_work)];

/// 100 datagrams of 1,000 bytes and their headers.
const SENT_BYTES: u64 = 100 * 1_028;

fn the_printed_commands_work() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.without_api_key();
    agent.start()?;
    let printed = agent.read_log("stdout");
    let lines = printed.lines().count();
    ensure!(lines <= 24, "{lines} lines do not fit a terminal:\n{printed}");
    for fact in [
        "eth0",
        "http://127.0.0.1:8000",
        "127.0.0.1:50051",
        "agent.sock",
        "api.key",
    ] {
        ensure!(printed.contains(fact), "nothing about {fact} in\n{printed}");
    }
    let commands: Vec<&str> = printed.split("\n\n").filter(|text| is_command(text)).collect();
    ensure!(commands.len() == 3, "{} commands in\n{printed}", commands.len());

    let key: Value = serde_json::from_str(&typed(&agent, commands[0])?).context("the first command's answer")?;
    let port = key["port"].as_u64().with_context(|| format!("no port in {key}"))?;
    typed(&agent, commands[1])?;
    let traffic: Value = serde_json::from_str(&typed(&agent, commands[2])?).context("the third command's answer")?;
    let shown = &traffic["data"]["ports"][port.to_string()];
    ensure!(
        shown["rx_bytes"] == SENT_BYTES && shown["tx_bytes"] == 0,
        "{SENT_BYTES} bytes were sent: {shown}"
    );

    let mode = fs::metadata(agent.data_folder().join("api.key"))?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "the API key's file has mode {mode:o}");
    Ok(())
}

/// The printed text's paragraphs are commands or prose.
fn is_command(paragraph: &str) -> bool {
    ["curl ", "bash "]
        .iter()
        .any(|start| paragraph.trim_start().starts_with(start))
}

/// Runs a command as a shell reads it. A second terminal is somewhere else than the first.
fn typed(agent: &Agent<'_>, text: &str) -> Result<String> {
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(text).current_dir("/");
    agent.host().enter(|| command::output(&mut shell))
}
