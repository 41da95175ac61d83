//! The fuzzer's bytes as packets that arrive one after the other.
//!
//! Each packet is a header of eight bytes and its own bytes:
//!
//! | offset | what |
//! |---|---|
//! | 0 | bit 0: sent rather than received; bit 1: no link header |
//! | 1 | zero bytes behind the packet's own, in units of 16: long packets from short inputs |
//! | 2 | `gso_size`, little-endian |
//! | 4 | how many bytes a reader that ends early reaches, little-endian |
//! | 6 | how many bytes of its own the packet has, little-endian; at most all that are left |
//!
//! Any input means something, so that none of the fuzzer's changes are lost.

use portmeter_ebpf::packet::{Direction, Link};

use super::frame::Frame;

/// More packets of one input say nothing that fewer do not.
pub const PACKETS_MAX: usize = 8;

const HEADER_BYTES: usize = 8;
const SENT: u8 = 1;
const NO_LINK_HEADER: u8 = 2;
const ZERO_UNIT_BYTES: usize = 16;

/// A packet, and where a reader of it ends that does not reach everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FuzzPacket {
    pub frame: Frame,
    pub readable_bytes: usize,
}

/// The packets of an input.
pub fn decode(mut input: &[u8]) -> Vec<FuzzPacket> {
    let mut packets = Vec::new();
    while packets.len() < PACKETS_MAX
        && let Some((header, rest)) = input.split_first_chunk()
    {
        let (packet, rest) = decode_packet(*header, rest);
        packets.push(packet);
        input = rest;
    }
    packets
}

fn decode_packet(header: [u8; HEADER_BYTES], rest: &[u8]) -> (FuzzPacket, &[u8]) {
    let [
        flags,
        zero_units,
        gso_low,
        gso_high,
        readable_low,
        readable_high,
        own_low,
        own_high,
    ] = header;
    let own_bytes = usize::from(u16::from_le_bytes([own_low, own_high])).min(rest.len());
    let (own, rest) = rest.split_at(own_bytes);
    let mut bytes = own.to_vec();
    bytes.resize(own_bytes + usize::from(zero_units) * ZERO_UNIT_BYTES, 0);
    let frame = Frame {
        direction: match flags & SENT {
            0 => Direction::Receive,
            _ => Direction::Transmit,
        },
        link: match flags & NO_LINK_HEADER {
            0 => Link::Ethernet,
            _ => Link::None,
        },
        gso_size_bytes: u16::from_le_bytes([gso_low, gso_high]).into(),
        bytes,
    };
    let readable_bytes = u16::from_le_bytes([readable_low, readable_high]).into();
    (FuzzPacket { frame, readable_bytes }, rest)
}

/// The input that [`decode`] makes these packets of; `None` where a number does not fit its field.
pub fn encode(packets: &[FuzzPacket]) -> Option<Vec<u8>> {
    let mut input = Vec::new();
    for FuzzPacket { frame, readable_bytes } in packets {
        let is_sent = frame.direction == Direction::Transmit;
        let has_no_link_header = frame.link == Link::None;
        input.push(if is_sent { SENT } else { 0 } | if has_no_link_header { NO_LINK_HEADER } else { 0 });
        let end = frame
            .bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        let zero_units = (frame.bytes.len() - end) / ZERO_UNIT_BYTES;
        let own = &frame.bytes[..frame.bytes.len() - zero_units * ZERO_UNIT_BYTES];
        input.push(zero_units.try_into().ok()?);
        input.extend(u16::try_from(frame.gso_size_bytes).ok()?.to_le_bytes());
        input.extend(u16::try_from(*readable_bytes).ok()?.to_le_bytes());
        input.extend(u16::try_from(own.len()).ok()?.to_le_bytes());
        input.extend(own);
    }
    Some(input)
}
