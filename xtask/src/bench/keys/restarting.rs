//! What the systems before Portmeter did: write the configuration, restart the core, be back when the ports are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::super::lab::Host;
use super::cores::listening_ports;
use super::ports;

const PATIENCE: Duration = Duration::from_secs(20);

/// Far below what a restart takes.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// RFC 7748, section 6.1. No client ever comes.
const PRIVATE_KEY: &str = "XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os";

/// A core that is restarted for every change.
pub(super) struct Restarting<'lab> {
    host: &'lab Host,
    core: PathBuf,
    file: PathBuf,
    process: Option<Child>,
}

impl<'lab> Restarting<'lab> {
    /// Starts a core with so many keys.
    pub(super) fn start(host: &'lab Host, core: &Path, file: &Path, key_count: usize) -> Result<Self> {
        let mut restarting = Self {
            host,
            core: core.to_owned(),
            file: file.to_owned(),
            process: None,
        };
        restarting.change(key_count)?;
        Ok(restarting)
    }

    /// Has the core serve so many keys from now on.
    pub(super) fn change(&mut self, key_count: usize) -> Result<()> {
        let ports = ports(key_count)?;
        fs::write(&self.file, serde_json::to_vec_pretty(&configuration(&ports))?)?;
        self.stop();
        let core = self.core.to_str().context("the core's path is not UTF-8")?;
        let mut run = self.host.command(core);
        run.args(["run", "-c"])
            .arg(&self.file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = self.process.insert(run.spawn().context("starting the core")?);
        self.host.inside(|| {
            let started = Instant::now();
            while started.elapsed() < PATIENCE {
                if let Some(status) = process.try_wait()? {
                    bail!("the core ended with {status}");
                }
                let listening = listening_ports()?;
                if ports.iter().all(|port| listening.contains(port)) {
                    return Ok(());
                }
                thread::sleep(POLL_INTERVAL);
            }
            bail!("the core's ports are not back after {} s", PATIENCE.as_secs())
        })
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Restarting<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn configuration(ports: &[u16]) -> Value {
    let inbound = |port: &u16| {
        let uuid = format!("00000000-0000-4000-8000-{port:012}");
        json!({
            "tag": format!("inbound-{uuid}"),
            "port": port,
            "protocol": "vless",
            "settings": {
                "clients": [{"id": uuid, "flow": "xtls-rprx-vision", "email": uuid}],
                "decryption": "none",
            },
            "streamSettings": {
                "network": "tcp",
                "security": "reality",
                "realitySettings": {
                    "dest": "127.0.0.1:443",
                    "serverNames": ["bench.example"],
                    "privateKey": PRIVATE_KEY,
                    "shortIds": ["0123abcd"],
                    "maxTimeDiff": 600_000,
                },
            },
        })
    };
    json!({
        "inbounds": ports.iter().map(inbound).collect::<Vec<_>>(),
        "outbounds": [{"protocol": "freedom"}],
    })
}
