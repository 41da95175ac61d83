//! The maps, as `layout` describes them. The statics' names are what a person sees in bpftool.
#![allow(
    non_upper_case_globals,
    reason = "maps are known to people by the lower-case names of the layout"
)]

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_ANY, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, SkStorage};
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use portmeter_ebpf::layout::{
    Adoption, BLOCKED_CONNECTIONS_CAPACITY, BlockedConnection, ConnectionMark, DropReason, DroppedCounters,
    FRAGMENT_AGE_MAX_SECONDS_V4, FRAGMENT_AGE_MAX_SECONDS_V6, FRAGMENTS_CAPACITY, FewAddresses, FragmentKey,
    FragmentOwner, LOCAL_ADDRESSES_CAPACITY, MapLife, PORT_SLOTS_CAPACITY, PortCounters, UnattributedCounters,
    UnattributedReason,
};
use portmeter_ebpf::packet::{FragmentSource, Lookups};

use super::log;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[btf_map]
static port_slots: Array<i32, { PORT_SLOTS_CAPACITY as usize }> = Array::new();

/// The loader sets how many there are: possible CPUs × `SLOT_CAPACITY`.
#[btf_map]
static port_counters: Array<PortCounters, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map]
static local_addresses_v4: HashMap<[u8; 4], u8, { LOCAL_ADDRESSES_CAPACITY as usize }> = HashMap::new();

#[btf_map]
static local_addresses_v6: HashMap<[u8; 16], u8, { LOCAL_ADDRESSES_CAPACITY as usize }> = HashMap::new();

#[btf_map]
static few_addresses: Array<FewAddresses, 1> = Array::new();

#[btf_map]
pub(super) static unattributed: PerCpuArray<UnattributedCounters, { UnattributedReason::ALL.len() }> =
    PerCpuArray::new();

#[btf_map]
static fragments: LruHashMap<FragmentKey, FragmentOwner, { FRAGMENTS_CAPACITY as usize }> = LruHashMap::new();

#[btf_map]
pub(super) static connection_marks: SkStorage<ConnectionMark> = SkStorage::new();

