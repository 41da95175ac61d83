//! One process, watched: a child and one that an earlier agent has left behind are the same here.
//!
//! A process id alone can mean another process a moment later. So a process is its id and the time it started, and it
//! is signalled and watched through a descriptor that stands for it and nobody else (`pidfd_open(2)`).

use std::fs;
use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use tokio::sync::watch;

/// When a process started, in clock ticks after boot: with its id and the boot it means one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) process_id: u32,
    pub(super) start_ticks: u64,
}

impl Identity {
    /// Who has this id now; `None` where nobody has or the process has ended and only waits to be asked for its status.
    pub(super) fn of(process_id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?;
        let start_ticks = start_ticks(&stat)?;
        Some(Self {
            process_id,
            start_ticks,
        })
    }
}

/// The time of start in `/proc/<pid>/stat`, of a process that runs.
fn start_ticks(stat: &str) -> Option<u64> {
    // The name before it stands in parentheses and can hold anything, parentheses too.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let is_running = !matches!(fields.next()?, "Z" | "X" | "x");
    // The state is field 3, the start field 22.
    let start = fields.nth(18)?.parse().ok()?;
    is_running.then_some(start)
}

/// A process that is watched.
pub(super) struct Process {
    identity: Identity,
    descriptor: Arc<OwnedFd>,
    ended: watch::Receiver<bool>,
    /// Closed with this, which ends the watching.
    _watched: PipeWriter,
    /// Where it is this agent's child, it leaves a status.
    child: Option<Child>,
}

impl Process {
    /// Watches a child.
    pub(super) fn of_child(child: Child) -> io::Result<Self> {
        let process_id = child.id();
        let descriptor = open(process_id)?;
        // One that has ended by now is noticed by its descriptor.
        let start_ticks = Identity::of(process_id).map_or(0, |identity| identity.start_ticks);
        let identity = Identity {
            process_id,
            start_ticks,
        };
        Self::watched(identity, descriptor, Some(child))
    }

    /// Watches a process that somebody else has started; `None` where it is not there any more.
    pub(super) fn of_other(identity: Identity) -> io::Result<Option<Self>> {
        let descriptor = match open(identity.process_id) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => return Ok(None),
            result => result?,
        };
        // Looked up after it was opened: now the id cannot mean somebody else.
        if Identity::of(identity.process_id) != Some(identity) {
            return Ok(None);
        }
        Self::watched(identity, descriptor, None).map(Some)
    }

    fn watched(identity: Identity, descriptor: OwnedFd, child: Option<Child>) -> io::Result<Self> {
        let descriptor = Arc::new(descriptor);
        let is_child = child.is_some();
        let (ended, watched) = watch(Arc::clone(&descriptor), is_child)?;
        Ok(Self {
            identity,
            descriptor,
            ended,
            _watched: watched,
            child,
        })
    }

    pub(super) const fn identity(&self) -> Identity {
        self.identity
    }

    /// Waits until it has ended. Asking again gives the same answer.
    pub(super) async fn ended(&self) -> io::Result<()> {
        let result = self.ended.clone().wait_for(|has_ended| *has_ended).await.map(drop);
        result.map_err(|_| io::Error::other("the process is not watched any more"))
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        has_ended(&self.descriptor)
    }

    /// Sends a signal; nothing happens where it has ended.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.descriptor, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            result => Ok(result?),
        }
    }

    /// The status of one that has ended, which only a child leaves.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok()?
    }

    /// Waits for a child that was killed, which takes no time, so that nothing is left of it.
    pub(super) fn reap(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }

    /// When it started.
    pub(super) fn started_at(&self) -> Option<DateTime<Utc>> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        started_at(Utc::now(), &uptime, self.identity.start_ticks)
    }
}

fn open(process_id: u32) -> io::Result<OwnedFd> {
    let number = i32::try_from(process_id).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| io::Error::from_raw_os_error(nix::libc::ESRCH))?;
    Ok(pidfd_open(number, PidfdFlags::empty())?)
}

