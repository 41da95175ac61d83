//! IPv6 (RFC 8200): the chain of extension headers, fragments, lengths, jumbograms.

use super::fragment::Fragment;
use super::ip::{Found, Ip, Lengths, bytes_behind};
use super::transport::{Transport, is_counted};
use super::{Direction, Lookups, Packet, Truncated};
use crate::layout::UnattributedReason;

/// Extension headers that are followed. RFC 8200 allows seven of the kinds known here in one packet.
pub const EXTENSION_HEADERS_MAX: usize = 8;

/// Those that a reader follows which does not reach everything, see the same for VLAN tags.
const DIRECT_EXTENSION_HEADERS_MAX: usize = 1;

const HEADER_BYTES: usize = 40;
const PAYLOAD_LENGTH_OFFSET: usize = 4;
const NEXT_HEADER_OFFSET: usize = 6;
const SOURCE_OFFSET: usize = 8;
const DESTINATION_OFFSET: usize = 24;

// Extension headers, IANA protocol numbers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

const FRAGMENT_HEADER_BYTES: usize = 8;
const IDENTIFICATION_OFFSET: usize = 4;
const FRAGMENT_OFFSET: u16 = 0xfff8;
const MORE_FRAGMENTS: u16 = 0x0001;

/// A hop-by-hop header that consists of the jumbo payload option (RFC 2675): type and length of the option.
const JUMBO_OPTION: [u8; 2] = [0xc2, 4];
const JUMBO_HEADER_BYTES: u32 = 8;

/// An IPv6 header that starts at `offset`.
#[derive(Clone, Copy)]
pub(super) struct Ipv6 {
    pub(super) offset: usize,
}

impl Ip for Ipv6 {
    const VERSION: u8 = 6;

    #[inline(always)]
    fn offset(&self) -> usize {
        self.offset
    }

    #[inline(always)]
    fn find_transport(&self, packet: &impl Packet) -> Result<Found, Truncated> {
        let header: [u8; HEADER_BYTES] = packet.read(self.offset).ok_or(Truncated)?;
        if header[0] >> 4 != 6 {
            return Ok(Found::Unattributable(UnattributedReason::Malformed));
        }
        let mut protocol = header[NEXT_HEADER_OFFSET];
        let mut offset = self.offset + HEADER_BYTES;
        let mut datagram = Fragment {
            identification: 0,
            protocol: 0,
        };
        let mut is_first_fragment = false;
        for extensions in 0..EXTENSION_HEADERS_MAX + 1 {
            if extensions > DIRECT_EXTENSION_HEADERS_MAX && !packet.reaches_everything() {
                return Err(Truncated);
            }
            if is_counted(protocol) {
                let transport = Transport { protocol, offset };
                return Ok(match is_first_fragment {
                    false => Found::Transport(transport),
                    true => Found::FirstFragment(transport, datagram),
                });
            }
            if !is_extension(protocol) {
                return Ok(Found::NotCounted);
            }
            // Every kind starts with the next header's number and, but for fragments, its own length.
            let [next_header, length, fragment_high, fragment_low] = packet.read(offset).ok_or(Truncated)?;
            let fragment = u16::from_be_bytes([fragment_high, fragment_low]);
            // One that is the first and the last is a packet like any other (RFC 6946).
            if protocol == FRAGMENT && fragment & (FRAGMENT_OFFSET | MORE_FRAGMENTS) != 0 {
                if !packet.reaches_everything() {
                    return Err(Truncated);
                }
                let identification = packet.read(offset + IDENTIFICATION_OFFSET).ok_or(Truncated)?;
                datagram.identification = u32::from_be_bytes(identification);
                if fragment & FRAGMENT_OFFSET != 0 {
                    let header_bytes = (offset - self.offset + FRAGMENT_HEADER_BYTES) as u32;
                    return Ok(later_fragment(next_header, datagram, header_bytes));
                }
                is_first_fragment = true;
            }
            offset += extension_bytes(protocol, length);
            protocol = next_header;
        }
        Ok(Found::Unattributable(UnattributedReason::HeaderChain))
    }

