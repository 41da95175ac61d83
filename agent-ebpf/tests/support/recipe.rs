//! Packets described by what is in them, put together by a packet library that the product does not use, with what
//! they must count as worked out from the description alone.

use etherparse::{
    EtherType, Ethernet2Header, IpAuthHeader, IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6FragmentHeader,
    Ipv6Header, Ipv6RawExtHeader, SingleVlanHeader, TcpHeader, UdpHeader,
};
use portmeter_ebpf::layout::UnattributedReason;
use portmeter_ebpf::packet::{Direction, Link, Outcome, WireSize};
use proptest::prelude::*;

use super::world::{
    LOCAL_IPV4, LOCAL_IPV6, OTHER_PORT, REMOTE_IPV4, REMOTE_IPV6, RETIRED_PORT, TRACKED_PORT, TRACKED_PORTS, slot,
};

/// A packet without contradictions.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub direction: Direction,
    pub link: Link,
    /// EtherTypes of the VLAN tags, outermost first; only on Ethernet.
    pub vlan_tags: Vec<u16>,
    pub ip: IpRecipe,
    /// Whether the local end is this host.
    pub is_local: bool,
    pub transport: TransportRecipe,
    pub local_port: u16,
    pub remote_port: u16,
    pub payload_bytes: usize,
    /// Bytes behind the end of the IP packet.
    pub padding_bytes: usize,
    /// 0: not aggregated.
    pub gso_size_bytes: u32,
}

#[derive(Debug, Clone)]
pub enum IpRecipe {
    V4 { option_words: usize, fragment: Fragment },
    V6 { extensions: Vec<Extension> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// In units of eight bytes.
    pub offset: u16,
    pub more: bool,
}

/// An IPv6 extension header and how much longer than the shortest it is, in its own units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    HopByHop(usize),
    Routing(usize),
    DestinationOptions(usize),
    Authentication(usize),
    Fragment(Fragment),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportRecipe {
    Tcp { option_words: usize },
    Udp,
}

impl Recipe {
    /// The plainest packet that counts: IPv4, TCP, from a client.
    pub fn plain() -> Self {
        Self {
            direction: Direction::Receive,
            link: Link::Ethernet,
            vlan_tags: Vec::new(),
            ip: IpRecipe::V4 {
                option_words: 0,
                fragment: Fragment { offset: 0, more: false },
            },
            is_local: true,
            transport: TransportRecipe::Tcp { option_words: 0 },
            local_port: TRACKED_PORT,
            remote_port: 50_000,
            payload_bytes: 100,
            padding_bytes: 0,
            gso_size_bytes: 0,
        }
    }

    /// [`Self::plain`], with IPv6 and extension headers.
    pub fn plain_ipv6(extensions: &[Extension]) -> Self {
        Self {
            ip: IpRecipe::V6 {
                extensions: extensions.to_vec(),
            },
            ..Self::plain()
        }
    }

    /// What it counts as, from the description alone.
    pub fn outcome(&self) -> Outcome {
        let ip_bytes = (self.ip_header_bytes() + self.transport_bytes() + self.payload_bytes) as u64;
        if self.is_later_fragment() {
            let size = WireSize {
                bytes: ip_bytes,
                packets: 1,
            };
            return match self.is_local {
                true => Outcome::Unattributed {
                    reason: UnattributedReason::Fragment,
                    size,
                },
                false => Outcome::Ignored,
            };
        }
        let Some(slot) = slot(self.local_port) else {
            return Outcome::Ignored;
        };
        let size = self.size(ip_bytes);
        match self.is_local {
            true => Outcome::Counted {
                slot,
                port: self.local_port,
                size,
            },
            false => Outcome::Unattributed {
                reason: UnattributedReason::Forwarded,
                size,
            },
        }
    }

    /// Segment by segment, the way the packets would be on the wire.
    fn size(&self, ip_bytes: u64) -> WireSize {
        if self.gso_size_bytes == 0 || self.is_first_fragment() || self.payload_bytes == 0 {
            return WireSize {
                bytes: ip_bytes,
                packets: 1,
            };
        }
        let header_bytes = self.ip_header_bytes() + self.transport_bytes();
        let payload = vec![(); self.payload_bytes];
        let segments = payload.chunks(self.gso_size_bytes as usize);
        segments.fold(WireSize { bytes: 0, packets: 0 }, |sum, segment| WireSize {
            bytes: sum.bytes + (header_bytes + segment.len()) as u64,
            packets: sum.packets + 1,
        })
    }

    /// The packet, from its first byte to its last.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.link_header();
        bytes.extend(self.ip_header());
        bytes.extend(self.transport_header());
        bytes.resize(bytes.len() + self.payload_bytes, 0x5a);
        bytes.resize(bytes.len() + self.padding_bytes, 0);
        bytes
    }

