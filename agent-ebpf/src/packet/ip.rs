//! What the parser asks of an IP header, whichever version it is.

use super::transport::Transport;
use super::{Direction, Lookups, Packet, Truncated};
use crate::layout::UnattributedReason;

/// What an IP header leads to.
pub(super) enum Found {
    /// A TCP or UDP header.
    Transport(Transport),
    /// A protocol that is counted nowhere.
    NotCounted,
    /// Something that may belong to a tracked port.
    Unattributable(UnattributedReason),
}

/// Lengths of a packet without the parts that are not on the wire.
pub(super) struct Lengths {
    /// From the first byte of the IP header to the end of the payload.
    pub(super) ip_bytes: u32,
    /// From the first byte of the IP header to the transport header.
    pub(super) header_bytes: u32,
}

/// What both versions of IP answer, each in its own way.
pub(super) trait Ip: Copy {
    /// Offset of the header's first byte.
    fn offset(&self) -> usize;

    fn find_transport(&self, packet: &impl Packet) -> Result<Found, Truncated>;

    /// Whether the local end is one of this host's addresses.
    fn is_local(&self, packet: &impl Packet, lookups: &impl Lookups, direction: Direction) -> Result<bool, Truncated>;

    /// The packet's lengths; `None` when its own length contradicts that of the packet.
    fn lengths(
        &self,
        packet: &impl Packet,
        header_bytes: u32,
        gso_size_bytes: u32,
    ) -> Result<Option<Lengths>, Truncated>;
}

/// Bytes of the packet from `offset` to its end. Whatever lies before `offset` has been read, so it is within.
#[inline(always)]
pub(super) fn bytes_behind(packet: &impl Packet, offset: usize) -> u32 {
    packet.length_bytes().wrapping_sub(offset as u32)
}
