//! The decision: which port a packet counts for, if any, and how much.

use super::fragment;
use super::ip::{Found, Ip, bytes_behind};
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::link::{Network, find_network};
use super::transport::Transport;
use super::{Direction, Link, Lookups, Outcome, Packet, Truncated, WireSize};
use crate::layout::UnattributedReason;

/// Decides over a packet of which `packet` can read everything there is: ending too early means malformed.
#[inline(always)]
pub fn classify(packet: &impl Packet, lookups: &impl Lookups, direction: Direction, link: Link) -> Outcome {
    match examine(packet, lookups, direction, link) {
        Ok(outcome) => outcome,
        Err(Truncated) => cut_short(packet, lookups, direction, link),
    }
}

/// Decides over a packet as far as `packet` can read it.
#[inline(always)]
pub fn examine(
    packet: &impl Packet,
    lookups: &impl Lookups,
    direction: Direction,
    link: Link,
) -> Result<Outcome, Truncated> {
    match find_network(packet, link)? {
        Network::Ipv4(offset) => examine_ip(packet, lookups, direction, Ipv4 { offset }),
        Network::Ipv6(offset) => examine_ip(packet, lookups, direction, Ipv6 { offset }),
        Network::Other => Ok(Outcome::Ignored),
        Network::TooManyTags => Ok(unattributed(UnattributedReason::HeaderChain, packet, 0)),
    }
}

#[inline(always)]
fn examine_ip<I: Ip>(
    packet: &impl Packet,
    lookups: &impl Lookups,
    direction: Direction,
    ip: I,
) -> Result<Outcome, Truncated> {
    let transport = match ip.find_transport(packet)? {
        Found::Transport(transport) => transport,
        Found::FirstFragment(transport, datagram) => {
            return fragment::first(packet, lookups, direction, ip, transport, datagram);
        }
        Found::LaterFragment(datagram, header_bytes) => {
            return fragment::later(packet, lookups, direction, ip, datagram, header_bytes);
        }
        Found::NotCounted => return Ok(Outcome::Ignored),
        Found::Unattributable(reason) => return unattributed_if_local(reason, packet, lookups, direction, ip),
    };
    let port = transport.local_port(packet, direction)?;
    let entry = lookups.port_slot(port);
    if entry == 0 {
        return Ok(Outcome::Ignored);
    }
    // Before the address is looked up: the answer is less to keep across that call than what it is worked out from.
    let size = wire_size(packet, ip, transport)?;
    let is_local = ip.is_local(packet, lookups, direction)?;
    Ok(match (size, is_local) {
        (Some(size), true) => Outcome::Counted {
            slot: entry - 1,
            port,
            size,
        },
        (Some(size), false) => Outcome::Unattributed {
            reason: UnattributedReason::Forwarded,
            size,
        },
        (None, true) => unattributed(UnattributedReason::Malformed, packet, ip.offset()),
        (None, false) => unattributed(UnattributedReason::Forwarded, packet, ip.offset()),
    })
}

/// Bytes and packets on the wire; `None` when the headers contradict each other or the packet's length.
#[inline(always)]
pub(super) fn wire_size(
    packet: &impl Packet,
    ip: impl Ip,
    transport: Transport,
) -> Result<Option<WireSize>, Truncated> {
    let gso_size_bytes = packet.gso_size_bytes();
    let lengths = ip.lengths(packet, (transport.offset - ip.offset()) as u32, gso_size_bytes)?;
    let Some(transport_bytes) = transport.header_bytes(packet)? else {
        return Ok(None);
    };
    let header_bytes = lengths.header_bytes + transport_bytes;
    if lengths.ip_bytes < header_bytes {
        return Ok(None);
    }
    Ok(Some(WireSize::aggregated(
        lengths.ip_bytes,
        header_bytes,
        gso_size_bytes,
    )))
}

/// A packet whose headers go on where it ends. Its local end decides whether it matters, when that much is there.
#[inline(always)]
fn cut_short(packet: &impl Packet, lookups: &impl Lookups, direction: Direction, link: Link) -> Outcome {
    const REASON: UnattributedReason = UnattributedReason::Malformed;
    let outcome = match find_network(packet, link) {
        Ok(Network::Ipv4(offset)) => unattributed_if_local(REASON, packet, lookups, direction, Ipv4 { offset }),
        Ok(Network::Ipv6(offset)) => unattributed_if_local(REASON, packet, lookups, direction, Ipv6 { offset }),
        Ok(Network::Other | Network::TooManyTags) | Err(Truncated) => Err(Truncated),
    };
    outcome.unwrap_or_else(|Truncated| unattributed(REASON, packet, 0))
}

/// What carries no readable port is somebody else's business unless its local end is this host.
#[inline(always)]
fn unattributed_if_local(
    reason: UnattributedReason,
    packet: &impl Packet,
    lookups: &impl Lookups,
    direction: Direction,
    ip: impl Ip,
) -> Result<Outcome, Truncated> {
    if !ip.is_local(packet, lookups, direction)? {
        return Ok(Outcome::Ignored);
    }
    let size = match ip.lengths(packet, 0, 0)?.ip_bytes {
        0 => frame_size(packet, ip.offset()),
        ip_bytes => WireSize::single(ip_bytes),
    };
    Ok(Outcome::Unattributed { reason, size })
}

#[inline(always)]
pub(super) fn unattributed(reason: UnattributedReason, packet: &impl Packet, ip_offset: usize) -> Outcome {
    Outcome::Unattributed {
        reason,
        size: frame_size(packet, ip_offset),
    }
}

/// The best that can be told when the IP header's own length cannot be believed: what lies behind the link header.
#[inline(always)]
pub(super) fn frame_size(packet: &impl Packet, ip_offset: usize) -> WireSize {
    WireSize::single(bytes_behind(packet, ip_offset))
}
