//! Agents that run as an ordinary user, and what a process may do as the kernel tells it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::agent::{self, Agent};
use crate::command;
use crate::namespace::Namespace;

/// A user that owns nothing and is on every machine.
pub const NAME: &str = "nobody";

/// Its number, and that of its group.
pub const NUMBER: u32 = 65_534;

/// Runs a program as that user with exactly the rights that counting takes.
pub const WITH_RIGHTS: [&str; 9] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all,+bpf,+net_admin,+perfmon",
    "--ambient-caps=-all,+bpf,+net_admin,+perfmon",
    "--bounding-set=-all,+bpf,+net_admin,+perfmon",
    "--no-new-privs",
    "--",
];

/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF as bits (`linux/capability.h`).
pub const COUNTING: u64 = 1 << 12 | 1 << 38 | 1 << 39;

/// CAP_NET_BIND_SERVICE as a bit.
pub const LOW_PORTS: u64 = 1 << 10;

/// An agent that runs as the ordinary user and has been neither prepared nor started.
pub fn agent(host: &Namespace) -> Result<Agent<'_>> {
    let mut agent = Agent::new(host)?.through(&WITH_RIGHTS);
    make_reachable(&mut agent)?;
    Ok(agent)
}

/// Gives an agent a home that everybody may enter, with a copy of the program: the binary under test may lie where
/// only root gets.
pub fn make_reachable(agent: &mut Agent<'_>) -> Result<()> {
    fs::set_permissions(agent.home(), fs::Permissions::from_mode(0o755))?;
    let program = agent.home().join("portmeter");
    let binary = agent::binary().context("there is no portmeter binary to test")?;
    fs::copy(&binary, &program).with_context(|| format!("copying {}", binary.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    agent.change_program(program);
    Ok(())
}

/// `portmeter prepare` by root for a user, for an agent's instance and data; returns what it said.
pub fn prepare(agent: &Agent<'_>, user: &str) -> Result<String> {
    command::output(&mut prepare_command(agent, user)?)
}

/// The same as a command.
pub fn prepare_command(agent: &Agent<'_>, user: &str) -> Result<Command> {
    let mut command = Command::new(agent::binary().context("there is no portmeter binary to test")?);
    command.args(["prepare", "--user", user, "--instance", agent.instance()]);
    command
        .arg("--data-dir")
        .arg(agent.data_folder())
        .current_dir(agent.home());
    Ok(command)
}

/// Fails unless every thread of a process has exactly these rights in a set, for example `CapEff` (`proc(5)`).
pub fn every_thread_has(process_id: u32, set: &str, expected: u64) -> Result<()> {
    let tasks = Path::new("/proc").join(process_id.to_string()).join("task");
    let mut threads = 0;
    for task in fs::read_dir(&tasks)? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(set)?.strip_prefix(':'));
        let found = u64::from_str_radix(line.with_context(|| format!("no {set}"))?.trim(), 16)?;
        ensure!(
            found == expected,
            "{set} is {found:#x} where {expected:#x} is due: {status}"
        );
        threads += 1;
    }
    ensure!(threads > 1, "the agent has one thread, so this has shown nothing");
    Ok(())
}
