//! An agent with a core, as on a server that sells keys.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::core::listening_ports;
use super::link::Link;
use super::site::{SERVER_NAME, Site};
use crate::agent::Agent;
use crate::namespace::Namespace;
use crate::network::SERVER_V4;
use crate::rest::Key;
use crate::{needs, wait};

/// An agent that runs a core. The core outlives it, and ends with the story.
#[derive(Debug)]
pub struct Supervised<'lab> {
    agent: Agent<'lab>,
}

impl<'lab> Supervised<'lab> {
    /// An agent on `host` that has not been started. Its core borrows the handshake of `site`.
    pub fn new(host: &'lab Namespace, site: &Site) -> Result<Self> {
        let xray = needs::xray()?;
        let xray = xray.to_str().context("the path of the core is no text")?;
        let agent = Agent::new(host)?
            .variable("PORTMETER_XRAY__MODE", "supervised")
            .variable("PORTMETER_XRAY__BINARY", xray)
            .variable("PORTMETER_XRAY__DEST", &site.dest())
            .variable("PORTMETER_XRAY__SERVER_NAMES", SERVER_NAME)
            .variable("PORTMETER_XRAY__SERVER_HOST", &SERVER_V4.to_string());
        Ok(Self { agent })
    }

    /// An agent on `host`, running and ready.
    pub fn started(host: &'lab Namespace, site: &Site) -> Result<Self> {
        let mut agent = Self::new(host, site)?;
        agent.start()?;
        Ok(agent)
    }

    /// The link of a key, as a customer would be given it.
    pub fn link(&self, key: &Key) -> Result<Link> {
        Link::parse(&self.link_text(key)?)
    }

    /// The same as text.
    pub fn link_text(&self, key: &Key) -> Result<String> {
        let shown = self.rest().shown(&format!("/api/keys/{}/config", key.id))?;
        let link = shown["vless_url"].as_str();
        Ok(link.with_context(|| format!("no vless_url in {shown}"))?.to_owned())
    }

    /// The core's configuration file, where nothing else is said.
    pub fn core_configuration(&self) -> PathBuf {
        self.data_folder().join("xray/config.json")
    }

    /// What stands in that file.
    pub fn read_core_configuration(&self) -> Result<Value> {
        let path = self.core_configuration();
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Writes the file as an administrator with an editor does.
    pub fn write_core_configuration(&self, configuration: &Value) -> Result<()> {
        fs::write(self.core_configuration(), serde_json::to_vec_pretty(configuration)?)?;
        Ok(())
    }

    /// What `validate-sync` says.
    pub fn synchronization(&self) -> Result<Value> {
        Ok(self.rest().shown("/api/system/xray/validate-sync")?["validation"].clone())
    }

    /// Waits until file and core are as they are wanted.
    pub fn wait_until_synchronized(&self) -> Result<()> {
        wait::until("the core and its file are as they are wanted", || {
            Ok(self.synchronization()?["synchronized"] == true)
        })
    }

    /// Waits until somebody listens on the port of every one of `keys`.
    pub fn wait_until_open(&self, keys: &[Key]) -> Result<()> {
        wait::until("the ports of all keys are open", || {
            let listening = listening_ports(self.host())?;
            Ok(keys.iter().all(|key| listening.contains(&key.port)))
        })
    }

    /// The one process of its core; more than one, or none, is a failure.
    pub fn core_process_id(&self) -> Result<i32> {
        let ids = core_process_ids(self.host())?;
        ensure!(ids.len() == 1, "the cores on this host: {ids:?}");
        Ok(ids[0])
    }

    /// Kills its core without a chance to do anything, and waits until it is gone and its ports with it.
    pub fn kill_core(&self) -> Result<()> {
        let id = self.core_process_id()?;
        kill(Pid::from_raw(id), Signal::SIGKILL)?;
        wait::until("a killed core is gone", || Ok(is_gone(id)))
    }
}

impl<'lab> Deref for Supervised<'lab> {
    type Target = Agent<'lab>;

    fn deref(&self) -> &Agent<'lab> {
        &self.agent
    }
}

impl DerefMut for Supervised<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.agent
    }
}

impl Drop for Supervised<'_> {
    fn drop(&mut self) {
        // First whoever would start another one. A story may have ended it already.
        let _ = self.agent.stop_with(Signal::SIGKILL);
        for id in core_process_ids(self.host()).unwrap_or_default() {
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

/// The processes on `host` that run a core. What the agent starts to try a configuration has a network of its own and is
/// not among them.
pub fn core_process_ids(host: &Namespace) -> Result<Vec<i32>> {
    let ids = crate::command::output(std::process::Command::new("ip").args(["netns", "pids", host.name()]))?;
    let ids = ids.lines().map(str::trim).filter_map(|id| id.parse().ok());
    Ok(ids.filter(|id| is_core(*id)).collect())
}

/// Whether every thread of a process has ended and let go of its files; its parent may not have taken notice yet. The
/// first one alone says nothing: it may be through long before the others.
fn is_gone(process: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return true;
    };
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, fields)| fields);
    threads.count() <= 1 && state.is_none_or(|fields| fields.starts_with(['Z', 'X']))
}

/// Told by its command line: `… run -c …/config.json`. One that has ended has none.
fn is_core(process: i32) -> bool {
    let words = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words: Vec<&str> = words.split('\0').collect();
    words.contains(&"run") && !words.contains(&"-test") && words.iter().any(|word| word.ends_with("config.json"))
}