    /// Offset of the IP header.
    pub fn ip_offset(&self) -> usize {
        match self.link {
            Link::Ethernet => Ethernet2Header::LEN + self.vlan_tags.len() * SingleVlanHeader::LEN,
            Link::None => 0,
        }
    }

    /// Offset of the transport header.
    pub fn transport_offset(&self) -> usize {
        self.ip_offset() + self.ip_header_bytes()
    }

    fn link_header(&self) -> Vec<u8> {
        if self.link == Link::None {
            return Vec::new();
        }
        let network = match self.ip {
            IpRecipe::V4 { .. } => EtherType::IPV4,
            IpRecipe::V6 { .. } => EtherType::IPV6,
        };
        let mut ether_types = self.vlan_tags.iter().copied().map(EtherType).chain([network]);
        let ether_type = ether_types.next().unwrap_or(network);
        let mut bytes = Ethernet2Header {
            source: [2; 6],
            destination: [4; 6],
            ether_type,
        }
        .to_bytes()
        .to_vec();
        bytes.extend(ether_types.flat_map(|ether_type| {
            SingleVlanHeader {
                ether_type,
                ..SingleVlanHeader::default()
            }
            .to_bytes()
        }));
        bytes
    }

    fn ip_header(&self) -> Vec<u8> {
        match &self.ip {
            IpRecipe::V4 { option_words, fragment } => self.ipv4_header(*option_words, *fragment),
            IpRecipe::V6 { extensions } => self.ipv6_header(extensions),
        }
    }

    fn ipv4_header(&self, option_words: usize, fragment: Fragment) -> Vec<u8> {
        let local = if self.is_local { LOCAL_IPV4 } else { [203, 0, 113, 5] };
        let (source, destination) = self.source_and_destination(local, REMOTE_IPV4);
        let payload = (self.transport_bytes() + self.payload_bytes).try_into().unwrap();
        let mut header = Ipv4Header::new(payload, 64, self.protocol(), source, destination).unwrap();
        header.options = Ipv4Options::try_from(&vec![1; option_words * 4][..]).unwrap();
        header.total_len += (option_words * 4) as u16;
        header.fragment_offset = IpFragOffset::try_new(fragment.offset).unwrap();
        header.more_fragments = fragment.more;
        header.header_checksum = header.calc_header_checksum();
        header.to_bytes().to_vec()
    }

    fn ipv6_header(&self, extensions: &[Extension]) -> Vec<u8> {
        let local = if self.is_local { LOCAL_IPV6 } else { [0xfd; 16] };
        let (source, destination) = self.source_and_destination(local, REMOTE_IPV6);
        let mut kinds = extensions.iter().map(Extension::kind).chain([self.protocol()]);
        let payload_bytes = self.ip_header_bytes() - Ipv6Header::LEN + self.transport_bytes() + self.payload_bytes;
        let header = Ipv6Header {
            payload_length: payload_bytes.try_into().unwrap(),
            next_header: kinds.next().unwrap(),
            hop_limit: 64,
            source,
            destination,
            ..Ipv6Header::default()
        };
        let mut bytes = header.to_bytes().to_vec();
        for (extension, next) in extensions.iter().zip(kinds) {
            bytes.extend(extension.bytes(next));
        }
        bytes
    }

    fn transport_header(&self) -> Vec<u8> {
        let (source, destination) = self.source_and_destination(self.local_port, self.remote_port);
        match self.transport {
            TransportRecipe::Tcp { option_words } => {
                let mut header = TcpHeader::new(source, destination, 1, 1_000);
                header.set_options_raw(&vec![1; option_words * 4]).unwrap();
                header.to_bytes().to_vec()
            }
            TransportRecipe::Udp => {
                let length = (UdpHeader::LEN + self.payload_bytes) as u16;
                UdpHeader {
                    source_port: source,
                    destination_port: destination,
                    length,
                    checksum: 0,
                }
                .to_bytes()
                .to_vec()
            }
        }
    }

    /// The two ends in the order of the header, which depends on the direction.
    fn source_and_destination<T>(&self, local: T, remote: T) -> (T, T) {
        match self.direction {
            Direction::Receive => (remote, local),
            Direction::Transmit => (local, remote),
        }
    }

    fn protocol(&self) -> IpNumber {
        match self.transport {
            TransportRecipe::Tcp { .. } => IpNumber::TCP,
            TransportRecipe::Udp => IpNumber::UDP,
        }
    }

    fn ip_header_bytes(&self) -> usize {
        match &self.ip {
            IpRecipe::V4 { option_words, .. } => Ipv4Header::MIN_LEN + option_words * 4,
            IpRecipe::V6 { extensions } => {
                let end = IpNumber::TCP;
                Ipv6Header::LEN
                    + extensions
                        .iter()
                        .map(|extension| extension.bytes(end).len())
                        .sum::<usize>()
            }
        }
    }

    fn transport_bytes(&self) -> usize {
        match self.transport {
            TransportRecipe::Tcp { option_words } => TcpHeader::MIN_LEN + option_words * 4,
            TransportRecipe::Udp => UdpHeader::LEN,
        }
    }

