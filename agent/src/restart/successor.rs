//! The process goes on as a new agent: the same program, arguments and environment, and the rights that are left.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::rights;

/// The program that runs, whatever has become of its file.
const RUNNING_PROGRAM: &str = "/proc/self/exe";

/// Executes `program` in place of this one; comes back only with the reason why that failed. To be called when nothing of
/// the agent is left, by the thread whose rights the new one is to have.
///
/// A program that was replaced since is the new one, as at any start. Where the file is gone or is no program any more, the
/// one that runs goes on: an agent that was asked to begin anew must not be gone.
pub fn become_successor(program: &Path) -> io::Error {
    if let Err(error) = rights::hand_on() {
        tracing::warn!(%error, "the new agent may lack rights");
    }
    tracing::info!("beginning anew");
    let error = execute(program);
    tracing::error!(%error, "the program cannot be executed any more; the build that has been running goes on");
    execute(Path::new(RUNNING_PROGRAM))
}

fn execute(program: &Path) -> io::Error {
    let mut words = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    command.args(words).exec()
}
