//! Programs and small maps by name: addresses in, unattributed packets out.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::programs::{Program, ProgramError};
use portmeter_ebpf::layout::{
    ADDRESS_PRESENT, FEW_ADDRESSES, FEW_ADDRESSES_COUNT, FewAddresses, LOCAL_ADDRESSES_CAPACITY, LOCAL_ADDRESSES_V4,
    LOCAL_ADDRESSES_V6, UNATTRIBUTED, UnattributedCounters, UnattributedReason,
};

use super::{KernelError, Unattributed};

/// [`UnattributedCounters`] as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct PlainCounters(UnattributedCounters);

// SAFETY: `UnattributedCounters` is `repr(C)`, two `u64` without padding, valid for every bit pattern.
unsafe impl aya::Pod for PlainCounters {}

/// [`FewAddresses`] as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PlainAddresses(FewAddresses);

// SAFETY: `FewAddresses` is `repr(C)`, has no padding and is valid for every bit pattern.
unsafe impl aya::Pod for PlainAddresses {}

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

/// The same, to be read.
pub(super) fn find<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a Map, KernelError> {
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
    set_keys(ebpf, LOCAL_ADDRESSES_V6, &v6)?;
    let failed = |error: aya::maps::MapError| KernelError::map(FEW_ADDRESSES, &error);
    let mut few_addresses: Array<&mut MapData, PlainAddresses> =
        find_mut(ebpf, FEW_ADDRESSES)?.try_into().map_err(failed)?;
    few_addresses.set(0, PlainAddresses(few(addresses)), 0).map_err(failed)
}

/// The addresses that are looked at first. Those of this host talking to itself are left to the others: 127.0.0.0/8 needs
/// no looking up at all. Where a family has none, one of those fills its places: it is this host's wherever it is seen.
fn few(addresses: &BTreeSet<IpAddr>) -> FewAddresses {
    // In this order addresses of the whole network come before those of one link.
    let others = || addresses.iter().filter(|address| !address.is_loopback());
    let mut v4 = others().filter_map(|address| match address {
        IpAddr::V4(address) => Some(u32::from_ne_bytes(address.octets())),
        IpAddr::V6(_) => None,
    });
    let mut v6 = others().filter_map(|address| match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(halves(*address)),
    });
    let (first_v4, first_v6) = (
        v4.next().unwrap_or(u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets())),
        v6.next().unwrap_or(halves(Ipv6Addr::LOCALHOST)),
    );
    let mut few = FewAddresses {
        v4: [first_v4; FEW_ADDRESSES_COUNT],
        v6: [first_v6; FEW_ADDRESSES_COUNT],
    };
    few.v4
        .iter_mut()
        .skip(1)
        .zip(v4)
        .for_each(|(place, address)| *place = address);
    few.v6
        .iter_mut()
        .skip(1)
        .zip(v6)
        .for_each(|(place, address)| *place = address);
    few
}

/// An address as the programs compare it: its first and second eight bytes as they lie in memory.
fn halves(address: Ipv6Addr) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = address.octets();
    [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes(rest)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_addresses_fill_every_place_and_leave_loopback_out() {
        let set = |texts: &[&str]| few(&texts.iter().map(|text| text.parse().unwrap()).collect());
        let v4 = |text: &str| u32::from_ne_bytes(text.parse::<Ipv4Addr>().unwrap().octets());
        let v6 = |text: &str| halves(text.parse().unwrap());
        let host = set(&["127.0.0.1", "::1", "fe80::1", "2001:db8::1", "192.0.2.1"]);
        assert_eq!(host.v4, [v4("192.0.2.1"); 4]);
        assert_eq!(host.v6[..2], [v6("2001:db8::1"), v6("fe80::1")]);
        assert_eq!(host.v6[2..], [v6("2001:db8::1"); 2]);
        let many = set(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
        assert_eq!(many.v4, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"].map(v4));
        assert_eq!(many.v6, [v6("::1"); 4]);
        assert_eq!(set(&[]).v4, [v4("127.0.0.1"); 4]);
    }
}
