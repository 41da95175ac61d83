//! Running tools, with an error that says what they said, and ending them.

use std::process::{Child, Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// Runs `command` and returns what it wrote to standard output; fails with its standard error when it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, said(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command from one line of words separated by spaces.
pub fn from_line(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// What a tool said, wherever it said it.
fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if text.is_empty() {
        text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }
    text
}

/// Sends a signal to a process that this one started and has not waited for.
pub fn signal(process: &Child, signal: Signal) -> Result<()> {
    let id = Pid::from_raw(i32::try_from(process.id())?);
    kill(id, signal).with_context(|| format!("sending {signal} to process {id}"))
}

/// Waits until a process has ended.
pub fn ended(what: &str, process: &mut Child) -> Result<ExitStatus> {
    wait::until_some(&format!("{what} ends"), || Ok(process.try_wait()?))
}

/// Runs a command that must end by itself soon, whatever its status; one that does not is killed.
pub fn output_in_time(command: &mut Command) -> Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let in_time = ended("what should end by itself", &mut child);
    if in_time.is_err() {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    in_time.with_context(|| format!("{command:?} said {}", said(&output)))?;
    Ok(output)
}
