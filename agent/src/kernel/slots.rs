//! Which slot of the counters a port has. A slot belongs to its port for the maps' life.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use aya::Ebpf;
use aya::maps::{Array, Map, MapData};
use portmeter_ebpf::layout::{PORT_SLOTS, PORT_SLOTS_CAPACITY};

use super::pins::Place;
use super::takeover::Found;
use super::{KernelError, Pins, bpf, maps};

/// Fewest slots: one page of cache lines for each CPU, so that ports can be added without new maps.
const MIN_CAPACITY: u32 = 1_024;

/// Slots for maps about to be made: twice what is needed now, a power of two.
pub(super) fn capacity_for(port_count: usize) -> u32 {
    let wanted = u32::try_from(port_count * 2).unwrap_or(u32::MAX);
    wanted.clamp(MIN_CAPACITY, PORT_SLOTS_CAPACITY).next_power_of_two()
}

/// What `port_slots` should hold for each port that has ever had a slot: the slot + 1 of a tracked port, the same
/// number negated for one that is tracked no longer. `None` when the slots do not suffice.
pub(super) fn assign(
    present: &BTreeMap<u16, i32>,
    tracked: &BTreeSet<u16>,
    capacity: u32,
) -> Option<BTreeMap<u16, i32>> {
    let used: BTreeSet<i32> = present.values().map(|slot| slot.abs()).collect();
    let mut free = (1..=i32::try_from(capacity).unwrap_or(i32::MAX)).filter(|slot| !used.contains(slot));
    let mut wanted: BTreeMap<u16, i32> = present.iter().map(|(port, slot)| (*port, -slot.abs())).collect();
    for port in tracked {
        let slot = match wanted.get(port) {
            Some(slot) => slot.abs(),
            None => free.next()?,
        };
        wanted.insert(*port, slot);
    }
    Some(wanted)
}

/// Whether every port of `tracked` has a slot in the maps that were found, or room for one.
pub(super) fn fit(pins: &Pins, found: Found, tracked: &BTreeSet<u16>) -> Result<bool, KernelError> {
    let Found::Maps(life) = found else {
        return Ok(false);
    };
    Ok(assign(&from_pins(pins, Place::Maps)?, tracked, life.slot_capacity).is_some())
}

/// Every port that has a slot in pinned maps.
pub(super) fn from_pins(pins: &Pins, place: Place) -> Result<BTreeMap<u16, i32>, KernelError> {
    let data = MapData::from_pin(pins.map(place, PORT_SLOTS)).map_err(|error| KernelError::map(PORT_SLOTS, &error))?;
    read(&data)
}

/// Makes the programs count `tracked` and nothing else; gives the slot of every port that has one.
pub(super) fn track(ebpf: &mut Ebpf, tracked: &BTreeSet<u16>, capacity: u32) -> Result<Vec<(u16, u32)>, KernelError> {
    let map = maps::find_mut(ebpf, PORT_SLOTS)?;
    let present = match map {
        Map::Array(data) => read(data)?,
        _ => BTreeMap::new(),
    };
    let mut array: Array<_, i32> = map.try_into().map_err(|error| KernelError::map(PORT_SLOTS, &error))?;
    let wanted = assign(&present, tracked, capacity).ok_or(KernelError::TooManyPorts {
        capacity,
        needed: tracked.len() + present.len(),
    })?;
    for (port, slot) in &wanted {
        if present.get(port) != Some(slot) {
            array
                .set(u32::from(*port), slot, 0)
                .map_err(|error| KernelError::map(PORT_SLOTS, &error))?;
        }
    }
    Ok(slots_of(&wanted))
}

/// The slot of every port that has one, tracked still or no longer: what such a port counted last has to be booked too.
/// Ascending by port.
pub(super) fn slots_of(values: &BTreeMap<u16, i32>) -> Vec<(u16, u32)> {
    values
        .iter()
        .filter_map(|(port, value)| Some((*port, value.unsigned_abs().checked_sub(1)?)))
        .collect()
}

/// Every port that has a slot.
fn read(map: &MapData) -> Result<BTreeMap<u16, i32>, KernelError> {
    let values = bpf::array_values(map.fd().as_fd(), PORT_SLOTS_CAPACITY);
    let values = values.map_err(|error| KernelError::map(PORT_SLOTS, &error))?;
    Ok((0..=u16::MAX).zip(values).filter(|(_, value)| *value != 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_belongs_to_its_port_for_ever() {
        let first = assign(&BTreeMap::new(), &BTreeSet::from([10, 20]), 3).unwrap();
        assert_eq!(first, BTreeMap::from([(10, 1), (20, 2)]));
        let second = assign(&first, &BTreeSet::from([20, 30]), 3).unwrap();
        assert_eq!(second, BTreeMap::from([(10, -1), (20, 2), (30, 3)]));
        let third = assign(&second, &BTreeSet::from([10]), 3).unwrap();
        assert_eq!(third, BTreeMap::from([(10, 1), (20, -2), (30, -3)]));
        assert_eq!(assign(&third, &BTreeSet::from([40]), 3), None);
        assert_eq!(slots_of(&third), [(10, 0), (20, 1), (30, 2)]);
    }

    #[test]
    fn capacity_leaves_room() {
        assert_eq!(capacity_for(100), 1_024);
        assert_eq!(capacity_for(10_000), 32_768);
        assert_eq!(capacity_for(65_535), 65_536);
    }
}
