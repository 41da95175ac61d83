//! The life of the maps: who made them, when, for which namespace and ledger.

use aya::Ebpf;
use aya::maps::{Array, Map, MapData};
use portmeter_ebpf::layout::{LAYOUT_VERSION, MAP_LIFE, MapLife};
use uuid::Uuid;

use super::pins::Place;
use super::takeover::Found;
use super::{KernelError, Pins, namespace};
use crate::store::LifeOrigin;

/// [`MapLife`] as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct PlainMapLife(pub(super) MapLife);

// SAFETY: `MapLife` is `repr(C)`, has no padding and is valid for every bit pattern.
unsafe impl aya::Pod for PlainMapLife {}

/// A new life for maps about to be made.
pub(super) fn new(ledger_id: Uuid, slot_capacity: u32) -> Result<MapLife, KernelError> {
    let cpu_count = aya::util::nr_cpus().map_err(|(path, source)| KernelError::Environment {
        what: path_name(path),
        source,
    })?;
    Ok(MapLife {
        id: *Uuid::new_v4().as_bytes(),
        ledger_id: *ledger_id.as_bytes(),
        boot_id: *boot_id()?.as_bytes(),
        netns_cookie: netns_cookie()?,
        created_at_unix_seconds: chrono::Utc::now().timestamp().try_into().unwrap_or_default(),
        layout_version: LAYOUT_VERSION,
        slot_capacity,
        cpu_count: u32::try_from(cpu_count).expect("a kernel has fewer CPUs than u32 holds"),
        connection_generation: 0,
    })
}

fn path_name(path: &'static str) -> &'static str {
    if path.is_empty() { "the number of CPUs" } else { path }
}

/// What is pinned in a place. Maps that no life vouches for are none: an earlier start was killed before it described
/// them, and nothing was attached to them; or somebody has removed some.
pub(super) fn find(pins: &Pins, place: Place) -> Result<Found, KernelError> {
    if !pins.map(place, MAP_LIFE).exists() {
        return Ok(Found::Nothing);
    }
    let life = read(pins, place)?;
    let is_whole = life.id != [0; 16] && pins.is_complete(place, life.layout_version);
    Ok(if is_whole { Found::Maps(life) } else { Found::Nothing })
}

/// What the pinned maps say about themselves.
pub(super) fn read(pins: &Pins, place: Place) -> Result<MapLife, KernelError> {
    let data = MapData::from_pin(pins.map(place, MAP_LIFE)).map_err(|error| KernelError::map(MAP_LIFE, &error))?;
    let map = Map::from_map_data(data).map_err(|error| KernelError::map(MAP_LIFE, &error))?;
    let array: Array<_, PlainMapLife> = map.try_into().map_err(|error| KernelError::map(MAP_LIFE, &error))?;
    array
        .get(&0, 0)
        .map(|life| life.0)
        .map_err(|error| KernelError::map(MAP_LIFE, &error))
}

/// Writes the maps' description of themselves.
pub(super) fn write(ebpf: &mut Ebpf, life: &MapLife) -> Result<(), KernelError> {
    let map = super::maps::find_mut(ebpf, MAP_LIFE)?;
    let mut array: Array<_, PlainMapLife> = map.try_into().map_err(|error| KernelError::map(MAP_LIFE, &error))?;
    array
        .set(0, PlainMapLife(*life), 0)
        .map_err(|error| KernelError::map(MAP_LIFE, &error))
}

/// Where the maps come from, for the ledger.
pub(super) fn origin(life: &MapLife) -> LifeOrigin {
    LifeOrigin {
        ledger_id: Uuid::from_bytes(life.ledger_id),
        boot_id: Uuid::from_bytes(life.boot_id),
    }
}

/// Names this boot (`random(4)`).
pub fn boot_id() -> Result<Uuid, KernelError> {
    let what = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(what).map_err(|source| KernelError::Environment { what, source })?;
    Uuid::parse_str(text.trim()).map_err(|error| KernelError::Environment {
        what,
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    })
}

/// Names the network namespace that is counted.
pub(super) fn netns_cookie() -> Result<u64, KernelError> {
    namespace::cookie().map_err(|source| KernelError::Environment {
        what: "the network namespace's cookie",
        source,
    })
}
