//! Processes that a bench starts: ended when it ends, waited for by condition, and what they used.

use std::fs;
use std::path::Path;
use std::process::{Child, ChildStdout, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

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

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Waits until `is_true`; `what` says what for.
pub(super) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if is_true() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("waited {} s in vain until {what}", PATIENCE.as_secs())
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
