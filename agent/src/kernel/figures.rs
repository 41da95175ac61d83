//! What the kernel tells of the programs and maps themselves: how often and how long they ran, how full they are, what was
//! dropped.

use std::os::fd::AsFd;
use std::time::Duration;

use aya::maps::{Map, MapData, PerCpuArray};
use portmeter_ebpf::layout::{
    self, BLOCKED_CONNECTIONS, BLOCKED_CONNECTIONS_CAPACITY, DROPPED, DropReason, DroppedCounters, FRAGMENTS,
    FRAGMENTS_CAPACITY, FragmentKey, FragmentOwner, LOCAL_ADDRESSES_CAPACITY, LOCAL_ADDRESSES_V4, LOCAL_ADDRESSES_V6,
    PORT_COUNTERS,
};

use super::{Kernel, KernelError, bpf, maps};
use crate::counters::CounterReader;

/// Whether the kernel notes when programs run; readable by everybody.
const STATISTICS_SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The programs whose runs are told.
const PROGRAMS: [&str; 9] = [
    layout::PROGRAM_RX_ETHERNET,
    layout::PROGRAM_TX_ETHERNET,
    layout::PROGRAM_RX_IP,
    layout::PROGRAM_TX_IP,
    layout::PROGRAM_RX_XDP,
    layout::PROGRAM_CONNECTIONS,
    layout::PROGRAM_ADOPT,
    layout::PROGRAM_BLOCK_ETHERNET,
    layout::PROGRAM_BLOCK_IP,
];

/// How full a map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapUse {
    /// Its name.
    pub map: &'static str,
    /// Entries that are in use. Of `port_counters`, slots; each is a port's.
    pub entries: u64,
    /// Entries that there is room for.
    pub entries_max: u64,
}

/// What one program has done since this agent loaded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramRuns {
    /// Its name.
    pub program: &'static str,
    /// How often it ran.
    pub count: u64,
    /// How long that took.
    pub time: Duration,
}

/// Packets that Portmeter itself has dropped since this agent started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Why.
    pub reason: &'static str,
    /// How many packets.
    pub packets: u64,
    /// Their IP-layer bytes.
    pub bytes: u64,
}

/// [`DroppedCounters`] as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PlainDropped(DroppedCounters);

// SAFETY: `DroppedCounters` is `repr(C)`, two `u64` without padding, valid for every bit pattern.
unsafe impl aya::Pod for PlainDropped {}

impl Kernel {
    /// How full the maps are that can be.
    pub fn map_uses(&self) -> Result<Vec<MapUse>, KernelError> {
        let (v4, v6) = self.address_counts;
        let row = |map, entries, entries_max: u32| MapUse {
            map,
            entries,
            entries_max: entries_max.into(),
        };
        Ok(vec![
            row(
                PORT_COUNTERS,
                self.counters.ports().len() as u64,
                self.life.slot_capacity,
            ),
            row(LOCAL_ADDRESSES_V4, v4, LOCAL_ADDRESSES_CAPACITY),
            row(LOCAL_ADDRESSES_V6, v6, LOCAL_ADDRESSES_CAPACITY),
            row(FRAGMENTS, self.fragment_count()?, FRAGMENTS_CAPACITY),
            row(
                BLOCKED_CONNECTIONS,
                self.block.connection_count(),
                BLOCKED_CONNECTIONS_CAPACITY,
            ),
        ])
    }

    /// Who fills this map is the kernel alone, so it is the one that is asked.
    fn fragment_count(&self) -> Result<u64, KernelError> {
        let Map::LruHashMap(data) = maps::find(&self.ebpf, FRAGMENTS)? else {
            return Err(KernelError::Map {
                name: FRAGMENTS,
                detail: "it is no LRU hash".to_owned(),
            });
        };
        let count = bpf::entry_count::<FragmentKey, FragmentOwner>(data.fd().as_fd(), FRAGMENTS_CAPACITY);
        count
            .map(u64::from)
            .map_err(|error| KernelError::map(FRAGMENTS, &error))
    }

    /// What the programs have done; nothing where the kernel does not keep statistics of programs
    /// (`kernel.bpf_stats_enabled`).
    pub fn program_runs(&self) -> Vec<ProgramRuns> {
        let runs: Vec<ProgramRuns> = PROGRAMS.into_iter().filter_map(|name| self.runs_of(name)).collect();
        let is_kept = std::fs::read_to_string(STATISTICS_SWITCH).is_ok_and(|text| text.trim() != "0");
        // Statistics can also be asked for by somebody who holds a descriptor for it.
        if is_kept || runs.iter().any(|one| one.count > 0) {
            runs
        } else {
            Vec::new()
        }
    }

    /// `None` for a program that is not loaded.
    fn runs_of(&self, name: &'static str) -> Option<ProgramRuns> {
        let info = self.ebpf.program(name)?.info().ok()?;
        Some(ProgramRuns {
            program: name,
            count: info.run_count(),
            time: info.run_time(),
        })
    }

    /// What Portmeter itself has dropped, by reason.
    pub fn dropped(&self) -> Result<Vec<Dropped>, KernelError> {
        let failed = |error: aya::maps::MapError| KernelError::map(DROPPED, &error);
        let map: PerCpuArray<&MapData, PlainDropped> = maps::find(&self.ebpf, DROPPED)?.try_into().map_err(failed)?;
        let row = |reason: DropReason| {
            let values = map.get(&(reason as u32), 0).map_err(failed)?;
            Ok(Dropped {
                reason: reason.name(),
                packets: values.iter().map(|value| value.0.packets).sum(),
                bytes: values.iter().map(|value| value.0.bytes).sum(),
            })
        };
        DropReason::ALL.into_iter().map(row).collect()
    }
}
