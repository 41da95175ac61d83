//! A network namespace with a name of its own, deleted when dropped.
//!
//! Threads and processes enter only the network namespace. `ip netns exec` would also mount a fresh /sys and hide
//! the BPF file system, where the agent keeps its pins.

use std::fs::{self, File};
use std::io;
use std::panic;
use std::path::Path;
use std::process::{self, Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use crate::command;

/// Makes the names of one run different from each other; the process id makes them different from other runs'.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A number that no other namespace or instance of this process has.
pub(crate) fn next_number() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A network namespace of the test's own.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes a namespace whose loopback is up; `role` shows in its name.
    pub fn new(role: &str) -> Result<Self> {
        let name = format!("portmeter-{}-{}-{role}", process::id(), next_number());
        command::output(Command::new("ip").args(["netns", "add", &name]))?;
        let path = Path::new("/run/netns").join(&name);
        let handle = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let namespace = Self { name, handle };
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    /// The name under /run/netns.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does `work` on a thread inside this namespace and returns its result. Threads that `work` starts are inside
    /// too. A panic in there goes on out here.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let result = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("entering a namespace of one's own");
                work()
            });
            inside.join()
        });
        result.unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// Does `work` on the calling thread, inside this namespace; that thread stays inside. For threads of the story's
    /// own, which end soon.
    pub fn visit<T>(&self, work: impl FnOnce() -> T) -> T {
        setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("entering a namespace of one's own");
        work()
    }

    /// Starts a thread inside this namespace.
    pub fn spawn_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
        let handle = self.handle.try_clone()?;
        Ok(thread::spawn(move || {
            setns(handle, CloneFlags::CLONE_NEWNET).expect("entering a namespace of one's own");
            work()
        }))
    }

    /// Starts a process inside this namespace: a child begins in the namespace of the thread that starts it.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.enter(|| command.spawn())
    }

    /// Runs a command, given as one line without quotes, inside this namespace; returns its standard output.
    pub fn run(&self, line: &str) -> Result<String> {
        self.enter(|| command::output(&mut command::from_line(line)))
    }

    /// Sets a network sysctl of this namespace, for example `net/ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(name);
        self.enter(|| fs::write(&path, value))
            .with_context(|| format!("setting {name}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = command::output(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("namespace {} stays behind: {error:#}", self.name);
        }
    }
}
