//! A core that runs a configuration of a story's own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::{needs, wait};

/// As /proc/net/tcp has a socket that listens.
const LISTENING: &str = "0A";

/// A running core; killed when dropped.
#[derive(Debug)]
pub struct Core {
    process: Child,
    folder: TempDir,
}

impl Core {
    /// Starts a core on `host` and waits until it listens on `ports`.
    pub fn start(host: &Namespace, configuration: &Value, ports: &[u16]) -> Result<Self> {
        Self::start_through(&[], host, configuration, ports)
    }

    /// The same through another program, which is given the whole command as its last arguments.
    pub fn start_through(wrapper: &[&str], host: &Namespace, configuration: &Value, ports: &[u16]) -> Result<Self> {
        let xray = needs::xray()?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("config.json");
        fs::write(&file, serde_json::to_vec_pretty(configuration)?)?;
        let log = File::create(folder.path().join("log"))?;
        let mut words = wrapper.iter().map(Into::into).chain([xray.into_os_string()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .args(["run", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = host.spawn(&mut command).context("starting a core")?;
        let mut core = Self { process, folder };
        wait::until("a core listens", || {
            if let Some(status) = core.process.try_wait()? {
                bail!("the core ended with {status}: {}", core.log());
            }
            let listening = listening_ports(host)?;
            Ok(ports.iter().all(|port| listening.contains(port)))
        })?;
        Ok(core)
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The TCP ports that anybody listens on, on any address of `host`.
pub fn listening_ports(host: &Namespace) -> Result<BTreeSet<u16>> {
    host.enter(|| {
        let mut ports = BTreeSet::new();
        for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
            let text = fs::read_to_string(table).with_context(|| format!("reading {table}"))?;
            ports.extend(text.lines().skip(1).filter_map(listening_port));
        }
        Ok(ports)
    })
}

fn listening_port(line: &str) -> Option<u16> {
    let mut columns = line.split_whitespace().skip(1);
    let (_, port) = columns.next()?.rsplit_once(':')?;
    (columns.nth(1)? == LISTENING).then(|| u16::from_str_radix(port, 16).ok())?
}
