//! A machine of the story's own: systemd as its first process, over this host's files, with every change in memory.
//!
//! It has its own processes, mounts, BPF file system and control groups, and shares a namespace's network. Nothing that is
//! installed or removed in it reaches the host, and with the story it is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::namespace::{self, Namespace};
use crate::{agent, cgroup, command, needs, wait};

/// Makes the machine's root and goes on as systemd.
const BOOT: &str = include_str!("systemd/boot.sh");

/// Enters a control group and then the namespaces that a machine has of its own.
const ENTER: &str = "echo $$ >\"$1\"/cgroup.procs; exec unshare --mount --propagation private --pid --fork --kill-child --cgroup \
                     --uts --ipc bash -c \"$2\" boot \"$3\"";

/// A running machine.
#[derive(Debug)]
pub struct Machine<'lab> {
    host: &'lab Namespace,
    /// Where its root is mounted, as nobody but the machine sees it.
    _folder: TempDir,
    group: Group,
    outer: Child,
    /// systemd, as this host numbers its processes.
    first_process: u32,
}

impl<'lab> Machine<'lab> {
    /// Starts one with the network of `host`, and waits until it is up.
    pub fn boot(host: &'lab Namespace) -> Result<Self> {
        needs::program("/usr/lib/systemd/systemd", "systemd")?;
        let folder = tempfile::tempdir()?;
        let group = Group::make()?;
        let log = folder.path().join("boot.log");
        let mut boot = Command::new("bash");
        boot.args(["-c", ENTER, "enter"])
            .arg(&group.0)
            .arg(BOOT)
            .arg(folder.path());
        boot.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?);
        let mut outer = host.spawn(&mut boot).context("starting a machine")?;
        let first_process = wait::until_some("a machine has its first process", || {
            if let Some(status) = outer.try_wait()? {
                let said = fs::read_to_string(&log).unwrap_or_default();
                anyhow::bail!("the machine ended with {status}: {said}");
            }
            Ok(first_process_of(outer.id()))
        });
        let machine = Self {
            host,
            _folder: folder,
            group,
            first_process: *first_process.as_ref().unwrap_or(&0),
            outer,
        };
        first_process?;
        wait::until("the machine is up", || {
            let asked = machine.command(&["systemctl", "is-system-running"]).output()?;
            let state = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
            ensure!(state != "degraded", "a unit of the bare machine has failed");
            Ok(state == "running")
        })?;
        Ok(machine)
    }

    /// The network that it shares.
    pub fn host(&self) -> &'lab Namespace {
        self.host
    }

    /// A program in the machine.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut enter = Command::new("nsenter");
        enter
            .args(["--target", &self.first_process.to_string()])
            .args([
                "--mount", "--pid", "--cgroup", "--net", "--uts", "--ipc", "--root", "--wd=/", "--",
            ])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        enter
    }

    /// Runs a command, given as one line without quotes; returns its standard output.
    pub fn run(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        command::output(&mut self.command(&words))
    }

    /// Where a file of the machine's is for this host.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.first_process.to_string())
            .join("root")
            .join(path.trim_start_matches('/'))
    }

    /// Whether the machine has a file.
    pub fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// A file's text.
    pub fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.path(path)).with_context(|| format!("reading {path} of the machine"))
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Lays settings over a unit's own, as an administrator does.
    pub fn drop_in(&self, unit: &str, settings: &str) -> Result<()> {
        self.write(
            &format!("/etc/systemd/system/{unit}.d/story.conf"),
            &format!("[Service]\n{settings}\n"),
        )?;
        self.run("systemctl daemon-reload")?;
        Ok(())
    }

    /// Every path below the root that differs from this host's: made, changed or removed.
    pub fn changes(&self) -> Result<Vec<String>> {
        let found = self.run("find /run/changes -mindepth 1 -printf %P\\n")?;
        Ok(found.lines().map(str::to_owned).collect())
    }

    /// What services have written to their outputs.
    pub fn log(&self) -> String {
        self.read("/run/services.log").unwrap_or_default()
    }

    /// When each step of the package's services began and ended, as systemd has it.
    fn times(&self) -> Result<String> {
        self.run(
            "systemctl show --all --property=Id,InactiveExitTimestamp,ExecStartPre,ExecMainStartTimestamp,ActiveEnterTimestamp \
             portmeter*.service",
        )
    }

    /// What systemd says of a unit's property.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        let shown = self.run(&format!("systemctl show --property {name} --value {unit}"))?;
        Ok(shown.trim().to_owned())
    }

    /// A unit's main process, as this host numbers it.
    pub fn main_process(&self, unit: &str) -> Result<u32> {
        let inside: u32 = self.property(unit, "MainPID")?.parse()?;
        let mut found = processes_of(&self.group.0)?
            .into_iter()
            .filter(|id| number_inside(*id) == Some(inside));
        found.next().with_context(|| format!("{unit} has no process"))
    }

    /// Every process in the machine, as this host numbers them.
    pub fn processes(&self) -> Result<Vec<u32>> {
        processes_of(&self.group.0)
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        agent::keep_log("services of the machine", &self.log());
        agent::keep_log(
            "times of the machine's services",
            &self.times().unwrap_or_else(|error| error.to_string()),
        );
        // With the first process of its process namespace everything in it ends.
        let _ = self.outer.kill();
        let _ = self.outer.wait();
    }
}

/// A control group of the machine's own.
#[derive(Debug)]
struct Group(PathBuf);

impl Group {
    fn make() -> Result<Self> {
        let own = cgroup::own_folder()?.context("there is no version 2 cgroup tree")?;
        let folder = own.join(format!(
            "portmeter-machine-{}-{}",
            process::id(),
            namespace::next_number()
        ));
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let emptied = wait::until(
            "the machine's processes are gone",
            || Ok(remove_groups(&self.0).is_ok()),
        );
        if let Err(error) = emptied {
            eprintln!("{} stays behind: {error:#}", self.0.display());
        }
    }
}

/// Removes a group with those in it, which have to be empty.
fn remove_groups(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

/// The processes of a group and of those in it.
fn processes_of(folder: &Path) -> Result<Vec<u32>> {
    let listed = fs::read_to_string(folder.join("cgroup.procs"))?;
    let mut found: Vec<u32> = listed.lines().filter_map(|id| id.parse().ok()).collect();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(processes_of(&entry.path())?);
        }
    }
    Ok(found)
}

/// The first process that `unshare` has started, once it is systemd.
fn first_process_of(unshare: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
    let first: u32 = children.split_whitespace().next()?.parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{first}/comm")).ok()?;
    (name.trim() == "systemd").then_some(first)
}

/// A process's number in the innermost namespace that it is in.
fn number_inside(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}
