//! The two ends of a TCP packet.

use super::classify::{frame_size, wire_size};
use super::ip::{Found, Ip};
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::link::{Network, find_network};
use super::transport::PROTOCOL_TCP;
use super::{Link, Packet, Truncated, WireSize};
use crate::layout::BlockedConnection;

/// Who sent a TCP packet, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpEnds {
    source: [u64; 2],
    destination: [u64; 2],
    source_port: u16,
    destination_port: u16,
    ip_version: u8,
}

impl TcpEnds {
    /// Its connection, if this host has sent it.
    #[inline(always)]
    pub fn sent(&self) -> BlockedConnection {
        BlockedConnection {
            local: self.source,
            remote: self.destination,
            local_port: self.source_port,
            remote_port: self.destination_port,
            ip_version: u32::from(self.ip_version),
        }
    }

    /// Its connection, if this host receives it.
    #[inline(always)]
    pub fn received(&self) -> BlockedConnection {
        BlockedConnection {
            local: self.destination,
            remote: self.source,
            local_port: self.destination_port,
            remote_port: self.source_port,
            ip_version: u32::from(self.ip_version),
        }
    }
}

/// The ends of a packet that begins a TCP segment; `None` for everything else. Later fragments name no ports, and are
/// worth nothing without their first one.
#[inline(always)]
pub fn tcp_ends(packet: &impl Packet, link: Link) -> Option<TcpEnds> {
    let ends = match find_network(packet, link) {
        Ok(Network::Ipv4(offset)) => ends_of(packet, Ipv4 { offset }),
        Ok(Network::Ipv6(offset)) => ends_of(packet, Ipv6 { offset }),
        Ok(Network::Other | Network::TooManyTags) | Err(Truncated) => Ok(None),
    };
    ends.unwrap_or(None)
}

/// Bytes and packets on the wire of a packet that has [`tcp_ends`]; as far as they can be told where its headers
/// contradict each other.
#[inline(always)]
pub fn tcp_size(packet: &impl Packet, link: Link) -> WireSize {
    let size = match find_network(packet, link) {
        Ok(Network::Ipv4(offset)) => size_of(packet, Ipv4 { offset }),
        Ok(Network::Ipv6(offset)) => size_of(packet, Ipv6 { offset }),
        Ok(Network::Other | Network::TooManyTags) | Err(Truncated) => Err(Truncated),
    };
    size.unwrap_or_else(|Truncated| frame_size(packet, 0))
}

#[inline(always)]
fn size_of(packet: &impl Packet, ip: impl Ip) -> Result<WireSize, Truncated> {
    let size = match ip.find_transport(packet)? {
        Found::Transport(transport) | Found::FirstFragment(transport, _) => wire_size(packet, ip, transport)?,
        _ => None,
    };
    Ok(match size {
        Some(size) => size,
        None => frame_size(packet, ip.offset()),
    })
}

#[inline(always)]
fn ends_of<I: Ip>(packet: &impl Packet, ip: I) -> Result<Option<TcpEnds>, Truncated> {
    let (Found::Transport(transport) | Found::FirstFragment(transport, _)) = ip.find_transport(packet)? else {
        return Ok(None);
    };
    if transport.protocol != PROTOCOL_TCP {
        return Ok(None);
    }
    let [source_high, source_low, destination_high, destination_low] =
        packet.read(transport.offset).ok_or(Truncated)?;
    let (source, destination) = ip.addresses(packet)?;
    Ok(Some(TcpEnds {
        source,
        destination,
        source_port: u16::from_be_bytes([source_high, source_low]),
        destination_port: u16::from_be_bytes([destination_high, destination_low]),
        ip_version: I::VERSION,
    }))
}
