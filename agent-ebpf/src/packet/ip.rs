//! What the parser asks of an IP header, whichever version it is.

use super::fragment::Fragment;
use super::transport::Transport;
use super::{Direction, Lookups, Packet, Truncated};
use crate::layout::UnattributedReason;

/// What an IP header leads to.
pub(super) enum Found {
    /// A TCP or UDP header.
    Transport(Transport),
    /// A TCP or UDP header, or the start of one, in the first fragment of a datagram.
    FirstFragment(Transport, Fragment),
    /// A fragment that begins behind the transport header, and the length of its IP headers.
    LaterFragment(Fragment, u32),
    /// A protocol that is counted nowhere.
    NotCounted,
    /// Something that may belong to a tracked port.
    Unattributable(UnattributedReason),
}

/// Lengths of a packet without the parts that are not on the wire.
///
/// Not an `Option`: of one that is `None` the compiler may look at the fields all the same, as long as nothing depends
/// on them, and the kernel's verifier refuses to read what was never written.
pub(super) struct Lengths {
    /// From the first byte of the IP header to the end of the payload; 0 when the packet's own length contradicts that
    /// of the frame.
    pub(super) ip_bytes: u32,
    /// From the first byte of the IP header to the transport header.
    pub(super) header_bytes: u32,
}

/// What both versions of IP answer, each in its own way.
pub(super) trait Ip: Copy {
    /// 4 or 6.
    const VERSION: u8;

    /// Offset of the header's first byte.
    fn offset(&self) -> usize;

    fn find_transport(&self, packet: &impl Packet) -> Result<Found, Truncated>;

    /// Source and destination; an IPv4 address fills the first four bytes in memory.
    fn addresses(&self, packet: &impl Packet) -> Result<([u64; 2], [u64; 2]), Truncated>;

    /// Whether the local end is one of this host's addresses.
    fn is_local(&self, packet: &impl Packet, lookups: &impl Lookups, direction: Direction) -> Result<bool, Truncated>;

    /// The packet's lengths, of which `header_bytes` are IP headers.
    fn lengths(&self, packet: &impl Packet, header_bytes: u32, gso_size_bytes: u32) -> Result<Lengths, Truncated>;
}

impl Lengths {
    /// Lengths that are no longer than the frame allows.
    #[inline(always)]
    pub(super) fn within(available_bytes: u32, ip_bytes: u32, header_bytes: u32) -> Self {
        Self {
            ip_bytes: if ip_bytes <= available_bytes { ip_bytes } else { 0 },
            header_bytes,
        }
    }
}

/// Bytes of the packet from `offset` to its end. Whatever lies before `offset` has been read, so it is within.
#[inline(always)]
pub(super) fn bytes_behind(packet: &impl Packet, offset: usize) -> u32 {
    packet.length_bytes().wrapping_sub(offset as u32)
}
