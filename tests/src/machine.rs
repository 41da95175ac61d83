//! A machine of its own: a network namespace with its own processes, its own users' and services' files, and nothing of the
//! product. What is done there stays there: all of its files are the host's, with changes that are kept in memory.
//!
//! So a guide can be followed to the letter, with the folders and names that it has. Three programs are not what they are
//! elsewhere (`tests/machine`): `systemctl`, which does what a unit's file says without systemd; `cargo`, which puts the
//! binary under test where a build would; `scp`, which lays files ready that a story then takes to the other machine.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::{agent, command, page, snapshot};

/// Where the programs are that stand in for others, before all others on the path.
const STAND_INS: &str = "/opt/stand-ins";

/// Where the machine's own files are, those aside that it shares with the host.
const CHANGES: &str = "/opt/stand-ins/changes";

/// Where what is to be copied to other hosts lies.
const SENT: &str = "/opt/stand-ins/sent";

/// What stands in for what.
const PROGRAMS: [(&str, &str); 3] = [
    ("systemctl", include_str!("../machine/systemctl")),
    ("cargo", include_str!("../machine/cargo")),
    ("scp", include_str!("../machine/scp")),
];

/// Makes the machine's files and runs its first process, which takes notice of every other one that ends. The folder that
/// is given is empty and stays so for everybody else.
const SETUP: &str = r#"
mount -t tmpfs machine "$0"
mkdir "$0/changes" "$0/work" "$0/root"
mount -t overlay machine -o "lowerdir=/,upperdir=$0/changes,workdir=$0/work" "$0/root"
cd "$0/root"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
mount -t bpf bpf sys/fs/bpf
mkdir -p opt/stand-ins/changes
mount --bind "$0/changes" opt/stand-ins/changes
mount -t tmpfs run run
mount -t tmpfs tmp tmp
chmod 1777 tmp
# Not chroot: whoever is in one may make no namespaces, and the tests' core tries a configuration in one of its own.
pivot_root . .
umount --lazy .
cd /
exec bash -c 'echo ready; while :; do sleep 1000 & wait $!; done'
"#;

/// A machine; all that runs there ends with it.
#[derive(Debug)]
pub struct Machine<'lab> {
    host: &'lab Namespace,
    setup: Child,
    first_process: u32,
    _folder: TempDir,
}

impl<'lab> Machine<'lab> {
    /// Makes one on a network; nothing of the product is there, and its binary where [`Machine::binary`] says.
    pub fn new(host: &'lab Namespace) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"])
            .args(["bash", "-euc", SETUP])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut setup = host.spawn(&mut unshare).context("starting a machine")?;
        let mut said = String::new();
        BufReader::new(setup.stdout.take().context("its output")?).read_line(&mut said)?;
        ensure!(said == "ready\n", "a machine did not start: {said}");
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", setup.id()))?;
        let first_process = children.trim().parse().context("a machine's first process")?;
        let machine = Self {
            host,
            setup,
            first_process,
            _folder: folder,
        };
        machine.furnish()?;
        Ok(machine)
    }

    /// Where the binary under test is found on the machine before anybody has installed it.
    pub fn binary() -> &'static str {
        "/opt/stand-ins/built/portmeter"
    }

    /// A path of the machine's as this process finds it.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first_process))
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(path);
        fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        fs::write(&path, contents).with_context(|| format!("writing {}", path.display()))
    }

    /// Every file that the host does not have, or has otherwise; folders that it lacks too. What is in memory on any machine
    /// (/run, /tmp) is left out.
    pub fn differences(&self) -> Result<BTreeSet<PathBuf>> {
        let changes = self.path(CHANGES);
        let mut different = BTreeSet::new();
        for path in snapshot::paths_of(&changes)? {
            let own = Path::new("/").join(path.strip_prefix(&changes)?);
            let is_same = match (fs::symlink_metadata(&path)?.is_dir(), fs::read(&path)) {
                (true, _) => own.is_dir(),
                (false, Ok(contents)) => fs::read(&own).is_ok_and(|found| found == contents),
                (false, Err(_)) => false,
            };
            if !is_same && !own.starts_with(STAND_INS) {
                different.insert(own);
            }
        }
        Ok(different)
    }

    /// A program that runs there as root, in root's home folder.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.first_process))
            .args(["--mount", "--pid", "--root", "--", "env", "--chdir=/root"])
            .arg(program)
            .env("PATH", path_with(STAND_INS))
            .env("HOME", "/root")
            .env_remove("PORTMETER_API_KEY")
            .stdin(Stdio::null());
        command
    }

    /// Runs one shell command; returns what it wrote to standard output.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut shell = self.command("bash");
        shell.args(["-euo", "pipefail", "-c", line]);
        self.host.enter(|| command::output(&mut shell))
    }

    /// Runs blocks of a page in one shell that stops at the first failure, in a folder; gives what each has written.
    pub fn follow(&self, blocks: &[&str], folder: &str) -> Result<Vec<String>> {
        let script = format!("cd {folder}\n{}", page::script(blocks));
        page::said_by_each(&self.run(&script)?, blocks.len())
    }

    /// Takes what `scp` was told to copy to `name` to that machine.
    pub fn deliver(&self, name: &str, to: &Self) -> Result<()> {
        let sent = self.path(&format!("{SENT}/{name}"));
        for path in snapshot::paths_of(&sent)?.iter().filter(|path| path.is_file()) {
            let place = to.path("/").join(path.strip_prefix(&sent)?);
            // With its mode.
            fs::copy(path, &place).with_context(|| format!("copying to {}", place.display()))?;
        }
        Ok(())
    }

    fn furnish(&self) -> Result<()> {
        for (name, text) in PROGRAMS {
            self.write(&format!("{STAND_INS}/{name}"), text)?;
            let path = self.path(&format!("{STAND_INS}/{name}"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        let binary = agent::binary().context("there is no portmeter binary to test")?;
        let place = self.path(Self::binary());
        fs::create_dir_all(place.parent().context("a folder")?)?;
        fs::copy(&binary, &place).with_context(|| format!("copying {}", binary.display()))?;
        Ok(())
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // Its first process dies with it, and with that one all others.
        let _ = self.setup.kill();
        let _ = self.setup.wait();
    }
}

fn path_with(folder: &str) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [PathBuf::from(folder), "/usr/local/bin".into()].into_iter();
    env::join_paths(folders.chain(env::split_paths(&path))).unwrap_or(path)
}
