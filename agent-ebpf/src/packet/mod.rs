//! The packet parser: from a packet's bytes to what it counts as.
//!
//! It runs in three places over the same code, told apart only by how bytes are read ([`Packet`]): in the kernel over
//! the directly accessible part of a packet, in the kernel over packets whose headers lie elsewhere, and on the host
//! in tests and fuzzing. Maps are behind [`Lookups`] for the same reason. Nothing is counted here, and the only thing
//! that is kept is whose the fragments of a datagram are.
//!
//! Two stages, because nearly every packet of a busy host belongs to no tracked port: the local port is found and
//! looked up first, and only then are the local address checked and lengths worked out. And two readers: what is rare
//! (fragments, headers beyond the directly accessible part) is left to the one that reaches everything.

mod classify;
mod ends;
mod fragment;
mod ip;
mod ipv4;
mod ipv6;
mod link;
mod slice;
mod transport;
mod wire_size;

pub use classify::{classify, examine};
pub use ends::{TcpEnds, tcp_ends, tcp_size};
pub use ipv6::EXTENSION_HEADERS_MAX;
pub use link::{ETHERNET_HEADER_BYTES, VLAN_TAGS_MAX};
pub use slice::SlicePacket;
pub use wire_size::WireSize;

use crate::layout::{FragmentKey, UnattributedReason};

/// Which way a packet goes, and so which of its ends is the local one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// At ingress: the local end is the destination.
    Receive,
    /// At egress: the local end is the source.
    Transmit,
}

/// What a packet's first byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// An Ethernet header, VLAN tags may follow.
    Ethernet,
    /// The IP header itself (tun, WireGuard).
    None,
}

/// One packet, read by offset from its first byte.
pub trait Packet {
    /// Whether every byte of the packet can be read. A reader that reaches less leaves fragments to one that does.
    fn reaches_everything(&self) -> bool;

    /// The `N` bytes at `offset`; `None` when this reader does not reach that far.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Length of the whole packet in bytes, link header and padding included, whether readable or not.
    fn length_bytes(&self) -> u32;

    /// Payload bytes of each packet that this aggregated one stands for; 0 when it is not aggregated.
    fn gso_size_bytes(&self) -> u32;
}

/// The questions that the parser asks the maps.
pub trait Lookups {
    /// A tracked port's slot plus one; 0 for a port that is not tracked.
    fn port_slot(&self, port: u16) -> u32;

    /// Whether an address, in network order, is one of this host's.
    fn is_local_ipv4(&self, address: [u8; 4]) -> bool;

    /// Whether an address is one of this host's: its first and second eight bytes as they lie in memory.
    fn is_local_ipv6(&self, address: [u64; 2]) -> bool;

    /// Whose datagram a later fragment is part of.
    fn fragment_source(&self, key: &FragmentKey) -> FragmentSource;

    /// Notes whose datagram a first fragment begins: `entry` as [`Self::port_slot`] gave it for `port`.
    fn remember_fragment(&self, key: &FragmentKey, entry: u32, port: u16);
}

/// What is known of the datagram that a later fragment is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FragmentSource {
    /// Its first fragment was seen.
    Known {
        /// The port's slot plus one; 0 for a port that is not tracked.
        entry: u32,
        /// The local port.
        port: u16,
    },
    /// A first fragment was seen, but so long ago that this may be another datagram.
    Aged,
    /// No first fragment was seen yet.
    Unknown,
}

/// What one packet counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It belongs to no tracked port.
    Ignored,
    /// It belongs to a tracked port.
    Counted {
        /// The port's slot, from 0.
        slot: u32,
        /// The local port.
        port: u16,
        /// Bytes and packets on the wire.
        size: WireSize,
    },
    /// It may belong to a tracked port, but that cannot be told.
    Unattributed {
        /// Why.
        reason: UnattributedReason,
        /// Bytes and packets on the wire, as far as they can be told.
        size: WireSize,
    },
}

/// The reader does not reach what has to be read: ask one that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncated;