    #[inline(always)]
    fn addresses(&self, packet: &impl Packet) -> Result<([u64; 2], [u64; 2]), Truncated> {
        Ok((
            self.address(packet, SOURCE_OFFSET)?,
            self.address(packet, DESTINATION_OFFSET)?,
        ))
    }

    #[inline(always)]
    fn is_local(&self, packet: &impl Packet, lookups: &impl Lookups, direction: Direction) -> Result<bool, Truncated> {
        let address_offset = match direction {
            Direction::Receive => DESTINATION_OFFSET,
            Direction::Transmit => SOURCE_OFFSET,
        };
        Ok(lookups.is_local_ipv6(self.address(packet, address_offset)?))
    }

    #[inline(always)]
    fn lengths(&self, packet: &impl Packet, header_bytes: u32, gso_size_bytes: u32) -> Result<Lengths, Truncated> {
        let available_bytes = bytes_behind(packet, self.offset);
        let payload_length = packet.read(self.offset + PAYLOAD_LENGTH_OFFSET).ok_or(Truncated)?;
        let payload_bytes = u32::from(u16::from_be_bytes(payload_length));
        if payload_bytes == 0 {
            return self.lengths_of_jumbo(packet, available_bytes, header_bytes, gso_size_bytes);
        }
        let ip_bytes = HEADER_BYTES as u32 + payload_bytes;
        Ok(Lengths::within(available_bytes, ip_bytes, header_bytes))
    }
}

impl Ipv6 {
    /// In two halves: a compiler for BPF copies sixteen bytes one by one.
    #[inline(always)]
    fn address(&self, packet: &impl Packet, offset: usize) -> Result<[u64; 2], Truncated> {
        let first = packet.read(self.offset + offset).ok_or(Truncated)?;
        let second = packet.read(self.offset + offset + 8).ok_or(Truncated)?;
        Ok([u64::from_ne_bytes(first), u64::from_ne_bytes(second)])
    }

    /// Payload length 0: a packet too long for the field. Kernels aggregate (BIG TCP) with a jumbo header that is
    /// never on the wire, newer ones without any; a jumbogram that is not aggregated is on the wire as it is.
    #[inline(always)]
    fn lengths_of_jumbo(
        &self,
        packet: &impl Packet,
        available_bytes: u32,
        header_bytes: u32,
        gso_size_bytes: u32,
    ) -> Result<Lengths, Truncated> {
        let has_jumbo_header = self.has_jumbo_header(packet)?;
        Ok(match (gso_size_bytes != 0, has_jumbo_header) {
            (true, true) => Lengths {
                ip_bytes: available_bytes - JUMBO_HEADER_BYTES,
                header_bytes: header_bytes - JUMBO_HEADER_BYTES,
            },
            (true, false) | (false, true) => Lengths {
                ip_bytes: available_bytes,
                header_bytes,
            },
            (false, false) => Lengths {
                ip_bytes: 0,
                header_bytes,
            },
        })
    }

    #[inline(always)]
    fn has_jumbo_header(&self, packet: &impl Packet) -> Result<bool, Truncated> {
        let [next_header] = packet.read(self.offset + NEXT_HEADER_OFFSET).ok_or(Truncated)?;
        if next_header != HOP_BY_HOP {
            return Ok(false);
        }
        let [_, length, option @ ..]: [u8; 4] = packet.read(self.offset + HEADER_BYTES).ok_or(Truncated)?;
        Ok(length == 0 && option == JUMBO_OPTION)
    }
}

#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS
    )
}

/// Length of an extension header in bytes from its length field: in units of 8 beyond the first 8 (RFC 8200), of 4
/// beyond the first 8 for the authentication header (RFC 4302); a fragment header has none.
#[inline(always)]
fn extension_bytes(protocol: u8, length: u8) -> usize {
    match protocol {
        FRAGMENT => FRAGMENT_HEADER_BYTES,
        AUTHENTICATION => (usize::from(length) + 2) * 4,
        _ => (usize::from(length) + 1) * 8,
    }
}

/// A later fragment carries no ports; what it names next says at least whether there were any.
#[inline(always)]
fn later_fragment(next_header: u8, fragment: Fragment, header_bytes: u32) -> Found {
    if is_counted(next_header) || is_extension(next_header) {
        Found::LaterFragment(fragment, header_bytes)
    } else {
        Found::NotCounted
    }
}
