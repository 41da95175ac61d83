//! IPv4 (RFC 791): header with options, fragments, lengths.

use super::fragment::Fragment;
use super::ip::{Found, Ip, Lengths, bytes_behind};
use super::transport::{Transport, is_counted};
use super::{Direction, Lookups, Packet, Truncated};
use crate::layout::UnattributedReason;

const HEADER_BYTES_MIN: usize = 20;
const TOTAL_LENGTH_OFFSET: usize = 2;
const IDENTIFICATION_OFFSET: usize = 4;
const FRAGMENT_FIELD_OFFSET: usize = 6;
const PROTOCOL_OFFSET: usize = 9;
const SOURCE_OFFSET: usize = 12;
const DESTINATION_OFFSET: usize = 16;

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// 127.0.0.0/8 is this host wherever it is seen, whichever addresses are configured (RFC 1122, section 3.2.1.3).
const LOOPBACK_NETWORK: u8 = 127;

/// An IPv4 header that starts at `offset`.
#[derive(Clone, Copy)]
pub(super) struct Ipv4 {
    pub(super) offset: usize,
}

impl Ip for Ipv4 {
    const VERSION: u8 = 4;

    #[inline(always)]
    fn offset(&self) -> usize {
        self.offset
    }

    #[inline(always)]
    fn find_transport(&self, packet: &impl Packet) -> Result<Found, Truncated> {
        let header: [u8; HEADER_BYTES_MIN] = packet.read(self.offset).ok_or(Truncated)?;
        let (version, header_bytes) = (header[0] >> 4, usize::from(header[0] & 0x0f) * 4);
        if version != 4 || header_bytes < HEADER_BYTES_MIN {
            return Ok(Found::Unattributable(UnattributedReason::Malformed));
        }
        let protocol = header[PROTOCOL_OFFSET];
        if !is_counted(protocol) {
            return Ok(Found::NotCounted);
        }
        let fragment = u16::from_be_bytes([header[FRAGMENT_FIELD_OFFSET], header[FRAGMENT_FIELD_OFFSET + 1]]);
        let transport = Transport {
            protocol,
            offset: self.offset + header_bytes,
        };
        if fragment & (FRAGMENT_OFFSET | MORE_FRAGMENTS) == 0 {
            return Ok(Found::Transport(transport));
        }
        if !packet.reaches_everything() {
            return Err(Truncated);
        }
        let identification = [header[IDENTIFICATION_OFFSET], header[IDENTIFICATION_OFFSET + 1]];
        let datagram = Fragment {
            identification: u16::from_be_bytes(identification).into(),
            protocol: protocol.into(),
        };
        Ok(match fragment & FRAGMENT_OFFSET {
            0 => Found::FirstFragment(transport, datagram),
            _ => Found::LaterFragment(datagram, header_bytes as u32),
        })
    }

    #[inline(always)]
    fn addresses(&self, packet: &impl Packet) -> Result<([u64; 2], [u64; 2]), Truncated> {
        let address = |offset: usize| -> Result<[u64; 2], Truncated> {
            let [a, b, c, d] = packet.read(self.offset + offset).ok_or(Truncated)?;
            Ok([u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]), 0])
        };
        Ok((address(SOURCE_OFFSET)?, address(DESTINATION_OFFSET)?))
    }

    #[inline(always)]
    fn is_local(&self, packet: &impl Packet, lookups: &impl Lookups, direction: Direction) -> Result<bool, Truncated> {
        let address_offset = match direction {
            Direction::Receive => DESTINATION_OFFSET,
            Direction::Transmit => SOURCE_OFFSET,
        };
        let address: [u8; 4] = packet.read(self.offset + address_offset).ok_or(Truncated)?;
        Ok(address[0] == LOOPBACK_NETWORK || lookups.is_local_ipv4(address))
    }

    #[inline(always)]
    fn lengths(&self, packet: &impl Packet, header_bytes: u32, gso_size_bytes: u32) -> Result<Lengths, Truncated> {
        let available_bytes = bytes_behind(packet, self.offset);
        let total_length = packet.read(self.offset + TOTAL_LENGTH_OFFSET).ok_or(Truncated)?;
        let ip_bytes = match u32::from(u16::from_be_bytes(total_length)) {
            // BIG TCP: an aggregated packet that is too long for the field.
            0 if gso_size_bytes != 0 => available_bytes,
            ip_bytes => ip_bytes,
        };
        Ok(Lengths::within(available_bytes, ip_bytes, header_bytes))
    }
}
