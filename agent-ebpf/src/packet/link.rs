//! The link layer: finds the IP header behind an Ethernet header and its VLAN tags.

use super::{Link, Packet, Truncated};

/// Length of an Ethernet header without tags.
pub const ETHERNET_HEADER_BYTES: usize = 14;
/// Stacked VLAN tags that are followed. Two are common (802.1ad), four leave room for what providers put around them.
pub const VLAN_TAGS_MAX: usize = 4;

/// Tags that a reader follows which does not reach everything; more are rare. Every place where a header may begin is
/// verified on its own by the kernel, and those of tags and extension headers multiply.
const DIRECT_VLAN_TAGS_MAX: usize = 1;

const VLAN_TAG_BYTES: usize = 4;
const ETHER_TYPE_OFFSET: usize = 12;
const IP_HEADER_BYTES_MIN: usize = 20;

// EtherTypes, IEEE 802 numbers.
const ETHER_TYPE_IPV4: u16 = 0x0800;
const ETHER_TYPE_IPV6: u16 = 0x86dd;
const ETHER_TYPE_VLAN: u16 = 0x8100;
const ETHER_TYPE_VLAN_SERVICE: u16 = 0x88a8;
/// Not in any standard, but what many switches use for the outer tag.
const ETHER_TYPE_VLAN_OLD: u16 = 0x9100;

/// What lies behind the link header, with the offset of its first byte.
pub(super) enum Network {
    Ipv4(usize),
    Ipv6(usize),
    /// Not IP.
    Other,
    /// More VLAN tags than are followed.
    TooManyTags,
}

#[inline(always)]
pub(super) fn find_network(packet: &impl Packet, link: Link) -> Result<Network, Truncated> {
    match link {
        Link::Ethernet => behind_ethernet(packet),
        Link::None => behind_nothing(packet),
    }
}

/// Tags are looked for in the data only: a tag that the device has taken off is no longer there, and does not matter.
#[inline(always)]
fn behind_ethernet(packet: &impl Packet) -> Result<Network, Truncated> {
    let mut offset = ETHER_TYPE_OFFSET;
    for tags in 0..VLAN_TAGS_MAX + 1 {
        if tags > DIRECT_VLAN_TAGS_MAX && !packet.reaches_everything() {
            return Err(Truncated);
        }
        let ether_type = u16::from_be_bytes(packet.read(offset).ok_or(Truncated)?);
        match ether_type {
            ETHER_TYPE_IPV4 => return Ok(Network::Ipv4(offset + 2)),
            ETHER_TYPE_IPV6 => return Ok(Network::Ipv6(offset + 2)),
            ETHER_TYPE_VLAN | ETHER_TYPE_VLAN_SERVICE | ETHER_TYPE_VLAN_OLD => offset += VLAN_TAG_BYTES,
            _ => return Ok(Network::Other),
        }
    }
    Ok(Network::TooManyTags)
}

/// Reads as much as the shortest IP header has: a check that reaches only one byte into a packet is not understood by
/// the kernel's verifier.
#[inline(always)]
fn behind_nothing(packet: &impl Packet) -> Result<Network, Truncated> {
    let header: [u8; IP_HEADER_BYTES_MIN] = packet.read(0).ok_or(Truncated)?;
    Ok(match header[0] >> 4 {
        4 => Network::Ipv4(0),
        6 => Network::Ipv6(0),
        _ => Network::Other,
    })
}
