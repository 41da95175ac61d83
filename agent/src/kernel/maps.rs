//! Programs and small maps by name: addresses in, unattributed packets out.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData, PerCpuArray};
use aya::programs::{Program, ProgramError};
use portmeter_ebpf::layout::{
    ADDRESS_PRESENT, LOCAL_ADDRESSES_CAPACITY, LOCAL_ADDRESSES_V4, LOCAL_ADDRESSES_V6, UNATTRIBUTED,
    UnattributedCounters, UnattributedReason,
};

use super::{KernelError, Unattributed};

/// [`UnattributedCounters`] as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct PlainCounters(UnattributedCounters);

// SAFETY: `UnattributedCounters` is `repr(C)`, two `u64` without padding, valid for every bit pattern.
unsafe impl aya::Pod for PlainCounters {}

/// A program of the object by name, as the kind that it must be.
pub(super) fn program_mut<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| KernelError::Load(format!("{name} is not in the object")))?;
    program.try_into().map_err(|error| KernelError::load(&error))
}

/// A map of the object by name.
pub(super) fn find_mut<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Map, KernelError> {
    ebpf.map_mut(name).ok_or_else(|| KernelError::Map {
        name,
        detail: "it is not in the object".to_owned(),
    })
}

fn find<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a Map, KernelError> {
    ebpf.map(name).ok_or_else(|| KernelError::Map {
        name,
        detail: "it is not in the object".to_owned(),
    })
}

/// Makes the address maps hold `addresses` and nothing else; what stays is not touched.
pub(super) fn set_addresses(ebpf: &mut Ebpf, addresses: &BTreeSet<IpAddr>) -> Result<(), KernelError> {
    let (mut v4, mut v6) = (BTreeSet::new(), BTreeSet::new());
    for address in addresses {
        match address {
            IpAddr::V4(address) => drop(v4.insert(address.octets())),
            IpAddr::V6(address) => drop(v6.insert(address.octets())),
        }
    }
    set_keys(ebpf, LOCAL_ADDRESSES_V4, &v4)?;
    set_keys(ebpf, LOCAL_ADDRESSES_V6, &v6)
}

fn set_keys<const N: usize>(ebpf: &mut Ebpf, name: &'static str, wanted: &BTreeSet<[u8; N]>) -> Result<(), KernelError>
where
    [u8; N]: aya::Pod,
{
    if wanted.len() > LOCAL_ADDRESSES_CAPACITY as usize {
        let detail = format!(
            "this host has {} addresses, it holds {LOCAL_ADDRESSES_CAPACITY}",
            wanted.len()
        );
        return Err(KernelError::Map { name, detail });
    }
    let failed = |error: aya::maps::MapError| KernelError::map(name, &error);
    let mut map: HashMap<&mut MapData, [u8; N], u8> = find_mut(ebpf, name)?.try_into().map_err(failed)?;
    let present = map.keys().collect::<Result<BTreeSet<[u8; N]>, _>>().map_err(failed)?;
    for address in present.difference(wanted) {
        map.remove(address).map_err(failed)?;
    }
    for address in wanted.difference(&present) {
        map.insert(address, ADDRESS_PRESENT, 0).map_err(failed)?;
    }
    Ok(())
}

/// Unattributed packets by reason, summed over CPUs.
pub(super) fn unattributed(ebpf: &Ebpf) -> Result<Vec<Unattributed>, KernelError> {
    let failed = |error: aya::maps::MapError| KernelError::map(UNATTRIBUTED, &error);
    let map: PerCpuArray<&MapData, PlainCounters> = find(ebpf, UNATTRIBUTED)?.try_into().map_err(failed)?;
    unattributed_rows(&map)
}

/// The same from the map itself.
pub(super) fn unattributed_rows<T: Borrow<MapData>>(
    map: &PerCpuArray<T, PlainCounters>,
) -> Result<Vec<Unattributed>, KernelError> {
    let failed = |error: aya::maps::MapError| KernelError::map(UNATTRIBUTED, &error);
    let mut rows = Vec::with_capacity(UnattributedReason::ALL.len());
    for reason in UnattributedReason::ALL {
        let values = map.get(&(reason as u32), 0).map_err(failed)?;
        rows.push(Unattributed {
            reason: reason.name(),
            packets: values.iter().map(|value| value.0.packets).sum(),
            bytes: values.iter().map(|value| value.0.bytes).sum(),
        });
    }
    Ok(rows)
}
