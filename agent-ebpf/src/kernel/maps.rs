//! The maps, as `layout` describes them. The statics' names are what a person sees in bpftool.
#![allow(
    non_upper_case_globals,
    reason = "maps are known to people by the lower-case names of the layout"
)]

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;
use portmeter_ebpf::layout::{
    LOCAL_ADDRESSES_CAPACITY, MapLife, PORT_SLOTS_CAPACITY, PortCounters, UnattributedCounters, UnattributedReason,
};
use portmeter_ebpf::packet::Lookups;

#[btf_map]
static port_slots: Array<i32, { PORT_SLOTS_CAPACITY as usize }> = Array::new();

/// The loader sets how many there are: possible CPUs × `SLOT_CAPACITY`.
#[btf_map]
pub(super) static port_counters: Array<PortCounters, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map]
static local_addresses_v4: HashMap<[u8; 4], u8, { LOCAL_ADDRESSES_CAPACITY as usize }> = HashMap::new();

#[btf_map]
static local_addresses_v6: HashMap<[u8; 16], u8, { LOCAL_ADDRESSES_CAPACITY as usize }> = HashMap::new();

#[btf_map]
pub(super) static unattributed: PerCpuArray<UnattributedCounters, { UnattributedReason::ALL.len() }> =
    PerCpuArray::new();

/// Not used by the programs; it is here so that it is made, named and pinned like the others.
#[btf_map]
static map_life: Array<MapLife, 1> = Array::new();

/// How many slots `port_counters` has for each CPU; the loader sets it. 0 counts nothing and says so.
#[unsafe(no_mangle)]
pub(super) static SLOT_CAPACITY: Global<u32> = Global::new(0);

/// The parser's questions, answered by the maps.
pub(super) struct Maps;

impl Lookups for Maps {
    #[inline(always)]
    fn port_slot(&self, port: u16) -> u32 {
        match port_slots.get(u32::from(port)) {
            Some(slot) if *slot > 0 => *slot as u32,
            _ => 0,
        }
    }

    #[inline(always)]
    fn is_local_ipv4(&self, address: [u8; 4]) -> bool {
        local_addresses_v4.get_ptr(&address).is_some()
    }

    #[inline(always)]
    fn is_local_ipv6(&self, address: [u64; 2]) -> bool {
        // SAFETY: both are the same sixteen bytes, and the reference is the better aligned of the two.
        let key = unsafe { &*(&raw const address).cast::<[u8; 16]>() };
        local_addresses_v6.get_ptr(key).is_some()
    }
}
