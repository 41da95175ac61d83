//! A packet library that the product does not use, asked about the same packet.

use etherparse::{IpNumber, Ipv6Slice, LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};
use portmeter_ebpf::layout::UnattributedReason;
use portmeter_ebpf::packet::{Direction, EXTENSION_HEADERS_MAX, Link, Outcome, SlicePacket, WireSize, classify};

use super::world::{LOCAL_IPV4, LOCAL_IPV6, World, slot};

/// Where etherparse finds a whole TCP or UDP packet, ours must find the same port, address and length. It says nothing
/// about fragments, and nothing where the two mean different things by "whole". An error says what differs.
pub fn agrees_with_etherparse(
    bytes: &[u8],
    gso_size_bytes: u32,
    direction: Direction,
    link: Link,
) -> Result<(), String> {
    let theirs = match link {
        Link::Ethernet => SlicedPacket::from_ethernet(bytes),
        Link::None => SlicedPacket::from_ip(bytes),
    };
    let Some(found) = theirs.ok().and_then(|packet| Found::new(&packet, direction)) else {
        return Ok(());
    };
    let expected = found.outcome(gso_size_bytes);
    let packet = SlicePacket::new(bytes, gso_size_bytes);
    let ours = classify(&packet, &World::default(), direction, link);
    match ours == expected {
        true => Ok(()),
        false => Err(format!("ours is {ours:?}, etherparse's {expected:?}")),
    }
}

/// What etherparse says about a packet that it and the product understand alike.
struct Found {
    local_port: u16,
    is_local: bool,
    ip_bytes: u64,
    header_bytes: u64,
}

impl Found {
    fn new(packet: &SlicedPacket<'_>, direction: Direction) -> Option<Self> {
        // Frames that are signed but not encrypted are still MACsec's.
        let is_macsec = |extension: &LinkExtSlice<'_>| matches!(extension, LinkExtSlice::Macsec(_));
        if packet.link_exts.iter().any(is_macsec) {
            return None;
        }
        let (source_port, destination_port, transport_bytes) = match packet.transport.as_ref()? {
            TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port(), tcp.header_slice().len()),
            TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port(), udp.header_slice().len()),
            _ => return None,
        };
        let (is_local, ip_bytes, ip_header_bytes) = network(packet.net.as_ref()?, direction)?;
        Some(Self {
            local_port: local_end(direction, source_port, destination_port),
            is_local,
            ip_bytes,
            header_bytes: (ip_header_bytes + transport_bytes) as u64,
        })
    }

    fn outcome(&self, gso_size_bytes: u32) -> Outcome {
        let size = self.size(gso_size_bytes.into());
        match slot(self.local_port) {
            None => Outcome::Ignored,
            Some(slot) if self.is_local => Outcome::Counted {
                slot,
                port: self.local_port,
                size,
            },
            Some(_) => Outcome::Unattributed {
                reason: UnattributedReason::Forwarded,
                size,
            },
        }
    }

    /// As many packets as it takes to carry the payload in segments, each with the headers.
    fn size(&self, gso_size_bytes: u64) -> WireSize {
        let payload_bytes = self.ip_bytes - self.header_bytes;
        let packets = match gso_size_bytes {
            0 => 1,
            _ => payload_bytes.div_ceil(gso_size_bytes).max(1),
        };
        WireSize {
            bytes: payload_bytes + packets * self.header_bytes,
            packets,
        }
    }
}

/// Whether the local end is this host, and the length of the packet and of its IP headers.
fn network(net: &NetSlice<'_>, direction: Direction) -> Option<(bool, u64, usize)> {
    match net {
        // The authentication header is followed in IPv6 only.
        NetSlice::Ipv4(ip) if ip.extensions().auth.is_none() => {
            let header = ip.header();
            let local = local_end(direction, header.source(), header.destination());
            let is_local = local == LOCAL_IPV4 || local[0] == 127;
            Some((is_local, header.total_len().into(), header.slice().len()))
        }
        // etherparse takes a payload length of 0 for "up to the end".
        NetSlice::Ipv6(ip) if ip.header().payload_length() != 0 && are_extensions_followed(ip) => {
            let header = ip.header();
            let local = local_end(direction, header.source(), header.destination());
            let ip_bytes = u64::from(header.payload_length()) + 40;
            Some((local == LOCAL_IPV6, ip_bytes, 40 + ip.extensions().slice().len()))
        }
        _ => None,
    }
}

fn local_end<T>(direction: Direction, source: T, destination: T) -> T {
    match direction {
        Direction::Receive => destination,
        Direction::Transmit => source,
    }
}

/// etherparse follows any number of extension headers, and those of mobile IPv6.
fn are_extensions_followed(ip: &Ipv6Slice<'_>) -> bool {
    const UNKNOWN: [IpNumber; 3] = [IpNumber::MOBILITY_HEADER, IpNumber::HIP, IpNumber::SHIM6];
    let mut rest = ip.extensions().slice();
    let mut next = ip.header().next_header();
    for _ in 0..EXTENSION_HEADERS_MAX {
        if rest.is_empty() {
            return true;
        }
        if UNKNOWN.contains(&next) {
            return false;
        }
        let length = match next {
            IpNumber::AUTHENTICATION_HEADER => (usize::from(rest[1]) + 2) * 4,
            IpNumber::IPV6_FRAGMENTATION_HEADER => 8,
            _ => (usize::from(rest[1]) + 1) * 8,
        };
        next = IpNumber(rest[0]);
        rest = &rest[length..];
    }
    rest.is_empty()
}
