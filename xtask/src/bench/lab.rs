//! Two hosts joined by a cable: namespaces with a veth pair, as in the stories, gone when dropped.
//!
//! Processes enter only the network namespace; `ip netns exec` would hide the BPF file system.

use std::fs::File;
use std::process::{self, Command};
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::{command, tools};

/// The measured host's address.
pub(super) const SERVER_ADDRESS: &str = "10.77.0.1";
const CLIENT_ADDRESS: &str = "10.77.0.2";
/// Each end of the cable.
pub(super) const INTERFACE: &str = "eth0";

/// Programs that every bench over namespaces calls, and their Debian packages.
pub(super) const TOOLS: [(&str, &str); 5] = [
    ("curl", "curl"),
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("taskset", "util-linux"),
];

/// A network namespace, deleted when dropped.
pub(super) struct Host {
    name: String,
}

impl Host {
    fn new(role: &str) -> Result<Self> {
        let host = Self {
            name: format!("portmeter-bench-{}-{role}", process::id()),
        };
        ip(&format!("netns add {}", host.name))?;
        ip(&format!("-n {} link set lo up", host.name))?;
        Ok(host)
    }

    /// A command that will run in here, as the very process that is started.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("--").arg(program);
        command
    }

    /// The same, kept on one CPU.
    pub(super) fn command_on_cpu(&self, cpu: usize, program: &str) -> Command {
        let mut command = self.command("taskset");
        command.args(["--cpu-list", &cpu.to_string(), program]);
        command
    }

    /// Moves this thread in here, for good.
    pub(super) fn enter(&self) -> Result<()> {
        setns(File::open(self.path())?, CloneFlags::CLONE_NEWNET).context("entering a namespace")
    }

    /// Does `work` on a thread in here.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let worker = || {
            self.enter()?;
            work()
        };
        thread::scope(|scope| scope.spawn(worker).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Packets that the interface has received, as its driver counts them.
    pub(super) fn received_packets(&self) -> Result<u64> {
        self.received("packets")
    }

    /// Their bytes, link headers included.
    pub(super) fn received_bytes(&self) -> Result<u64> {
        self.received("bytes")
    }

    fn received(&self, what: &str) -> Result<u64> {
        let text = command::output(Command::new("ip").args(["-n", &self.name, "-j", "-s", "link", "show", INTERFACE]))?;
        let shown: Value = serde_json::from_str(&text)?;
        shown[0]["stats64"]["rx"][what]
            .as_u64()
            .with_context(|| format!("ip tells no received {what}"))
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = ip(&format!("netns del {}", self.name)) {
            eprintln!("namespace {} stays behind: {error:#}", self.name);
        }
    }
}

/// Whether packets larger than the wire's are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Offloads {
    On,
    Off,
}

/// A client and the measured host.
pub(super) struct Lab {
    pub(super) server: Host,
    pub(super) client: Host,
}

impl Lab {
    pub(super) fn new() -> Result<Self> {
        ensure!(tools::is_root()?, "this bench makes network namespaces: run it as root");
        let (server, client) = (Host::new("server")?, Host::new("client")?);
        let peer = format!("peer name {INTERFACE} netns {}", client.name);
        ip(&format!("-n {} link add {INTERFACE} type veth {peer}", server.name))?;
        for (host, address) in [(&server, SERVER_ADDRESS), (&client, CLIENT_ADDRESS)] {
            ip(&format!("-n {} link set {INTERFACE} up", host.name))?;
            ip(&format!("-n {} address add {address}/24 dev {INTERFACE}", host.name))?;
        }
        Ok(Self { server, client })
    }

    /// Switches the offloads of both ends.
    pub(super) fn set_offloads(&self, wanted: Offloads) -> Result<()> {
        let value = if wanted == Offloads::On { "on" } else { "off" };
        for host in [&self.server, &self.client] {
            let mut ethtool = host.command("ethtool");
            ethtool.args(["-K", INTERFACE]);
            for feature in ["tso", "gso", "gro"] {
                ethtool.args([feature, value]);
            }
            command::output(&mut ethtool)?;
        }
        Ok(())
    }
}

fn ip(line: &str) -> Result<()> {
    command::output(Command::new("ip").args(line.split_whitespace())).map(drop)
}
