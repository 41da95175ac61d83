//! An agent on another host: over TCP with the API key, and by certificates on both sides.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::{self, API_KEY, Agent, GRPC_ADDRESS};
use portmeter_tests::command;
use portmeter_tests::network::Pair;
use portmeter_tests::terminal::Terminal;
use serde_json::Value;

use crate::refusals::run_to_refusal;

/// A command without anything that names an agent.
fn portmeter(words: &[&str]) -> Result<Command> {
    let mut command = Command::new(agent::binary().context("the binary")?);
    command.args(words).env_remove("PORTMETER_API_KEY");
    Ok(command)
}

fn certificates(agent: &Agent<'_>, name: &str) -> Result<PathBuf> {
    let folder = agent.home().join(name);
    let mut make = portmeter(&["certificates", "make", "--host", "10.77.0.1", "--folder"])?;
    command::output(make.arg(&folder))?;
    Ok(folder)
}

/// The agent's host is another one, and it lets in who has a certificate of its authority and the key.
pub(super) fn an_agent_elsewhere() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::new(&pair.server)?;
    let files = certificates(&agent, "certificates")?;
    let file = |name: &str| files.join(name).display().to_string();
    let agent = agent
        .variable("PORTMETER_GRPC__LISTEN", "10.77.0.1:50051")
        .variable("PORTMETER_GRPC__TLS", "files")
        .variable("PORTMETER_GRPC__TLS_CERTIFICATE", &file("agent.pem"))
        .variable("PORTMETER_GRPC__TLS_KEY", &file("agent-key.pem"))
        .variable("PORTMETER_GRPC__CLIENT_CA", &file("ca.pem"))
        .started_in_place()?;
    let key_file = agent.home().join("key-for-elsewhere");
    std::fs::write(&key_file, API_KEY)?;
    let key_file = key_file.display().to_string();
    let there = |words: &[&str], files: &[(&str, String)]| -> Result<Command> {
        let mut command = portmeter(words)?;
        command.args(["--address", "https://10.77.0.1:50051", "--api-key-file", &key_file]);
        for (flag, file) in files {
            command.args([flag, file.as_str()]);
        }
        Ok(command)
    };
    let all = [
        ("--agent-ca", file("ca.pem")),
        ("--agent-certificate", file("gateway.pem")),
        ("--agent-key", file("gateway-key.pem")),
    ];
    let run = |words: &[&str]| -> Result<String> {
        let mut command = there(words, &all)?;
        pair.client.enter(|| command::output(&mut command))
    };
    run(&["key", "create", "alice"])?;
    let keys: Value = serde_json::from_str(&run(&["key", "list", "--json"])?)?;
    ensure!(keys[0]["name"] == "alice" && agent.grpc()?.keys()?.len() == 1, "{keys}");
    let status: Value = serde_json::from_str(&run(&["status", "--json"])?)?;
    ensure!(status["instance"] == agent.instance(), "{status}");
    ensure!(
        run(&["history", "alice"])?.starts_with("alice, port 10001"),
        "no history"
    );
    ensure!(run(&["events"])?.contains("USER"), "no events");
    let terminal = Terminal::open(&pair.client, (100, 12), &there(&["top"], &all)?)?;
    terminal.wait_for("the agent's keys, live", |screen| {
        screen.first().is_some_and(|title| title.contains("live")) && screen.iter().any(|line| line.contains("alice"))
    })?;
    terminal.press(&["q"])?;
    ensure!(terminal.ended()?.status == 0, "q is no failure");

    // An agent that is known by another authority, and one that asks for a certificate and gets none.
    let strange = certificates(&agent, "strange")?.join("ca.pem").display().to_string();
    for files in [&[("--agent-ca", strange)] as &[_], &all[..1]] {
        let mut command = there(&["key", "list"], files)?;
        let said = pair.client.enter(|| run_to_refusal(&mut command))?;
        ensure!(said.contains("no agent answers at https://10.77.0.1:50051"), "{said}");
    }
    Ok(())
}

pub(super) fn strangers_are_refused() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    agent.rest().create_key("alice")?;
    let listed = |key: Option<&str>, address: &str| -> Result<Command> {
        let mut command = portmeter(&["key", "list", "--address", address])?;
        if let Some(key) = key {
            command.env("PORTMETER_API_KEY", key);
        }
        Ok(command)
    };
    let refused = |mut command: Command| pair.server.enter(|| run_to_refusal(&mut command));
    let mut right = listed(Some(API_KEY), GRPC_ADDRESS)?;
    let said = pair.server.enter(|| command::output(&mut right))?;
    ensure!(said.contains("alice"), "{said}");
    for (command, part) in [
        (
            listed(None, GRPC_ADDRESS)?,
            "no API key: give the agent's with --api-key-file FILE",
        ),
        (
            listed(Some("another-key-of-16-characters"), GRPC_ADDRESS)?,
            "Invalid API key",
        ),
        (
            listed(Some("short"), GRPC_ADDRESS)?,
            "cannot use the API key from PORTMETER_API_KEY",
        ),
        (
            listed(Some(API_KEY), "127.0.0.1:50052")?,
            "no agent answers at 127.0.0.1:50052: ",
        ),
        (listed(Some(API_KEY), "here")?, "is no address of an agent"),
        (listed(Some(API_KEY), "https://127.0.0.1:50051")?, "--agent-ca"),
        (
            portmeter(&["key", "list", "--agent-ca", "ca.pem"])?,
            "name it with --address",
        ),
    ] {
        let said = refused(command)?;
        ensure!(said.contains(part), "no {part} in {said}");
        ensure!(
            !said.contains("another-key") && !said.contains(API_KEY),
            "a key is shown: {said}"
        );
    }
    Ok(())
}
