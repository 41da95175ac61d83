//! Fragments (RFC 791, section 3.2; RFC 8200, section 4.5): only the first one of a datagram carries the ports.
//!
//! So the first one is remembered with its port, tracked or not, and the later ones are counted for that port. What
//! comes before its first fragment, or long after it, cannot be told.

use super::classify::unattributed;
use super::ip::Ip;
use super::transport::Transport;
use super::{Direction, FragmentSource, Lookups, Outcome, Packet, Truncated, WireSize};
use crate::layout::{FragmentKey, UnattributedReason};

/// Source and destination port: all that a first fragment must hold of a transport header.
const PORTS_BYTES: u32 = 4;

/// What a fragment says of the datagram that it is part of.
#[derive(Clone, Copy)]
pub(super) struct Fragment {
    pub(super) identification: u32,
    /// As in [`FragmentKey::protocol`].
    pub(super) protocol: u16,
}

/// Counts the first fragment of a datagram, and remembers whose the rest will be.
#[inline(always)]
pub(super) fn first<I: Ip>(
    packet: &impl Packet,
    lookups: &impl Lookups,
    direction: Direction,
    ip: I,
    transport: Transport,
    datagram: Fragment,
) -> Result<Outcome, Truncated> {
    let port = transport.local_port(packet, direction)?;
    let entry = lookups.port_slot(port);
    let is_local = ip.is_local(packet, lookups, direction)?;
    let header_bytes = (transport.offset - ip.offset()) as u32;
    // The rest of the transport header may be in the next fragment, and fragments are never aggregated.
    let ip_bytes = ip_bytes(packet, ip, header_bytes, header_bytes + PORTS_BYTES)?;
    // Also for a port that is not tracked: its later fragments are nobody's, not unattributed.
    if is_local && ip_bytes != 0 {
        lookups.remember_fragment(&key(packet, direction, ip, datagram)?, entry, port);
    }
    Ok(match (entry, is_local) {
        (0, _) => Outcome::Ignored,
        (_, false) => of_size(UnattributedReason::Forwarded, packet, ip, ip_bytes),
        (entry, true) => counted(packet, ip, entry, port, ip_bytes),
    })
}

/// Counts a later fragment, of which `header_bytes` are IP headers, for the port of its first one.
#[inline(always)]
pub(super) fn later<I: Ip>(
    packet: &impl Packet,
    lookups: &impl Lookups,
    direction: Direction,
    ip: I,
    datagram: Fragment,
    header_bytes: u32,
) -> Result<Outcome, Truncated> {
    if !ip.is_local(packet, lookups, direction)? {
        return Ok(Outcome::Ignored);
    }
    let ip_bytes = ip_bytes(packet, ip, header_bytes, header_bytes)?;
    Ok(match lookups.fragment_source(&key(packet, direction, ip, datagram)?) {
        FragmentSource::Known { entry: 0, .. } => Outcome::Ignored,
        FragmentSource::Known { entry, port } => counted(packet, ip, entry, port, ip_bytes),
        FragmentSource::Aged => of_size(UnattributedReason::FragmentAged, packet, ip, ip_bytes),
        FragmentSource::Unknown => of_size(UnattributedReason::Fragment, packet, ip, ip_bytes),
    })
}

/// Bytes of the fragment; 0 when its length contradicts that of the packet, or is less than `ip_bytes_min`.
#[inline(always)]
fn ip_bytes<I: Ip>(packet: &impl Packet, ip: I, header_bytes: u32, ip_bytes_min: u32) -> Result<u32, Truncated> {
    let lengths = ip.lengths(packet, header_bytes, 0)?;
    Ok(if lengths.ip_bytes >= ip_bytes_min {
        lengths.ip_bytes
    } else {
        0
    })
}

#[inline(always)]
fn counted<I: Ip>(packet: &impl Packet, ip: I, entry: u32, port: u16, ip_bytes: u32) -> Outcome {
    match ip_bytes {
        0 => unattributed(UnattributedReason::Malformed, packet, ip.offset()),
        _ => Outcome::Counted {
            slot: entry - 1,
            port,
            size: WireSize::single(ip_bytes),
        },
    }
}

#[inline(always)]
fn of_size<I: Ip>(reason: UnattributedReason, packet: &impl Packet, ip: I, ip_bytes: u32) -> Outcome {
    match ip_bytes {
        0 => unattributed(reason, packet, ip.offset()),
        _ => Outcome::Unattributed {
            reason,
            size: WireSize::single(ip_bytes),
        },
    }
}

#[inline(always)]
fn key<I: Ip>(packet: &impl Packet, direction: Direction, ip: I, datagram: Fragment) -> Result<FragmentKey, Truncated> {
    let (source, destination) = ip.addresses(packet)?;
    Ok(FragmentKey {
        source,
        destination,
        identification: datagram.identification,
        protocol: datagram.protocol,
        ip_version: I::VERSION,
        direction: match direction {
            Direction::Receive => 0,
            Direction::Transmit => 1,
        },
    })
}
