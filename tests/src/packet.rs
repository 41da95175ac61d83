//! A packet of the wire as a library that the product does not use reads it, and the sum of many.
//!
//! Bytes are the IP header's own length: the total length of IPv4, the payload length plus 40 of IPv6. Padding and
//! link header never enter into it. A later fragment carries no ports: it belongs to the ports of the first fragment
//! of its datagram, if that one passed before it.

use std::collections::HashMap;
use std::net::IpAddr;

use etherparse::{IpNumber, Ipv6ExtensionSlice, LaxIpPayloadSlice, LaxNetSlice, LaxSlicedPacket};

use crate::count::{Count, Counts};

/// A TCP or UDP packet, or a fragment of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    source: IpAddr,
    destination: IpAddr,
    bytes: u64,
    content: Content,
}

/// Source and destination port.
type Ports = (u16, u16);

/// What tells a datagram's fragments from all others.
type DatagramId = (IpAddr, IpAddr, u32, IpNumber);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Whole(Ports),
    FirstFragment(DatagramId, Ports),
    LaterFragment(DatagramId),
}

/// A fragment's place, as the IP header or its extension has it.
struct Fragment {
    identification: u32,
    is_later: bool,
}

impl Packet {
    /// What an Ethernet frame, cut off after its headers, carries; nothing when that is neither TCP nor UDP.
    pub fn from_ethernet(frame: &[u8]) -> Option<Self> {
        Self::read(&LaxSlicedPacket::from_ethernet(frame).ok()?)
    }

    /// The same of a packet without a link header.
    pub fn from_ip(packet: &[u8]) -> Option<Self> {
        Self::read(&LaxSlicedPacket::from_ip(packet).ok()?)
    }

    /// The port it is for; nothing where it does not say.
    pub fn destination_port(&self) -> Option<u16> {
        match self.content {
            Content::Whole(ports) | Content::FirstFragment(_, ports) => Some(ports.1),
            Content::LaterFragment(_) => None,
        }
    }

    fn read(packet: &LaxSlicedPacket<'_>) -> Option<Self> {
        let (source, destination, bytes, fragment): (IpAddr, IpAddr, u64, _) = match packet.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                let is_later = header.fragments_offset().value() != 0;
                let fragment = (is_later || header.more_fragments()).then(|| Fragment {
                    identification: header.identification().into(),
                    is_later,
                });
                let bytes = u64::from(header.total_len());
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                    bytes,
                    fragment,
                )
            }
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                let fragment = ip.extensions().clone().into_iter().find_map(fragment_of_ipv6);
                let bytes = u64::from(header.payload_length()) + 40;
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                    bytes,
                    fragment,
                )
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let payload = packet.net.as_ref()?.ip_payload_ref()?;
        if payload.ip_number != IpNumber::TCP && payload.ip_number != IpNumber::UDP {
            return None;
        }
        let datagram = |fragment: &Fragment| (source, destination, fragment.identification, payload.ip_number);
        let content = match fragment {
            None => Content::Whole(ports(payload)?),
            Some(fragment) if fragment.is_later => Content::LaterFragment(datagram(&fragment)),
            Some(fragment) => Content::FirstFragment(datagram(&fragment), ports(payload)?),
        };
        Some(Self {
            source,
            destination,
            bytes,
            content,
        })
    }
}

/// A fragment header, unless it says that this is the only fragment.
fn fragment_of_ipv6(extension: Ipv6ExtensionSlice<'_>) -> Option<Fragment> {
    let Ipv6ExtensionSlice::Fragment(header) = extension else {
        return None;
    };
    header.is_fragmenting_payload().then(|| Fragment {
        identification: header.identification(),
        is_later: header.fragment_offset().value() != 0,
    })
}

/// TCP and UDP both start with them.
fn ports(payload: &LaxIpPayloadSlice<'_>) -> Option<Ports> {
    let [a, b, c, d] = *payload.payload.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// Packets in the order they passed, summed by the counted host's port.
#[derive(Debug, Default)]
pub struct Tally {
    server: Vec<IpAddr>,
    counts: Counts,
    first_fragments: HashMap<DatagramId, Ports>,
    orphans: Count,
}

impl Tally {
    /// Nothing yet. `server` are the counted host's addresses: they tell rx from tx.
    pub fn new(server: &[IpAddr]) -> Self {
        Self {
            server: server.to_vec(),
            ..Self::default()
        }
    }

    /// Adds a packet to the server's port at either end; on loopback both ends are the server's.
    pub fn add(&mut self, packet: &Packet) {
        let ports = match packet.content {
            Content::Whole(ports) => Some(ports),
            Content::FirstFragment(datagram, ports) => {
                self.first_fragments.insert(datagram, ports);
                Some(ports)
            }
            Content::LaterFragment(datagram) => self.first_fragments.get(&datagram).copied(),
        };
        if self.server.contains(&packet.destination) {
            let count = match ports {
                Some((_, destination)) => self.counts.entry(destination).or_default(),
                None => &mut self.orphans,
            };
            count.rx_bytes += packet.bytes;
            count.rx_packets += 1;
        }
        if self.server.contains(&packet.source) {
            let count = match ports {
                Some((source, _)) => self.counts.entry(source).or_default(),
                None => &mut self.orphans,
            };
            count.tx_bytes += packet.bytes;
            count.tx_packets += 1;
        }
    }

    /// Every port's sum.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The sum of later fragments whose first fragment had not passed before them.
    pub fn orphans(&self) -> Count {
        self.orphans
    }
}
