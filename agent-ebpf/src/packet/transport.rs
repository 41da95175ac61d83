//! TCP and UDP: where the local port stands, and how long the header is.

use super::{Direction, Packet, Truncated};

// Protocol numbers, IANA.
pub(super) const PROTOCOL_TCP: u8 = 6;
pub(super) const PROTOCOL_UDP: u8 = 17;

const UDP_HEADER_BYTES: u32 = 8;
const TCP_HEADER_BYTES_MIN: u32 = 20;
const TCP_DATA_OFFSET_OFFSET: usize = 12;

/// A transport header that has been found but not looked into.
#[derive(Clone, Copy)]
pub(super) struct Transport {
    /// [`PROTOCOL_TCP`] or [`PROTOCOL_UDP`].
    pub(super) protocol: u8,
    /// Offset of its first byte.
    pub(super) offset: usize,
}

/// Whether a protocol is one that is counted.
#[inline(always)]
pub(super) fn is_counted(protocol: u8) -> bool {
    protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP
}

impl Transport {
    /// The port of this host's end. TCP and UDP both start with source and destination port.
    #[inline(always)]
    pub(super) fn local_port(&self, packet: &impl Packet, direction: Direction) -> Result<u16, Truncated> {
        let [source_high, source_low, destination_high, destination_low] = packet.read(self.offset).ok_or(Truncated)?;
        Ok(match direction {
            Direction::Receive => u16::from_be_bytes([destination_high, destination_low]),
            Direction::Transmit => u16::from_be_bytes([source_high, source_low]),
        })
    }

    /// Length of the header in bytes; `None` when the header contradicts itself.
    ///
    /// UDP's own length field is not looked at: nothing that is counted depends on it, and in an aggregated or jumbo
    /// packet it may be anything (RFC 2675, section 4).
    #[inline(always)]
    pub(super) fn header_bytes(&self, packet: &impl Packet) -> Result<Option<u32>, Truncated> {
        if self.protocol == PROTOCOL_UDP {
            return Ok(Some(UDP_HEADER_BYTES));
        }
        let [data_offset] = packet.read(self.offset + TCP_DATA_OFFSET_OFFSET).ok_or(Truncated)?;
        let length_bytes = u32::from(data_offset >> 4) * 4;
        Ok((length_bytes >= TCP_HEADER_BYTES_MIN).then_some(length_bytes))
    }
}
