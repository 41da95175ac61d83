//! Other people's programs on the counted interface: built by clang, attached without the product's help.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::Array;
use aya::programs::links::{FdLink, LinkOrder};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{SchedClassifier, TcAttachType};
use aya::util::KernelVersion;
use serde_json::Value;
use tempfile::TempDir;

use crate::command;
use crate::namespace::Namespace;

/// The program's source, beside this file.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/foreign.bpf.c");

/// The compiled program.
#[derive(Debug)]
pub struct ForeignProgram {
    folder: TempDir,
}

impl ForeignProgram {
    /// Compiles it.
    pub fn compile() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = Self { folder };
        let mut clang = Command::new("clang");
        clang
            .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-c", SOURCE, "-o"])
            .arg(program.object());
        command::output(&mut clang)?;
        Ok(program)
    }

    /// Attaches it as a TC filter at `hook` (`ingress` or `egress`) of an interface that has a clsact qdisc.
    pub fn attach_filter(&self, host: &Namespace, interface: &str, hook: &str) -> Result<ForeignFilter> {
        let object = self.object();
        let object = object.to_str().context("the path of the object")?;
        host.run(&format!(
            "tc filter add dev {interface} {hook} prio 7 bpf direct-action object-file {object} section classifier"
        ))?;
        let shown: Value = serde_json::from_str(&host.run(&format!("tc -j filter show dev {interface} {hook}"))?)?;
        let filters = shown.as_array().context("tc shows no list")?;
        let program = filters
            .iter()
            .find_map(|filter| filter["options"]["prog"]["id"].as_u64());
        Ok(ForeignFilter {
            map: map_of(program.with_context(|| format!("no program in {shown}"))?)?,
        })
    }

    /// Attaches it as a TCX program at the end of the chain; it stays as long as what this returns.
    pub fn attach_tcx(&self, host: &Namespace, interface: &str, hook: TcAttachType) -> Result<ForeignTcx> {
        let mut programs = Ebpf::load_file(self.object())?;
        let program: &mut SchedClassifier = programs.program_mut("count_seen").context("count_seen")?.try_into()?;
        program.load()?;
        let order = TcAttachOptions::TcxOrder(LinkOrder::last());
        let link = host.enter(|| program.attach_with_options(interface, hook, order))?;
        let link = FdLink::try_from(program.take_link(link)?)?;
        Ok(ForeignTcx { programs, _link: link })
    }

    fn object(&self) -> PathBuf {
        self.folder.path().join("foreign.o")
    }
}

/// Somebody's filter.
#[derive(Debug)]
pub struct ForeignFilter {
    map: u64,
}

impl ForeignFilter {
    /// How many IPv4 packets it has seen.
    pub fn seen(&self) -> Result<u64> {
        let text = command::output(Command::new("bpftool").args(["-j", "map", "dump", "id", &self.map.to_string()]))?;
        let entries: Value = serde_json::from_str(&text)?;
        entries[0]["formatted"]["value"]
            .as_u64()
            .with_context(|| format!("no count in {entries}"))
    }
}

/// Somebody's TCX program.
#[derive(Debug)]
pub struct ForeignTcx {
    programs: Ebpf,
    _link: FdLink,
}

impl ForeignTcx {
    /// How many IPv4 packets it has seen.
    pub fn seen(&self) -> Result<u64> {
        let map = Array::<_, u64>::try_from(self.programs.map("seen").context("the map")?)?;
        Ok(map.get(&0, 0)?)
    }
}

/// The map that a loaded program uses.
fn map_of(program: u64) -> Result<u64> {
    let text = command::output(Command::new("bpftool").args(["-j", "prog", "show", "id", &program.to_string()]))?;
    let shown: Value = serde_json::from_str(&text)?;
    shown["map_ids"][0]
        .as_u64()
        .with_context(|| format!("no map in {shown}"))
}

/// Whether the kernel has TCX; before 6.6 there are only filters.
pub fn kernel_has_tcx() -> bool {
    Path::new("/sys/kernel/btf/vmlinux").exists() && is_at_least(KernelVersion::new(6, 6, 0))
}

/// Whether the kernel lets a program that is younger than a connection watch it; before 6.12 it does not.
pub fn kernel_hands_over_connections() -> bool {
    is_at_least(KernelVersion::new(6, 12, 0))
}

fn is_at_least(version: KernelVersion) -> bool {
    KernelVersion::current().is_ok_and(|current| current >= version)
}
