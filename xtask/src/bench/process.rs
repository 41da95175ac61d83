//! Processes that a bench starts: ended when it ends, waited for by condition, and what they used.

use std::fs;
use std::path::Path;
use std::process::{Child, ChildStdout, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command;

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that is told to stop, and waited for, when it is dropped.
pub(super) struct Running(Child);

impl Running {
    /// Starts it.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self(child))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// What it prints, if its output was asked for as a pipe.
    pub(super) fn take_stdout(&mut self) -> Result<ChildStdout> {
        self.0.stdout.take().context("the process's output is not a pipe")
    }
}

impl Running {
    /// Ends it and its children by SIGKILL, all at once, and waits until they are gone.
    pub(super) fn kill(mut self) -> Result<()> {
        let children = children(self.id())?;
        let ids = children.iter().copied().chain([self.0.id()]).map(|id| id.to_string());
        command::output(Command::new("kill").arg("-KILL").args(ids))?;
        self.0.wait()?;
        wait_until("killed processes are gone", || !children.iter().any(|id| is_alive(*id)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.0.try_wait() {
            return;
        }
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Waits until `is_true`; `what` says what for.
pub(super) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, PATIENCE, || Ok(is_true().then_some(())))
}

/// Waits until `find` finds something, at most for `patience`; `what` says what for.
pub(super) fn wait_for<T>(what: &str, patience: Duration, mut find: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    while started.elapsed() < patience {
        if let Some(found) = find()? {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("waited {} s in vain until {what}", patience.as_secs())
}

/// CPU time of a process and its children so far, all threads, in nanoseconds.
pub(super) fn cpu_time_ns(process: u32) -> Result<u64> {
    let mut sum = 0;
    for id in children(process)?.into_iter().chain([process]) {
        for task in fs::read_dir(format!("/proc/{id}/task"))? {
            sum += task_cpu_time_ns(&task?.path()).unwrap_or_default();
        }
    }
    Ok(sum)
}

/// CPU time of one thread so far; `None` when it has ended.
pub(super) fn task_cpu_time_ns(task: &Path) -> Option<u64> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn children(process: u32) -> Result<Vec<u32>> {
    let ids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(ids.filter(|id| parent(*id) == Some(process)).collect())
}

/// Whether it runs; what only waits for its parent to take notice does not.
fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, fields)| fields);
    state.is_some_and(|fields| !fields.starts_with(['Z', 'X']))
}

fn parent(process: u32) -> Option<u32> {
    status_field(process, "PPid").and_then(|value| u32::try_from(value).ok())
}

/// Resident memory in kibibytes.
pub(super) fn resident_kib(process: u32) -> Result<u64> {
    status_field(process, "VmRSS").with_context(|| format!("process {process} is gone"))
}

/// A number in /proc/<id>/status.
fn status_field(process: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
