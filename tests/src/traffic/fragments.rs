//! Datagrams cut into fragments by hand, so that a story decides which of them are sent and in what order.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header,
    LaxSlicedPacket, PacketBuilder,
};

use super::frames::{self, LinkEnd};
use crate::network::{CLIENT_ADDRESSES, Pair, SERVER_ADDRESSES};

/// Payload of every fragment but the last, a multiple of eight.
const FRAGMENT_BYTES: usize = 1_400;

/// The client's end of every datagram.
const CLIENT_PORT: u16 = 40_000;

/// Both ends of a cable, between which datagrams go in fragments.
#[derive(Debug)]
pub struct Ends {
    /// The counted host's.
    pub server: LinkEnd,
    /// The other host's.
    pub client: LinkEnd,
}

impl Ends {
    /// Those of a pair of hosts.
    pub fn of(pair: &Pair) -> Result<Self> {
        Ok(Self {
            server: LinkEnd::of(&pair.server, "eth0")?,
            client: LinkEnd::of(&pair.client, "eth0")?,
        })
    }

    /// A datagram to a port of the server as [`datagram`] gives it; `family` is 0 for IPv4 and 1 for IPv6.
    pub fn up(&self, family: usize, port: u16, size: usize, number: u16) -> Result<Vec<Vec<u8>>> {
        let (client, server) = self.addresses(family, port);
        datagram((&self.client, client), (&self.server, server), &vec![1; size], number)
    }

    /// A datagram from a port of the server.
    pub fn down(&self, family: usize, port: u16, size: usize, number: u16) -> Result<Vec<Vec<u8>>> {
        let (client, server) = self.addresses(family, port);
        datagram((&self.server, server), (&self.client, client), &vec![1; size], number)
    }

    fn addresses(&self, family: usize, port: u16) -> (SocketAddr, SocketAddr) {
        (
            SocketAddr::new(CLIENT_ADDRESSES[family], CLIENT_PORT),
            SocketAddr::new(SERVER_ADDRESSES[family], port),
        )
    }
}

/// One UDP datagram as the frames of its fragments, in order. `identification` tells them from other datagrams'.
pub fn datagram(
    from: (&LinkEnd, SocketAddr),
    to: (&LinkEnd, SocketAddr),
    payload: &[u8],
    identification: u16,
) -> Result<Vec<Vec<u8>>> {
    let whole = frames::udp(from, to, payload)?;
    let whole = LaxSlicedPacket::from_ethernet(&whole)?;
    let Some(content) = whole.ip_payload() else {
        bail!("no IP packet was built");
    };
    let pieces = content.payload.chunks(FRAGMENT_BYTES);
    let last = pieces.len() - 1;
    pieces
        .enumerate()
        .map(|(number, piece)| {
            let place = Place {
                identification,
                // In units of eight bytes.
                offset: IpFragOffset::try_new(u16::try_from(number * FRAGMENT_BYTES / 8)?)?,
                is_last: number == last,
            };
            frame(from, to, &place, piece)
        })
        .collect()
}

/// Where a fragment belongs.
struct Place {
    identification: u16,
    offset: IpFragOffset,
    is_last: bool,
}

fn frame(from: (&LinkEnd, SocketAddr), to: (&LinkEnd, SocketAddr), place: &Place, piece: &[u8]) -> Result<Vec<u8>> {
    let headers = match (from.1, to.1) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            let (source, destination) = (source.ip().octets(), destination.ip().octets());
            let mut header = Ipv4Header::new(0, 64, IpNumber::UDP, source, destination)?;
            header.identification = place.identification;
            header.dont_fragment = false;
            header.more_fragments = !place.is_last;
            header.fragment_offset = place.offset;
            IpHeaders::Ipv4(header, Ipv4Extensions::default())
        }
        (SocketAddr::V6(source), SocketAddr::V6(destination)) => {
            let header = Ipv6Header {
                next_header: IpNumber::IPV6_FRAGMENTATION_HEADER,
                hop_limit: 64,
                source: source.ip().octets(),
                destination: destination.ip().octets(),
                ..Ipv6Header::default()
            };
            let identification = place.identification.into();
            let fragment = Ipv6FragmentHeader::new(IpNumber::UDP, place.offset, !place.is_last, identification);
            let extensions = Ipv6Extensions {
                fragment: Some(fragment),
                ..Ipv6Extensions::default()
            };
            IpHeaders::Ipv6(header, extensions)
        }
        _ => bail!("both ends must be of one family"),
    };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from.0.hardware, to.0.hardware)
        .ip(headers)
        .write(&mut frame, IpNumber::UDP, piece)?;
    Ok(frame)
}

/// One of each, then the next of each, until all are used up.
pub fn take_turns(lists: Vec<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut frames = Vec::new();
    loop {
        let before = frames.len();
        frames.extend(lists.iter_mut().filter_map(Iterator::next));
        if frames.len() == before {
            return frames;
        }
    }
}
