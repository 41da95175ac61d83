//! The kernel room: loads the programs, attaches them, pins what has to outlive the agent, and reads the counters.
//!
//! The only room that names aya and the only one in this crate with `unsafe` code. Programs and maps are pinned
//! under `/sys/fs/bpf/portmeter/<instance>/` and go on counting while the agent is down. Counters are read, never
//! written.
#![allow(
    unsafe_code,
    reason = "mapped memory, plain-data markers and system calls that no crate offers; each use says why"
)]

mod attach;
mod bpffs;
mod clsact;
mod counters;
mod error;
pub mod inspect;
mod life;
mod link;
mod maps;
mod namespace;
mod pins;
mod slots;
mod tcx;
mod uninstall;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use portmeter_ebpf::layout;
use uuid::Uuid;

use crate::config::HookChoice;

pub use attach::{Attached, Hook};
pub use counters::KernelCounters;
pub use error::KernelError;
use pins::Pins;
pub use uninstall::{Leftover, uninstall};

/// The programs, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!("../../../agent-ebpf/object/portmeter.bpf.o");

/// What `cargo xtask ebpf` noted about the embedded object.
static MANIFEST: &str = include_str!("../../../agent-ebpf/object/portmeter.bpf.json");

/// SHA-256 of the source that the embedded object was built from, in hex.
pub fn source_digest() -> String {
    let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap_or_default();
    manifest["source_sha256"].as_str().unwrap_or_default().to_owned()
}

/// What the kernel side is asked to be.
pub struct KernelOptions<'a> {
    /// The agent's instance: names the folder of pins.
    pub instance: &'a str,
    /// How to attach.
    pub hook: HookChoice,
    /// Every port to count.
    pub ports: &'a BTreeSet<u16>,
    /// The ledger that books the counters.
    pub ledger_id: Uuid,
}

/// The loaded programs and their maps.
pub struct Kernel {
    ebpf: Ebpf,
    pins: Pins,
    hook: Hook,
    counters: Arc<KernelCounters>,
    origin: crate::store::LifeOrigin,
    attached: BTreeMap<u32, Attached>,
    is_new_life: bool,
}

/// Packets that may belong to a tracked port but cannot be attributed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unattributed {
    /// Why.
    pub reason: &'static str,
    /// How many packets.
    pub packets: u64,
    /// Their IP-layer bytes, as far as they can be told.
    pub bytes: u64,
}

impl Kernel {
    /// Loads the programs; takes up the pinned maps of this instance where there are some, makes them otherwise.
    /// Nothing is attached or replaced yet, so a failure leaves what runs as it was.
    pub fn open(options: &KernelOptions<'_>) -> Result<Self, KernelError> {
        bpffs::ensure_mounted()?;
        let hook = attach::choose_hook(options.hook)?;
        let pins = Pins::of(options.instance);
        let is_new_life = pins.prepare()? || life::clear_unfinished(&pins)?;
        let result = Self::load(options, hook, pins.clone(), is_new_life);
        if result.is_err() && is_new_life {
            pins.remove_maps();
            pins.remove_folder();
        }
        result
    }

    fn load(options: &KernelOptions<'_>, hook: Hook, pins: Pins, is_new_life: bool) -> Result<Self, KernelError> {
        let life = if is_new_life {
            life::new(options.ledger_id, slots::capacity_for(options.ports.len()))?
        } else {
            let life = life::read(&pins)?;
            life::check(&life, options.instance)?;
            life
        };
        let mut ebpf = load_object(&pins, life.slot_capacity, life.cpu_count)?;
        if is_new_life {
            life::write(&mut ebpf, &life)?;
        }
        let slots = slots::track(&mut ebpf, options.ports, life.slot_capacity)?;
        let counters = Arc::new(KernelCounters::map(&mut ebpf, &life, slots)?);
        attach::load_programs(&mut ebpf)?;
        Ok(Self {
            ebpf,
            pins,
            hook,
            counters,
            origin: life::origin(&life),
            attached: BTreeMap::new(),
            is_new_life,
        })
    }

    /// The counters, to be read from anywhere.
    pub fn counters(&self) -> Arc<KernelCounters> {
        Arc::clone(&self.counters)
    }

    /// Where the maps come from and which ledger books them so far.
    pub fn origin(&self) -> &crate::store::LifeOrigin {
        &self.origin
    }

    /// Notes in the maps that `ledger_id` books them from now on.
    pub fn adopt(&mut self, ledger_id: Uuid) -> Result<(), KernelError> {
        if self.origin.ledger_id == ledger_id {
            return Ok(());
        }
        let life = layout::MapLife {
            ledger_id: *ledger_id.as_bytes(),
            ..life::read(&self.pins)?
        };
        life::write(&mut self.ebpf, &life)?;
        self.origin.ledger_id = ledger_id;
        Ok(())
    }

    /// Takes back what a failed start put into the kernel; maps of an earlier start stay and count on.
    pub fn take_back(&mut self) {
        if self.is_new_life {
            self.detach_all();
            self.remove_pins();
        }
    }

    /// Tells the programs which addresses are this host's.
    pub fn set_addresses(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<(), KernelError> {
        maps::set_addresses(&mut self.ebpf, addresses)
    }

    /// What could not be attributed since the maps were made, by reason.
    pub fn unattributed(&self) -> Result<Vec<Unattributed>, KernelError> {
        maps::unattributed(&self.ebpf)
    }

    /// Detaches every program; maps and their counts stay pinned.
    pub fn detach_all(&mut self) {
        for (_, attached) in std::mem::take(&mut self.attached) {
            self.detach(&attached);
        }
    }

    /// Removes the pinned maps: their counts are gone when nobody holds them any more.
    pub fn remove_pins(&self) {
        self.pins.remove_maps();
        self.pins.remove_folder();
    }
}

/// Creates the maps, or takes up the pinned ones, and relocates the programs.
fn load_object(pins: &Pins, slot_capacity: u32, cpu_count: u32) -> Result<Ebpf, KernelError> {
    let mut loader = EbpfLoader::new();
    for name in pins::MAPS {
        loader.map_pin_path(name, pins.map(name));
    }
    loader
        .map_max_entries(layout::PORT_COUNTERS, slot_capacity * cpu_count)
        .override_global(layout::SLOT_CAPACITY, &slot_capacity, true)
        .load(OBJECT)
        .map_err(|error| KernelError::load(&error))
}
