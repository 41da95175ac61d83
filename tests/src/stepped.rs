//! A program led from one system call to the next, so that a story can hold it or kill it at any point of its work:
//! between two system calls nothing happens that anybody else could see.
//!
//! Only its first thread is led. Whoever started it has to lead it, from the same thread.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{command, wait};

/// Waits to be led, then becomes the program.
const WAITING: &str = "kill -STOP $$; exec \"$@\"";

/// A program that does nothing unless it is led on.
#[derive(Debug)]
pub struct Stepped {
    child: Child,
    process: Pid,
    /// What it gets at its next step.
    signal: Option<Signal>,
    /// It has ended, and has been waited for.
    ended: bool,
}

impl Stepped {
    /// Starts a command and stops before its first system call.
    pub fn start(program: &Command) -> Result<Self> {
        let mut waiting = Command::new("bash");
        waiting.args(["-c", WAITING, "bash"]).arg(program.get_program());
        waiting.args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => waiting.env(name, value),
                None => waiting.env_remove(name),
            };
        }
        if let Some(folder) = program.get_current_dir() {
            waiting.current_dir(folder);
        }
        waiting
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = waiting.spawn().with_context(|| format!("starting {program:?}"))?;
        let process = Pid::from_raw(i32::try_from(child.id())?);
        let mut stepped = Self {
            child,
            process,
            signal: None,
            ended: false,
        };
        wait::until("the program waits", || is_stopped(process))?;
        ptrace::attach(process).context("leading the program")?;
        waitpid(process, None)?;
        kill(process, Signal::SIGCONT)?;
        let image = Path::new(program.get_program()).canonicalize()?;
        let has_begun = stepped.lead_until(|| Ok(fs::read_link(format!("/proc/{process}/exe"))? == image))?;
        ensure!(has_begun, "{program:?} did not begin");
        Ok(stepped)
    }

    /// Its process while it has not ended.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Leads it on to where its next system call begins or ends; `false` when it has ended.
    pub fn step(&mut self) -> Result<bool> {
        ptrace::syscall(self.process, self.signal.take()).context("leading the program on")?;
        match waitpid(self.process, None)? {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                self.ended = true;
                return Ok(false);
            }
            WaitStatus::Stopped(_, signal) if signal != Signal::SIGTRAP => self.signal = Some(signal),
            _ => {}
        }
        Ok(true)
    }

    /// Leads it on until `condition` holds; `false` when it ends before.
    pub fn lead_until(&mut self, mut condition: impl FnMut() -> Result<bool>) -> Result<bool> {
        while !condition()? {
            if !self.step()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends a signal that one of its other threads takes, and waits until they have done what they do about it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        command::signal(&self.child, signal)?;
        let mut before = None;
        wait::until("the signal is taken and the other threads rest", || {
            let now = self.other_threads()?;
            let rest = now.iter().all(|thread| thread.contains("State:\tS"));
            let nothing_ran = before.replace(now.clone()) == Some(now);
            Ok(nothing_ran && rest && !is_pending(self.process, signal)?)
        })
    }

    /// What the kernel says of each of its threads but the first: whether it sleeps, how often it did (`proc(5)`).
    fn other_threads(&self) -> Result<Vec<String>> {
        let first = self.process.to_string();
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{first}/task"))? {
            let entry = entry?;
            if entry.file_name() != first.as_str() {
                threads.push(fs::read_to_string(entry.path().join("status"))?);
            }
        }
        ensure!(!threads.is_empty(), "it has no other threads");
        Ok(threads)
    }

    /// Lets it go on alone, to its end.
    pub fn run_on(mut self) -> Result<Output> {
        ptrace::detach(self.process, self.signal.take()).context("letting the program go")?;
        let status = command::ended("the program that was led", &mut self.child)?;
        self.ended = true;
        self.output(status)
    }

    /// Kills it where it is.
    pub fn kill(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if !self.ended {
            self.child.kill()?;
            self.child.wait()?;
            self.ended = true;
        }
        Ok(())
    }

    fn output(&mut self, status: ExitStatus) -> Result<Output> {
        let mut output = Output {
            status,
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_end(&mut output.stdout)?;
        }
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_end(&mut output.stderr)?;
        }
        ensure!(
            status.signal().is_none(),
            "the program that was led ended with {status}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output)
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Whether a signal that was sent to the whole process has not been taken yet (`ShdPnd` in `proc_pid_status(5)`).
fn is_pending(process: Pid, signal: Signal) -> Result<bool> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = u64::from_str_radix(line.context("the signals of a process")?.trim(), 16)?;
    Ok(pending & (1 << (signal as u32 - 1)) != 0)
}

/// The state is the first word behind the name, which stands in brackets (`proc_pid_stat(5)`).
fn is_stopped(process: Pid) -> Result<bool> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    Ok(text
        .rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('T')))
}
