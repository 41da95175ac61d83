//! The counters, mapped into this process: reading them costs a few loads and no system call.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aya::Ebpf;
use aya::maps::{Map, MapData};
use memmap2::{MmapOptions, MmapRaw};
use portmeter_ebpf::layout::{MapLife, PORT_COUNTERS, PortCounters};
use uuid::Uuid;

use super::offsets::Offsets;
use super::pins::Place;
use super::{KernelError, Pins, life, maps, slots};
use crate::counters::{ConnectionCount, ConnectionCounter, Counter, CounterReader, MapLifeId};

/// Read access to the counter of every port that has one.
pub struct KernelCounters {
    life: MapLifeId,
    memory: MmapRaw,
    slot_capacity: usize,
    cpu_count: usize,
    /// Ascending.
    ports: Vec<u16>,
    /// The slot of each of `ports`, in their order.
    slots: Vec<u32>,
    /// Whether the programs have seen every connection that is open.
    counts_connections: AtomicBool,
    offsets: Offsets,
}

impl KernelCounters {
    /// Maps the counters of a loaded object, whose offsets of connections are pinned at `offsets`.
    pub(super) fn map(
        ebpf: &mut Ebpf,
        life: &MapLife,
        slots: Vec<(u16, u32)>,
        offsets: &Path,
    ) -> Result<Self, KernelError> {
        let offsets = Offsets::open(offsets, slots.iter().map(|(_, slot)| *slot))?;
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
        let data = MapData::from_pin(pins.map(place, PORT_COUNTERS))
            .map_err(|error| KernelError::map(PORT_COUNTERS, &error))?;
        Self::from_data(&data, &life, slots, Offsets::none())
    }

    fn from_data(
        data: &MapData,
        life: &MapLife,
        slots: Vec<(u16, u32)>,
        offsets: Offsets,
    ) -> Result<Self, KernelError> {
        let (slot_capacity, cpu_count) = (life.slot_capacity as usize, life.cpu_count as usize);
        let info = data.info().map_err(|error| KernelError::map(PORT_COUNTERS, &error))?;
        if (info.max_entries() as usize) < slot_capacity * cpu_count
            || info.value_size() as usize != size_of::<PortCounters>()
            || slots.iter().any(|(_, slot)| *slot >= life.slot_capacity)
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
        let (ports, slots) = slots.into_iter().unzip();
        Ok(Self {
            life: MapLifeId(Uuid::from_bytes(life.id)),
            memory,
            slot_capacity,
            cpu_count,
            ports,
            slots,
            counts_connections: AtomicBool::new(false),
            offsets,
        })
    }

    /// Says whether the programs have seen every connection that is open.
    pub(super) fn set_counts_connections(&self, counts: bool) {
        self.counts_connections.store(counts, Ordering::Release);
    }

    /// Makes the present balance of each port the zero of its open connections: nothing has watched them for a while,
    /// so which are open has to be found out anew.
    pub(super) fn begin_connections_anew(&self) -> Result<(), KernelError> {
        self.slots.iter().try_for_each(|slot| {
            let unseen = ConnectionCount {
                offset: 0,
                ..self.connections(*slot)
            };
            self.offsets.change(*slot, |_| unseen.balance())
        })
    }

    /// What was counted of a slot's connections. Closings are read first: a connection that comes and goes in between
    /// is then seen as open, never as less than nothing.
    fn connections(&self, slot: u32) -> ConnectionCount {
        let closed = self.sum(slot, |line| &raw const line.connections_closed);
        ConnectionCount {
            closed,
            opened: self.sum(slot, |line| &raw const line.connections_opened),
            adopted: self.sum(slot, |line| &raw const line.connections_adopted),
            offset: self.offsets.get(slot),
        }
    }

    fn counter(&self, slot: u32) -> Counter {
        Counter {
            rx_bytes: self.sum(slot, |line| &raw const line.rx_bytes),
            rx_packets: self.sum(slot, |line| &raw const line.rx_packets),
            tx_bytes: self.sum(slot, |line| &raw const line.tx_bytes),
            tx_packets: self.sum(slot, |line| &raw const line.tx_packets),
            connections_opened: self.sum(slot, |line| &raw const line.connections_opened),
        }
    }

    /// One figure of a slot, over the CPUs.
    fn sum(&self, slot: u32, figure: impl Fn(&PortCounters) -> *const u64) -> u64 {
        (0..self.cpu_count).fold(0, |sum, cpu| {
            let index = cpu * self.slot_capacity + slot as usize;
            // SAFETY: `from_data` checked that the map has `slot_capacity × cpu_count` lines and mapped all of them,
            // and that every slot is below `slot_capacity`; the mapping lives as long as `self` and is page-aligned.
            // Of the reference only addresses are taken.
            let field = figure(unsafe { &*self.memory.as_ptr().cast::<PortCounters>().add(index) });
            // SAFETY: the field lies in that line, is aligned and valid for reads; the kernel writes it with aligned
            // 64-bit stores, which an atomic load never sees half of. Nothing here writes.
            sum + unsafe { AtomicU64::from_ptr(field.cast_mut()) }.load(Ordering::Relaxed)
        })
    }

    fn slot(&self, port: u16) -> Option<u32> {
        self.ports.binary_search(&port).ok().map(|at| self.slots[at])
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
        self.slot(port).map(|slot| self.counter(slot)).unwrap_or_default()
    }

    fn read_all(&self, each: &mut dyn FnMut(u16, Counter)) {
        for (port, slot) in self.ports.iter().zip(&self.slots) {
            each(*port, self.counter(*slot));
        }
    }

    fn active_connections(&self, port: u16) -> Option<u64> {
        self.connection_count(port).map(ConnectionCount::active)
    }
}

impl ConnectionCounter for KernelCounters {
    fn connection_count(&self, port: u16) -> Option<ConnectionCount> {
        if !self.counts_connections.load(Ordering::Acquire) {
            return None;
        }
        Some(self.slot(port).map(|slot| self.connections(slot)).unwrap_or_default())
    }

    fn correct_active_connections(&self, port: u16, difference: i64) -> std::io::Result<()> {
        let slot = self.slot(port).ok_or(std::io::ErrorKind::NotFound)?;
        self.offsets
            .change(slot, |offset| offset.saturating_sub(difference))
            .map_err(std::io::Error::other)
    }
}
