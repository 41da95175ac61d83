//! The page about the command line: its commands run as they stand, and it has all of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::{self, Agent};
use portmeter_tests::command;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::page::{blocks, run_in_one_shell};
use portmeter_tests::traffic::udp;

const PAGE: &str = include_str!("../../../docs/command-line.md");

/// Blocks of `sh` beside the running agent, those of `bash` when it has stopped.
pub(super) fn the_page_about_the_command_line() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    every_command_is_there(&agent)?;
    let programs = programs(&agent)?;
    let run = |agent: &Agent<'_>, language: &str| -> Result<String> {
        let blocks = blocks(PAGE, language);
        ensure!(!blocks.is_empty(), "no {language} on the page");
        Ok(run_in_one_shell(agent, &blocks, agent.home(), Some(&programs))?.concat())
    };
    // Somebody has moved something, so that there is something to show.
    udp::echoed(&pair.server, &pair.client, (SERVER_V4, 10_001).into(), &[72; 9])?;
    let said = run(&agent, "sh")?;
    for expected in [
        "the configuration is good",
        "\"is_ready\": true",
        "anna (Anna, 2nd floor)",
        "vless://",
        "its old link works no more",
        "all of them",
        "public key",
        "can be restored",
    ] {
        ensure!(said.contains(expected), "no {expected} in\n{said}");
    }
    agent.stop()?;
    let said = run(&agent, "bash")?;
    for expected in ["restored from", "would come: new keys 1", "imported: new keys 1"] {
        ensure!(said.contains(expected), "no {expected} in\n{said}");
    }
    Ok(())
}

/// `help` lists no command that the page has not, and the page none that `help` has not.
fn every_command_is_there(agent: &Agent<'_>) -> Result<()> {
    let help = command::output(&mut agent.wrapped(&["help"]))?;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let commands: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(commands.contains(&"top") && commands.len() > 10, "{commands:?}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let table = PAGE
            .lines()
            .filter(|line| line.starts_with("| ["))
            .any(|line| line.contains(&format!("`{command}`")));
        ensure!(table, "{command} is not in the page's table");
        ensure!(
            PAGE.contains(&format!("portmeter {command}")),
            "{command} has no example"
        );
    }
    Ok(())
}

/// A folder with a `portmeter` that is this agent's.
fn programs(agent: &Agent<'_>) -> Result<PathBuf> {
    let folder = agent.home().join("programs");
    fs::create_dir(&folder)?;
    let program = folder.join("portmeter");
    let script = format!(
        "#!/bin/sh\nexport PORTMETER_AGENT__INSTANCE={} PORTMETER_AGENT__DATA_DIR={} PORTMETER_XRAY__MODE=none\n\
         exec {} \"$@\"\n",
        agent.instance(),
        agent.data_folder().display(),
        agent::binary().context("the binary")?.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}
