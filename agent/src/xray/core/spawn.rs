//! Starts a program that gets nothing of the agent's: not its environment, not its rights, not its terminal.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use portmeter_daemon::memory;
use tokio::sync::oneshot;

use crate::rights::leave_for_program;

/// A program to be started.
pub(super) struct Program {
    pub(super) binary: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// Where it works.
    pub(super) folder: PathBuf,
    /// Whether it gets the right to bind low ports, where this process has it to give.
    pub(super) low_ports: bool,
    pub(super) stdout: Stdio,
    pub(super) stderr: Stdio,
}

/// Starts it in a process group of its own, so that neither Ctrl-C nor the end of a terminal reaches it. (A session of
/// its own would take `unsafe`, and nothing more would be kept from it: it leads no terminal.)
///
/// Rights and the mask of new files belong to threads, so a thread of its own gives up what the program is not to have.
pub(super) async fn spawn(program: Program) -> io::Result<Child> {
    let (sender, receiver) = oneshot::channel();
    let name = "program-start".to_owned();
    std::thread::Builder::new().name(name).spawn(move || {
        // Nobody waits any more: what was started is found by its command line, or ended by its descriptors.
        let _ = sender.send(spawn_here(program));
    })?;
    receiver
        .await
        .map_err(|_| io::Error::other("the thread that starts it has failed"))?
}

fn spawn_here(program: Program) -> io::Result<Child> {
    match unshare(CloneFlags::CLONE_FS) {
        Ok(()) => drop(umask(Mode::from_bits_truncate(0o077))),
        // In some containers. The files that matter are made with their mode anyway.
        Err(error) => tracing::debug!(%error, "new files of the core get the agent's mode"),
    }
    leave_for_program(program.low_ports).map_err(io::Error::other)?;
    with_huge_pages(|| start(program))
}

/// The agent keeps to small pages, and what it starts would inherit that (`PR_SET_THP_DISABLE(2const)`). Whether the core
/// has huge ones is the system's to say.
fn with_huge_pages<T>(start: impl FnOnce() -> T) -> T {
    if !prctl::get_thp_disable().unwrap_or(false) {
        return start();
    }
    if let Err(error) = prctl::set_thp_disable(false) {
        tracing::debug!(%error, "the core starts without huge pages, as the agent does");
    }
    let started = start();
    memory::keep_to_small_pages();
    started
}

fn start(program: Program) -> io::Result<Child> {
    Command::new(program.binary)
        .args(program.arguments)
        .current_dir(program.folder)
        .env_clear()
        .envs(environment(std::env::vars_os()))
        .stdin(Stdio::null())
        .stdout(program.stdout)
        .stderr(program.stderr)
        .process_group(0)
        .spawn()
}

/// What of the agent's environment a program gets: where programs, words, zones and certificates are, and the core's
/// own settings. Never the API key.
fn environment(all: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    const NAMES: [&str; 5] = ["PATH", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    let is_passed = |name: &str| NAMES.contains(&name) || name.starts_with("LC_") || is_of_core(name);
    let passed = all.into_iter().filter(|(name, _)| name.to_str().is_some_and(is_passed));
    passed.collect()
}

/// Xray reads its settings in either form: `XRAY_LOCATION_ASSET`, `xray.location.asset`.
fn is_of_core(name: &str) -> bool {
    name.starts_with("XRAY_") || name.starts_with("xray.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_on_what_the_core_needs_and_nothing_else() {
        let all = [
            "PATH",
            "LANG",
            "LC_ALL",
            "TZ",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "XRAY_LOCATION_ASSET",
            "HOME",
            "LD_PRELOAD",
            "PORTMETER_API_KEY",
            "PORTMETER_XRAY__BINARY",
            "NOTIFY_SOCKET",
            "xray_x",
            "LANGUAGE",
        ];
        let all = all.map(|name| (OsString::from(name), OsString::from("value")));
        let names: Vec<_> = environment(all).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "PATH",
                "LANG",
                "LC_ALL",
                "TZ",
                "SSL_CERT_FILE",
                "SSL_CERT_DIR",
                "XRAY_LOCATION_ASSET"
            ]
        );
    }
}
