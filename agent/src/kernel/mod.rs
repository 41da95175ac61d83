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
mod block;
mod bpf;
pub mod bpffs;
pub mod cgroup;
mod clsact;
mod connections;
mod counters;
mod error;
mod figures;
pub mod inspect;
mod life;
mod link;
mod log;
mod maps;
mod memory;
mod namespace;
mod offsets;
mod pinned;
mod pins;
mod slots;
mod takeover;
mod tcx;
mod uninstall;
mod xdp;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use portmeter_ebpf::layout::{self, MapLife};
use uuid::Uuid;

use crate::config::HookChoice;
use crate::store::LifeOrigin;

pub use attach::{Attached, Hook};
use block::Block;
pub use connections::ConnectionWatch;
pub use counters::KernelCounters;
pub use error::KernelError;
pub use figures::{Dropped, MapUse, ProgramRuns};
pub use life::boot_id;
pub use log::KernelLog;
pub use memory::give_back_freed_memory;
pub use pinned::pinned_counters;
use pins::Place;
pub use pins::{Pins, ROOT as PIN_ROOT};
use takeover::{Needs, Takeover};
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
    /// Whether the programs tell of rare events.
    pub log: bool,
}

/// The loaded programs and their maps.
pub struct Kernel {
    ebpf: Ebpf,
    pins: Pins,
    place: Place,
    hook: Hook,
    counters: Arc<KernelCounters>,
    life: MapLife,
    attached: BTreeMap<u32, Attached>,
    /// How many addresses of each family the programs know, IPv4 first.
    address_counts: (u64, u64),
    block: Block,
    is_new_life: bool,
    predecessor: Option<Predecessor>,
}

/// Maps that are being moved away from: what they hold has to be booked before they go.
#[derive(Clone)]
pub struct Predecessor {
    /// Their counters.
    pub counters: Arc<KernelCounters>,
    /// Where they come from, for the ledger.
    pub origin: LifeOrigin,
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
    /// Loads the programs; takes up the pinned maps of this instance where they fit, makes new ones otherwise.
    /// Nothing is attached or replaced yet, so a failure leaves what runs as it was.
    pub fn open(options: &KernelOptions<'_>) -> Result<Self, KernelError> {
        let pins = Pins::of(options.instance);
        bpffs::ensure_mounted(pins.folder())?;
        let hook = attach::choose_hook(options.hook)?;
        pins.prepare()?;
        let takeover = find_takeover(options, &pins)?;
        let result = Self::load(options, hook, pins.clone(), takeover);
        if result.is_err() {
            match takeover {
                Takeover::Begin => {
                    pins.remove_maps(Place::Maps);
                    pins.remove_folder();
                }
                Takeover::Migrate { .. } => pins.remove_maps(Place::Successors),
                Takeover::TakeUp(_) | Takeover::Continue { .. } | Takeover::Finish(_) => {}
            }
        }
        result
    }

    fn load(options: &KernelOptions<'_>, hook: Hook, pins: Pins, takeover: Takeover) -> Result<Self, KernelError> {
        let (place, found, predecessor) = make_room(&pins, takeover)?;
        let is_new_life = found.is_none();
        let found = match found {
            Some(life) => life,
            None => life::new(options.ledger_id, slots::capacity_for(options.ports.len()))?,
        };
        // Where nothing watched the connections for a while, those marked as open may have closed unseen.
        let is_watched = connections::is_attached(&pins);
        let life = MapLife {
            connection_generation: found.connection_generation + u32::from(!is_watched),
            ..found
        };
        let mut ebpf = load_object(&pins, place, &life, options.log)?;
        let slots = slots::track(&mut ebpf, options.ports, life.slot_capacity)?;
        let counters = KernelCounters::map(&mut ebpf, &life, slots, &pins.map(place, layout::CONNECTION_OFFSETS))?;
        attach::load_programs(&mut ebpf, hook)?;
        if !is_watched {
            counters.begin_connections_anew()?;
        }
        life::write(&mut ebpf, &life)?;
        Ok(Self {
            ebpf,
            pins,
            place,
            hook,
            counters: Arc::new(counters),
            life,
            attached: BTreeMap::new(),
            address_counts: (0, 0),
            block: Block::default(),
            is_new_life,
            predecessor,
        })
    }

    /// The counters, to be read from anywhere.
    pub fn counters(&self) -> Arc<KernelCounters> {
        Arc::clone(&self.counters)
    }

    /// Where the maps come from and which ledger books them so far.
    pub fn origin(&self) -> LifeOrigin {
        life::origin(&self.life)
    }

    /// Notes in the maps that `ledger_id` books them from now on.
    pub fn adopt(&mut self, ledger_id: Uuid) -> Result<(), KernelError> {
        if self.life.ledger_id == *ledger_id.as_bytes() {
            return Ok(());
        }
        self.life.ledger_id = *ledger_id.as_bytes();
        life::write(&mut self.ebpf, &self.life)
    }