    fn fragments(&self) -> Vec<Fragment> {
        match &self.ip {
            IpRecipe::V4 { fragment, .. } => vec![*fragment],
            IpRecipe::V6 { extensions } => extensions
                .iter()
                .filter_map(|extension| match extension {
                    Extension::Fragment(fragment) => Some(*fragment),
                    _ => None,
                })
                .collect(),
        }
    }

    fn is_later_fragment(&self) -> bool {
        self.fragments().iter().any(|fragment| fragment.offset != 0)
    }

    fn is_first_fragment(&self) -> bool {
        self.fragments().iter().any(|fragment| fragment.more)
    }
}

impl Extension {
    fn kind(&self) -> IpNumber {
        match self {
            Self::HopByHop(_) => IpNumber::IPV6_HEADER_HOP_BY_HOP,
            Self::Routing(_) => IpNumber::IPV6_ROUTE_HEADER,
            Self::DestinationOptions(_) => IpNumber::IPV6_DESTINATION_OPTIONS,
            Self::Authentication(_) => IpNumber::AUTHENTICATION_HEADER,
            Self::Fragment(_) => IpNumber::IPV6_FRAGMENTATION_HEADER,
        }
    }

    fn bytes(&self, next: IpNumber) -> Vec<u8> {
        match self {
            Self::HopByHop(more) | Self::Routing(more) | Self::DestinationOptions(more) => {
                Ipv6RawExtHeader::new_raw(next, &vec![0; 6 + more * 8])
                    .unwrap()
                    .to_bytes()
                    .to_vec()
            }
            Self::Authentication(more) => IpAuthHeader::new(next, 1, 2, &vec![0; more * 4])
                .unwrap()
                .to_bytes()
                .to_vec(),
            Self::Fragment(fragment) => {
                let offset = IpFragOffset::try_new(fragment.offset).unwrap();
                Ipv6FragmentHeader::new(next, offset, fragment.more, 7)
                    .to_bytes()
                    .to_vec()
            }
        }
    }
}

/// Any packet without contradictions, up to a length that one test run of the kernel takes.
pub fn recipes() -> impl Strategy<Value = Recipe> {
    let ends = (directions(), any::<bool>(), local_ports(), any::<u16>());
    let link = prop_oneof![
        prop::collection::vec(prop::sample::select(vec![0x8100, 0x88a8, 0x9100]), 0..=4)
            .prop_map(|vlan_tags| (Link::Ethernet, vlan_tags)),
        Just((Link::None, Vec::new())),
    ];
    let lengths = (0..1_200usize, 0..40usize, prop_oneof![Just(0), 1..1_500u32]);
    (ends, link, ips(), transports(), lengths).prop_map(|(ends, (link, vlan_tags), ip, transport, lengths)| {
        let (direction, is_local, local_port, remote_port) = ends;
        let (payload_bytes, padding_bytes, gso_size_bytes) = lengths;
        Recipe {
            direction,
            link,
            vlan_tags,
            ip,
            is_local,
            transport,
            local_port,
            remote_port,
            payload_bytes,
            padding_bytes,
            gso_size_bytes,
        }
    })
}

/// Either way.
pub fn directions() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Receive), Just(Direction::Transmit)]
}

fn local_ports() -> impl Strategy<Value = u16> {
    prop_oneof![
        4 => prop::sample::select(TRACKED_PORTS.map(|(port, _)| port).to_vec()),
        1 => Just(OTHER_PORT),
        1 => Just(RETIRED_PORT),
        1 => any::<u16>(),
    ]
}

fn ips() -> impl Strategy<Value = IpRecipe> {
    let fragment = || {
        prop_oneof![
            6 => Just(Fragment { offset: 0, more: false }),
            1 => Just(Fragment { offset: 0, more: true }),
            1 => (1..0x1fffu16, any::<bool>()).prop_map(|(offset, more)| Fragment { offset, more }),
        ]
    };
    let extension = prop_oneof![
        2 => (0..4usize).prop_map(Extension::HopByHop),
        2 => (0..4usize).prop_map(Extension::Routing),
        2 => (0..12usize).prop_map(Extension::DestinationOptions),
        2 => (0..8usize).prop_map(Extension::Authentication),
        1 => fragment().prop_map(Extension::Fragment),
    ];
    prop_oneof![
        (0..=10usize, fragment()).prop_map(|(option_words, fragment)| IpRecipe::V4 { option_words, fragment }),
        prop::collection::vec(extension, 0..=8).prop_map(|extensions| IpRecipe::V6 { extensions }),
    ]
}

fn transports() -> impl Strategy<Value = TransportRecipe> {
    prop_oneof![
        (0..=10usize).prop_map(|option_words| TransportRecipe::Tcp { option_words }),
        Just(TransportRecipe::Udp),
    ]
}
