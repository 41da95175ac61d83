//! The pinned maps: complete, of this boot and namespace, with room left, and what they could not attribute.

use aya::maps::{Map, MapData, PerCpuArray};
use portmeter_ebpf::layout::{LAYOUT_VERSION, UNATTRIBUTED};
use uuid::Uuid;

use crate::counters::{Counter, CounterReader};
use crate::kernel::pins::{self, Pins, Place};
use crate::kernel::{KernelCounters, KernelError, Unattributed, life, maps, slots};

/// The pinned maps of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedMaps {
    /// Maps of this build that are pinned.
    pub present: Vec<&'static str>,
    /// Maps of this build that are not.
    pub missing: Vec<&'static str>,
    /// What `map_life` says; meaningless while it is not pinned.
    pub life: Result<Life, String>,
    /// What the other maps hold; only read when the layout is this build's.
    pub facts: Result<MapFacts, String>,
}

/// The life of the maps, compared with this process's surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Names it.
    pub id: Uuid,
    /// The ledger that books these counters.
    pub ledger_id: Uuid,
    /// When the maps were made, seconds since 1970.
    pub created_at_unix_seconds: u64,
    /// The layout of the maps.
    pub layout_version: u32,
    /// The layout that this build reads.
    pub known_layout_version: u32,
    /// Whether they were made in this boot.
    pub is_of_this_boot: bool,
    /// Whether they count the network namespace that this process is in.
    pub is_of_this_namespace: bool,
}

/// What the maps hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapFacts {
    /// Slots for each CPU.
    pub slot_capacity: u32,
    /// Ports that are counted.
    pub tracked: Vec<u16>,
    /// Ports that keep their slot although they are counted no longer.
    pub retired: Vec<u16>,
    /// Everything counted, all ports together.
    pub counted: Counter,
    /// What could not be attributed, by reason.
    pub unattributed: Vec<Unattributed>,
}

/// Reads the pinned maps of `instance`.
pub fn inspect_maps(instance: &str) -> PinnedMaps {
    let pins = Pins::of(instance);
    let (present, missing) = pins::MAPS
        .into_iter()
        .partition(|name| pins.map(Place::Maps, name).exists());
    let life = read_life(&pins).map_err(|error| error.to_string());
    let facts = match &life {
        Ok(life) if life.layout_version == LAYOUT_VERSION => read_facts(&pins).map_err(|error| error.to_string()),
        Ok(_) => Err("their layout is not this build's".to_owned()),
        Err(error) => Err(error.clone()),
    };
    PinnedMaps {
        present,
        missing,
        life,
        facts,
    }
}

fn read_life(pins: &Pins) -> Result<Life, KernelError> {
    let found = life::read(pins, Place::Maps)?;
    Ok(Life {
        id: Uuid::from_bytes(found.id),
        ledger_id: Uuid::from_bytes(found.ledger_id),
        created_at_unix_seconds: found.created_at_unix_seconds,
        layout_version: found.layout_version,
        known_layout_version: LAYOUT_VERSION,
        is_of_this_boot: found.boot_id == *life::boot_id()?.as_bytes(),
        is_of_this_namespace: found.netns_cookie == life::netns_cookie()?,
    })
}

fn read_facts(pins: &Pins) -> Result<MapFacts, KernelError> {
    let failed = |name: &'static str| move |error: aya::maps::MapError| KernelError::map(name, &error);
    let counters = KernelCounters::from_pins(pins, Place::Maps)?;
    let port_slots = slots::from_pins(pins, Place::Maps)?;
    let (tracked, retired): (Vec<_>, Vec<_>) = port_slots.into_iter().partition(|(_, slot)| *slot > 0);
    let data = MapData::from_pin(pins.map(Place::Maps, UNATTRIBUTED)).map_err(failed(UNATTRIBUTED))?;
    let unattributed = Map::from_map_data(data).map_err(failed(UNATTRIBUTED))?;
    let unattributed: PerCpuArray<_, _> = unattributed.try_into().map_err(failed(UNATTRIBUTED))?;
    let mut counted = Counter::default();
    counters.read_all(&mut |_, counter| counted += counter);
    let ports = |slots: Vec<(u16, i32)>| slots.into_iter().map(|(port, _)| port).collect();
    Ok(MapFacts {
        slot_capacity: life::read(pins, Place::Maps)?.slot_capacity,
        tracked: ports(tracked),
        retired: ports(retired),
        counted,
        unattributed: maps::unattributed_rows(&unattributed)?,
    })
}