/// Ports with a listening socket, found by the iterator before the connections to them.
#[btf_map]
pub(super) static listening_ports: HashMap<u16, u8, { PORT_SLOTS_CAPACITY as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

#[btf_map]
pub(super) static adoption: Array<Adoption, 1> = Array::new();

/// Empty but while a key that is cut off has connections that the kernel cannot end.
#[btf_map]
pub(super) static blocked_connections: HashMap<
    BlockedConnection,
    u8,
    { BLOCKED_CONNECTIONS_CAPACITY as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
pub(super) static dropped: PerCpuArray<DroppedCounters, { DropReason::ALL.len() }> = PerCpuArray::new();

/// Not used by the programs; it is here so that it is made, named and pinned like the others.
#[btf_map]
static map_life: Array<MapLife, 1> = Array::new();

/// Not used by the programs either. The loader sets how many there are: `SLOT_CAPACITY`.
#[btf_map]
static connection_offsets: Array<i64, 1> = Array::new();

/// How many slots `port_counters` has for each CPU; the loader sets it. 0 counts nothing and says so.
#[unsafe(no_mangle)]
static SLOT_CAPACITY: Global<u32> = Global::new(0);

/// The network namespace whose connections are counted; the loader sets it.
#[unsafe(no_mangle)]
pub(super) static NETNS_COOKIE: Global<u64> = Global::new(0);

/// The generation of marks that count; the loader sets it.
#[unsafe(no_mangle)]
pub(super) static CONNECTION_GENERATION: Global<u32> = Global::new(0);

/// This CPU's line of a slot; `None` where the maps contradict each other.
#[inline(always)]
pub(super) fn counters_of(slot: u32) -> Option<*mut PortCounters> {
    let slot_capacity = SLOT_CAPACITY.load();
    // A slot beyond this CPU's share would be another CPU's.
    if slot >= slot_capacity {
        return None;
    }
    // SAFETY: the helper takes nothing and cannot fail.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    port_counters.get_ptr_mut(cpu * slot_capacity + slot)
}

/// The parser's questions, answered by the maps. With `FEW`, addresses are looked for among [`few_addresses`] first:
/// worth it where nearly every packet is decided, too much for the verifier where all others are.
pub(super) struct Maps<const FEW: bool>;

impl<const FEW: bool> Lookups for Maps<FEW> {
    #[inline(always)]
    fn port_slot(&self, port: u16) -> u32 {
        match port_slots.get(u32::from(port)) {
            Some(slot) if *slot > 0 => *slot as u32,
            _ => 0,
        }
    }

    #[inline(always)]
    fn is_local_ipv4(&self, address: [u8; 4]) -> bool {
        (FEW && is_one_of_few_ipv4(address)) || local_addresses_v4.get_ptr(&address).is_some()
    }

    #[inline(always)]
    fn is_local_ipv6(&self, address: [u64; 2]) -> bool {
        if FEW && is_one_of_few_ipv6(address) {
            return true;
        }
        // SAFETY: both are the same sixteen bytes, and the reference is the better aligned of the two.
        let key = unsafe { &*(&raw const address).cast::<[u8; 16]>() };
        local_addresses_v6.get_ptr(key).is_some()
    }

    #[inline(always)]
    fn fragment_source(&self, key: &FragmentKey) -> FragmentSource {
        let Some(owner) = fragments.get_ptr(key) else {
            return FragmentSource::Unknown;
        };
        // SAFETY: an entry that another CPU replaces at this moment stays readable until this program ends. At worst
        // the two halves are of two datagrams with one identification, which cannot be told apart anyway.
        let owner = unsafe { *owner };
        let age_max_seconds = match key.ip_version {
            4 => FRAGMENT_AGE_MAX_SECONDS_V4,
            _ => FRAGMENT_AGE_MAX_SECONDS_V6,
        };
        if now_nanos().saturating_sub(owner.seen_at_nanos) > age_max_seconds * NANOS_PER_SECOND {
            return FragmentSource::Aged;
        }
        FragmentSource::Known {
            entry: owner.entry,
            port: owner.port,
        }
    }

    #[inline(always)]
    fn remember_fragment(&self, key: &FragmentKey, entry: u32, port: u16) {
        let owner = FragmentOwner {
            seen_at_nanos: now_nanos(),
            entry,
            port,
            reserved: 0,
        };
        if fragments.insert(key, owner, BPF_ANY.into()).is_err() {
            log::fragments_full(port);
        }
    }
}

/// Without branches, each of which the kernel would verify with everything that follows: of a difference of 32 bits
/// less one, the highest bit is set only if it was zero.
#[inline(always)]
fn is_one_of_few_ipv4(address: [u8; 4]) -> bool {
    let Some(few) = few_addresses.get(0) else {
        return false;
    };
    let wanted = u32::from_ne_bytes(address);
    let found = few
        .v4
        .iter()
        .fold(0, |found, one| found | (u64::from(wanted ^ *one).wrapping_sub(1) >> 63));
    found != 0
}

/// The same: zero is the only number of which neither itself nor its negative has the highest bit.
#[inline(always)]
fn is_one_of_few_ipv6(address: [u64; 2]) -> bool {
    let Some(few) = few_addresses.get(0) else {
        return false;
    };
    let found = few.v6.iter().fold(0, |found, one| {
        let difference = (address[0] ^ one[0]) | (address[1] ^ one[1]);
        found | (((difference | difference.wrapping_neg()) >> 63) ^ 1)
    });
    found != 0
}

#[inline(always)]
fn now_nanos() -> u64 {
    // SAFETY: the helper takes nothing and cannot fail.
    unsafe { bpf_ktime_get_ns() }
}
