//! Progress of long work: on a terminal, and nowhere else.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::command;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::traffic::tcp::{self, Transfer};

/// What a command says on standard error when that is a terminal, and when it is none.
struct Said {
    on_terminal: String,
    elsewhere: String,
}

pub(super) fn bars_are_for_terminals() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("alice")?;
    tcp::bulk(
        &pair.server,
        &pair.client,
        &[Transfer::new(SERVER_V4, key.port, 40_000, 90_000)],
    )?;
    agent.stop()?;
    let days = ["--from", "2020-01-01", "--to", "2100-01-01"];
    let export = [&["export", "--format", "csv", "--output", "days.csv"], &days[..]].concat();
    let old = |name: &str| format!("{}/../agent/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let (keys, history) = (old("keys.json"), old("traffic_history.json"));
    for (words, part) in [
        (&["backup", "--force", "ledger.backup"] as &[&str], "100 %"),
        (&["restore", "ledger.backup"], "checking the backup"),
        (&export, "rows"),
        (&["import", "--time-zone", "UTC", &keys, &history], "histories"),
    ] {
        let said = said(&agent, words)?;
        ensure!(
            said.elsewhere.is_empty(),
            "{words:?} says {:?} to who reads it",
            said.elsewhere
        );
        ensure!(
            said.on_terminal.contains(part),
            "{words:?}: no {part} in {:?}",
            said.on_terminal
        );
        // The cursor is where a line begins, and the bar is gone.
        ensure!(
            said.on_terminal.contains("\u{1b}[2K"),
            "{words:?} leaves its bar: {:?}",
            said.on_terminal
        );
    }
    Ok(())
}

/// Runs it twice: its standard error goes to a terminal that `script` makes, and to a pipe.
fn said(agent: &Agent<'_>, words: &[&str]) -> Result<Said> {
    let mut plain = agent.portmeter(words);
    let program = std::iter::once(plain.get_program()).chain(plain.get_args());
    let line: Vec<_> = program.map(|word| word.to_string_lossy()).collect();
    let mut script = Command::new("script");
    script.args([
        "--quiet",
        "--return",
        "--flush",
        "--command",
        &format!("{} >/dev/null", line.join(" ")),
        "/dev/null",
    ]);
    script.current_dir(plain.get_current_dir().context("no folder")?);
    script.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("TERM", "xterm");
    let on_terminal = agent.host().enter(|| command::output(&mut script))?;
    let output = agent.host().enter(|| plain.output())?;
    ensure!(output.status.success(), "{plain:?}: {output:?}");
    Ok(Said {
        on_terminal,
        elsewhere: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
