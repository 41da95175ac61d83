//! The real agent, release build, in a namespace of the bench's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::Value;

use super::lab::Host;
use super::process::{Running, wait_until};
use crate::{command, workspace_root};

/// The key of every bench's agent.
pub(super) const API_KEY: &str = "bench-key-0123456789";
const REST: &str = "http://127.0.0.1:8000";
/// Where it tells its metrics.
pub(super) const METRICS_ADDRESS: &str = "127.0.0.1:9435";
/// The name of every bench's agent.
pub(super) const INSTANCE: &str = "bench";

/// Builds the binary that is measured.
pub(super) fn build() -> Result<()> {
    command::run(command::cargo().args(["build", "--release", "--package", "portmeter"]))
}

/// An empty folder under target/ for a bench's files.
pub(super) fn fresh_folder(name: &str) -> Result<PathBuf> {
    let folder = workspace_root().join("target").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A running agent that counts on the cable; stopped, with its programs and pins, when dropped.
pub(super) struct Portmeter<'lab> {
    host: &'lab Host,
    process: Running,
}

impl<'lab> Portmeter<'lab> {
    /// Starts it on a data folder, which may have been used before, and waits until it is ready.
    pub(super) fn start(host: &'lab Host, data: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let binary = workspace_root().join("target/release/portmeter");
        let log = data.with_extension("log");
        let mut run = host.command(binary.to_str().context("the workspace's path is not UTF-8")?);
        run.args(["run", "--instance", INSTANCE, "--detach-on-exit", "--data-dir"])
            .arg(data)
            .env("PORTMETER_API_KEY", API_KEY)
            .env("PORTMETER_XRAY__MODE", "none")
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let portmeter = Self {
            host,
            process: Running::start(&mut run)?,
        };
        wait_until("the agent is ready", || portmeter.get("/readyz").is_ok())
            .with_context(|| format!("see {}", log.display()))?;
        Ok(portmeter)
    }

    pub(super) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it by SIGKILL: its programs and pins stay, for the next start to find.
    pub(super) fn kill(self) -> Result<()> {
        self.process.kill()
    }

    /// Makes keys until there are `count`; each has a port of its own.
    pub(super) fn make_keys(&self, count: usize) -> Result<()> {
        let keys: Value = serde_json::from_str(&self.get("/api/keys")?)?;
        let present = keys.as_array().context("the list of keys is no list")?.len();
        for number in present..count {
            self.curl(&["-d", &format!("{{\"name\":\"key {number}\"}}")], &url("/api/keys"))?;
        }
        Ok(())
    }

    /// Packets received by a key's port.
    pub(super) fn received_packets(&self, port: u16) -> Result<u64> {
        let name = "portmeter_port_receive_packets_total";
        let sample = format!("{name}{{port=\"{port}\"}}");
        let metrics = self.metrics()?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(&sample));
        let value = value.with_context(|| format!("there is no {sample} in the metrics"))?;
        Ok(value.trim().parse()?)
    }

    pub(super) fn get(&self, path: &str) -> Result<String> {
        self.curl(&[], &url(path))
    }

    pub(super) fn metrics(&self) -> Result<String> {
        self.curl(&[], &format!("http://{METRICS_ADDRESS}/metrics"))
    }

    fn curl(&self, extra: &[&str], url: &str) -> Result<String> {
        let mut curl = self.host.command("curl");
        curl.args(["-sf", "-H", &format!("X-API-Key: {API_KEY}")]);
        command::output(curl.args(extra).arg(url))
    }
}

fn url(path: &str) -> String {
    format!("{REST}{path}")
}
