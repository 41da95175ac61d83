//! The counters, mapped into this process: reading them costs a few loads and no system call.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Ebpf;
use aya::maps::{Array, Map, MapData};
use memmap2::{MmapOptions, MmapRaw};
use portmeter_ebpf::layout::{MapLife, PORT_COUNTERS, PORT_SLOTS, PortCounters};
use uuid::Uuid;

use super::{KernelError, Pins, life, maps, slots};
use crate::counters::{ConnectionCount, ConnectionCounter, Counter, CounterReader, MapLifeId};

/// Read access to the counter of every port that has one.
pub struct KernelCounters {
    life: MapLifeId,
    memory: MmapRaw,
    slot_capacity: usize,
    cpu_count: usize,
    ports: Vec<u16>,
    slots: BTreeMap<u16, u32>,
}

impl KernelCounters {
    /// Maps the counters of a loaded object.
    pub(super) fn map(
        ebpf: &mut Ebpf,
        life: &MapLife,
        slots: BTreeMap<u16, u32>,
        offsets: PathBuf,
    ) -> Result<Self, KernelError> {
        let offsets = Offsets::open(&offsets)?;
        match maps::find_mut(ebpf, PORT_COUNTERS)? {
            Map::Array(data) => Self::from_data(data, life, slots, offsets),
            _ => Err(KernelError::Map {
                name: PORT_COUNTERS,
                detail: "it is no array".to_owned(),
            }),
        }
    }

    /// Maps the pinned counters of an instance without loading anything.
    pub(super) fn from_pins(pins: &Pins, place: Place) -> Result<Self, KernelError> {
        let life = life::read(pins, place)?;
        let slots = slots::slots_of(&slots::from_pins(pins, place)?);
        let failed = |error: &dyn std::error::Error| KernelError::map(PORT_COUNTERS, error);
        let data = MapData::from_pin(pins.map(place, PORT_COUNTERS)).map_err(|error| failed(&error))?;
        Self::from_data(&data, &life, slots, Offsets::default())
    }

    fn from_data(
        data: &MapData,
        life: &MapLife,
        slots: BTreeMap<u16, u32>,
        offsets: Offsets,
    ) -> Result<Self, KernelError> {
        let (slot_capacity, cpu_count) = (life.slot_capacity as usize, life.cpu_count as usize);
        let info = data.info().map_err(|error| KernelError::map(PORT_COUNTERS, &error))?;
        if (info.max_entries() as usize) < slot_capacity * cpu_count
            || info.value_size() as usize != size_of::<PortCounters>()
            || slots.values().any(|slot| *slot >= life.slot_capacity)
        {
            return Err(KernelError::Map {
                name: PORT_COUNTERS,
                detail: "its size contradicts map_life".to_owned(),
            });
        }
        let memory = MmapOptions::new()
            .len(slot_capacity * cpu_count * size_of::<PortCounters>())
            .map_raw_read_only(data.fd().as_fd().as_raw_fd())
            .map_err(|source| KernelError::Environment {
                what: "the memory of port_counters",
                source,
            })?;
        Ok(Self {
            life: MapLifeId(Uuid::from_bytes(life.id)),
            memory,
            slot_capacity,
            cpu_count,
            ports: slots.keys().copied().collect(),
            slots,
            counts_connections: AtomicBool::new(false),
            offsets,
        })
    }

    /// Says whether the programs have seen every connection that is open.
    pub(super) fn set_counts_connections(&self, counts: bool) {
        self.counts_connections.store(counts, Ordering::Release);
    }

    /// Makes the connections that are open now the zero of those to come: nothing has watched them, so which of them
    /// are open has to be found out anew.
    pub(super) fn begin_connections_anew(&self) -> Result<(), KernelError> {
        for slot in self.slots.values() {
            self.offsets.set(*slot, self.balance(*slot))?;
        }
        Ok(())
    }

    /// Opened and adopted connections that are not closed, since the maps were made.
    ///
    /// Closings are read first: one that comes with its opening in between is then seen as open, never as less than
    /// nothing.
    fn balance(&self, slot: u32) -> i64 {
        let sum = |field: fn(*const PortCounters) -> *const u64| {
            (0..self.cpu_count).fold(0_u64, |sum, cpu| sum + self.load(field(self.line_address(cpu, slot as usize))))
        };
        // SAFETY: only addresses are formed, within a line of the mapping.
        let (closed, opened, adopted) = unsafe {
            (
                sum(|line| &raw const (*line).connections_closed),
                sum(|line| &raw const (*line).connections_opened),
                sum(|line| &raw const (*line).connections_adopted),
            )
        };
        (opened + adopted).cast_signed() - closed.cast_signed()
    }

    /// One CPU's line of a slot.
    fn line(&self, cpu: usize, slot: usize) -> Counter {
        let index = cpu * self.slot_capacity + slot;
        // SAFETY: `from_data` checked that the map has `slot_capacity × cpu_count` lines and mapped all of them, and
        // that every slot is below `slot_capacity`; the mapping lives as long as `self` and is page-aligned.
        let line = unsafe { self.memory.as_ptr().cast::<PortCounters>().add(index) };
        let load = |field: *const u64| {
            // SAFETY: `field` points into the line above, is aligned and valid for reads; the kernel writes it with
            // aligned 64-bit stores, which an atomic load never sees half of. Nothing here writes.
            unsafe { AtomicU64::from_ptr(field.cast_mut()) }.load(Ordering::Relaxed)
        };
        // SAFETY: only addresses are formed, within the line above.
        unsafe {
            Counter {
                rx_bytes: load(&raw const (*line).rx_bytes),
                rx_packets: load(&raw const (*line).rx_packets),
                tx_bytes: load(&raw const (*line).tx_bytes),
                tx_packets: load(&raw const (*line).tx_packets),
                connections_opened: load(&raw const (*line).connections_opened),
            }
        }
    }
}

impl CounterReader for KernelCounters {
    fn map_life(&self) -> MapLifeId {
        self.life
    }

    fn ports(&self) -> &[u16] {
        &self.ports
    }

    fn read(&self, port: u16) -> Counter {
        let Some(slot) = self.slots.get(&port) else {
            return Counter::default();
        };
        (0..self.cpu_count).fold(Counter::default(), |sum, cpu| sum + self.line(cpu, *slot as usize))
    }

    fn active_connections(&self, port: u16) -> Option<u64> {
        self.connection_count(port).map(ConnectionCount::active)
    }
}

/// The programs of this build do not count connections yet, so the socket tables answer.
impl ConnectionCounter for KernelCounters {
    fn connection_count(&self, _port: u16) -> Option<ConnectionCount> {
        None
    }

    fn correct_active_connections(&self, _port: u16, _difference: i64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