/// Tells when the process has ended, as long as the other end of the pipe is open. By a thread that does nothing else:
/// to register a descriptor with tokio takes `unsafe`.
///
/// An agent that has begun anew in the same process is the parent of what it had started before. Nobody else asks for the
/// status of such a process, which would stay in the table of processes for ever.
fn watch(descriptor: Arc<OwnedFd>, is_child: bool) -> io::Result<(watch::Receiver<bool>, PipeWriter)> {
    let (unwatched, watched) = io::pipe()?;
    let (sender, ended) = watch::channel(false);
    let wait = move || {
        loop {
            let mut descriptors =
                [&*descriptor as &dyn AsFd, &unwatched].map(|one| PollFd::from_borrowed_fd(one.as_fd(), PollFlags::IN));
            match poll(&mut descriptors, None) {
                Err(rustix::io::Errno::INTR) => {}
                // Whoever waits is told by the end of the channel.
                Err(_) => return,
                Ok(_) if descriptors[0].revents().is_empty() => return,
                Ok(_) => {
                    if !is_child {
                        // Usually it is another's child, and there is nothing to ask.
                        let _ = waitid(
                            WaitId::PidFd(descriptor.as_fd()),
                            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
                        );
                    }
                    // Nobody waits any more.
                    let _ = sender.send(true);
                    return;
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("process-watch".to_owned())
        .spawn(wait)?;
    Ok((ended, watched))
}

fn has_ended(descriptor: &OwnedFd) -> bool {
    let mut descriptors = [PollFd::new(descriptor, PollFlags::IN)];
    poll(&mut descriptors, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

fn started_at(now: DateTime<Utc>, uptime: &str, start_ticks: u64) -> Option<DateTime<Utc>> {
    let uptime_seconds: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    let after_boot = Duration::from_millis(start_ticks.saturating_mul(1_000) / ticks_per_second);
    let age = Duration::try_from_secs_f64(uptime_seconds)
        .ok()?
        .saturating_sub(after_boot);
    now.checked_sub_signed(TimeDelta::from_std(age).ok()?)
}

/// The words of a process's command line; `None` where there is no such process.
pub(super) fn command_line(process_id: u32) -> Option<Vec<String>> {
    let text = fs::read(format!("/proc/{process_id}/cmdline")).ok()?;
    let text = text.strip_suffix(b"\0").unwrap_or(&text);
    let words = text.split(|byte| *byte == 0);
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// The words that the core is run with; its binary, and an interpreter where that is a script, come before.
pub(super) fn run_words(configuration: &Path) -> [String; 3] {
    let path = configuration.to_string_lossy().into_owned();
    ["run".to_owned(), "-c".to_owned(), path]
}

/// The process of this network namespace that runs the core with this configuration; the oldest, where a script starts
/// another program in its place.
pub(super) fn find_running(configuration: &Path) -> Option<Identity> {
    let words = run_words(configuration);
    let own_namespace = network_namespace("self")?;
    let is_core = |process_id: &u32| {
        command_line(*process_id).is_some_and(|line| line.ends_with(&words))
            && network_namespace(&process_id.to_string()).as_ref() == Some(&own_namespace)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(is_core)
        .filter_map(Identity::of)
        .min_by_key(|identity| (identity.start_ticks, identity.process_id))
}

fn network_namespace(process: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/net")).ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_start_is_found_behind_any_name_and_an_ended_process_has_none() {
        let stat = |state: &str| {
            format!(
                "42 (a) b) 7 (c)) {state} 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 123456 1000 200 18446744073709551615"
            )
        };
        assert_eq!(start_ticks(&stat("S")), Some(123_456));
        assert_eq!(start_ticks(&stat("Z")), None);
        assert_eq!(start_ticks("42 (a) S 1"), None);
        assert_eq!(start_ticks(""), None);
    }

    #[test]
    fn ticks_become_a_time() {
        let now: DateTime<Utc> = "2026-10-10T12:00:00Z".parse().unwrap();
        let ticks = 900 * rustix::param::clock_ticks_per_second();
        let started = started_at(now, "1000.50 2000.00\n", ticks).unwrap();
        assert_eq!(started, now - TimeDelta::milliseconds(100_500));
        assert_eq!(started_at(now, "", ticks), None);
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_child_ends_and_leaves_its_status() {
        let mut process = Process::of_child(sleeper()).unwrap();
        assert!(!process.has_ended());
        assert_eq!(process.status(), None);
        process.signal(Signal::KILL).unwrap();
        process.ended().await.unwrap();
        process.ended().await.unwrap();
        assert!(process.has_ended());
        assert!(!process.status().unwrap().success());
        process.signal(Signal::TERM).unwrap();
    }

    #[tokio::test]
    async fn a_process_of_others_is_watched_as_long_as_it_is_the_same() {
        let mut child = sleeper();
        let identity = Identity::of(child.id()).unwrap();
        let later = Identity {
            start_ticks: identity.start_ticks + 1,
            ..identity
        };
        assert!(Process::of_other(later).unwrap().is_none());
        let mut process = Process::of_other(identity).unwrap().unwrap();
        child.kill().unwrap();
        process.ended().await.unwrap();
        assert_eq!(process.status(), None);
        assert_eq!(Identity::of(child.id()), None);
        assert!(
            child.wait().is_err(),
            "this process is its parent, and the watch has asked"
        );
        assert!(Process::of_other(identity).unwrap().is_none());
    }
}