    /// Counts connections from now on: those to come, and those that are there already. Where that cannot be, the
    /// socket tables have to do, and the answer says why.
    pub fn watch_connections(&mut self) -> ConnectionWatch {
        let attached = connections::attach(&mut self.ebpf, &self.pins);
        let adoption = connections::adopt(&mut self.ebpf);
        if let (Ok(()), Ok(adoption)) = (&attached, &adoption) {
            tracing::debug!(
                adopted = adoption.adopted,
                failed = adoption.failed,
                "older connections taken over"
            );
        }
        let watch = connections::watch(&attached, &adoption);
        self.counters.set_counts_connections(watch == ConnectionWatch::Complete);
        watch
    }

    /// What the programs tell of rare events; can be taken once.
    pub fn take_log(&mut self) -> Result<KernelLog, KernelError> {
        KernelLog::take(&mut self.ebpf)
    }

    /// The maps that are being moved away from, come to rest: every program has been replaced by one that counts into
    /// their successors, and those that were still running have ended. `None` when there are none.
    ///
    /// To be called when everything is attached, and followed by [`Self::forget_predecessor`] once it is booked.
    pub fn settled_predecessor(&self) -> Option<Predecessor> {
        let predecessor = self.predecessor.clone()?;
        link::wait_for_running_programs();
        Some(predecessor)
    }

    /// Removes the maps that were moved away from, and gives their place to their successors.
    pub fn forget_predecessor(&mut self) -> Result<(), KernelError> {
        if self.predecessor.take().is_some() {
            self.pins.promote_successors()?;
            self.place = Place::Maps;
        }
        Ok(())
    }

    /// Takes back what a failed start put into the kernel; maps of an earlier start stay and count on. So does a move
    /// that has begun: the next start goes on with it.
    pub fn take_back(&mut self) {
        match (self.is_new_life, &self.predecessor) {
            (true, None) => {
                self.detach_all();
                self.remove_pins();
            }
            (true, Some(_)) if self.attached.is_empty() => self.pins.remove_maps(Place::Successors),
            _ => {}
        }
    }

    /// Tells the programs which addresses are this host's.
    pub fn set_addresses(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<(), KernelError> {
        maps::set_addresses(&mut self.ebpf, addresses)?;
        let v4 = addresses.iter().filter(|address| address.is_ipv4()).count();
        self.address_counts = (v4 as u64, (addresses.len() - v4) as u64);
        Ok(())
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
        link::detach_and_unpin(&self.pins.connections_link());
    }

    /// Removes the pinned maps: their counts are gone when nobody holds them any more.
    pub fn remove_pins(&self) {
        self.pins.remove_maps(Place::Maps);
        self.pins.remove_folder();
    }
}

/// Finds out what to do with the maps that are there.
fn find_takeover(options: &KernelOptions<'_>, pins: &Pins) -> Result<Takeover, KernelError> {
    let (present, successors) = (life::find(pins, Place::Maps)?, life::find(pins, Place::Successors)?);
    let needs = Needs {
        netns_cookie: life::netns_cookie()?,
        ports_fit: slots::fit(pins, present, options.ports)?,
    };
    takeover::decide(present, successors, needs).map_err(|refusal| KernelError::refusal(refusal, options.instance))
}

/// Makes or clears the places that the takeover needs. Gives where this start's maps lie, their life if they are there
/// already, and the maps that have to be booked and removed.
fn make_room(pins: &Pins, takeover: Takeover) -> Result<(Place, Option<MapLife>, Option<Predecessor>), KernelError> {
    let predecessor = |life: &MapLife| -> Result<_, KernelError> {
        Ok(Some(Predecessor {
            counters: Arc::new(KernelCounters::from_pins(pins, Place::Maps)?),
            origin: life::origin(life),
        }))
    };
    Ok(match takeover {
        Takeover::Begin => {
            // Counters that no life vouches for must not be booked.
            pins.remove_maps(Place::Maps);
            pins.remove_maps(Place::Successors);
            (Place::Maps, None, None)
        }
        Takeover::TakeUp(life) => {
            pins.remove_maps(Place::Successors);
            (Place::Maps, Some(life), None)
        }
        Takeover::Migrate { from } => {
            pins.remove_maps(Place::Successors);
            pins.prepare_successors()?;
            (Place::Successors, None, predecessor(&from)?)
        }
        Takeover::Continue { from, to } => (Place::Successors, Some(to), predecessor(&from)?),
        Takeover::Finish(life) => {
            pins.promote_successors()?;
            (Place::Maps, Some(life), None)
        }
    })
}

/// Creates the maps, or takes up the pinned ones, and relocates the programs.
fn load_object(pins: &Pins, place: Place, life: &MapLife, log: bool) -> Result<Ebpf, KernelError> {
    let log_level = log::level(log);
    let mut loader = EbpfLoader::new();
    for name in pins::MAPS {
        loader.map_pin_path(name, pins.map(place, name));
    }
    loader
        .map_max_entries(layout::PORT_COUNTERS, life.slot_capacity * life.cpu_count)
        .map_max_entries(layout::CONNECTION_OFFSETS, life.slot_capacity)
        .override_global(layout::SLOT_CAPACITY, &life.slot_capacity, true)
        .override_global(layout::NETNS_COOKIE, &life.netns_cookie, true)
        .override_global(layout::CONNECTION_GENERATION, &life.connection_generation, true)
        .override_global(layout::LOG_LEVEL, &log_level, true)
        .load(OBJECT)
        .map_err(|error| KernelError::load(&error))
}
