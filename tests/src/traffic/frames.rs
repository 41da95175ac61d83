//! Frames as a story writes them, byte by byte: padding, IPv4 options, IPv6 extension headers, VLAN tags.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use etherparse::{
    IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv4Options, Ipv6Extensions, Ipv6Header, Ipv6RawExtHeader,
    Ipv6RoutingExtensions, PacketBuilder,
};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

use crate::namespace::Namespace;

/// The shortest frame an Ethernet card sends, without its checksum; shorter ones are padded to it.
const SHORTEST_FRAME: usize = 60;

/// Two hardware addresses; VLAN tags come next.
const HARDWARE_ADDRESSES_BYTES: usize = 12;

/// An end of a cable, as frames name it.
#[derive(Debug, Clone, Copy)]
pub struct LinkEnd {
    link: LinkAddr,
    pub(super) hardware: [u8; 6],
}

impl LinkEnd {
    /// The end that `interface` of `host` is.
    pub fn of(host: &Namespace, interface: &str) -> Result<Self> {
        let link = host.enter(|| link_address(interface))?;
        let hardware = link.addr().context("the interface has no hardware address")?;
        Ok(Self { link, hardware })
    }
}

/// One UDP datagram in a frame of just its length.
pub(super) fn udp(from: (&LinkEnd, SocketAddr), to: (&LinkEnd, SocketAddr), payload: &[u8]) -> Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(from.0.hardware, to.0.hardware);
    let mut frame = Vec::new();
    match (from.1, to.1) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => builder
            .ipv4(source.ip().octets(), destination.ip().octets(), 64)
            .udp(source.port(), destination.port())
            .write(&mut frame, payload)?,
        (SocketAddr::V6(source), SocketAddr::V6(destination)) => builder
            .ipv6(source.ip().octets(), destination.ip().octets(), 64)
            .udp(source.port(), destination.port())
            .write(&mut frame, payload)?,
        _ => anyhow::bail!("both ends must be of one family"),
    }
    Ok(frame)
}

/// One UDP datagram in a frame padded to the shortest length of Ethernet.
pub fn padded_udp(from: (&LinkEnd, SocketAddr), to: (&LinkEnd, SocketAddr), payload: &[u8]) -> Result<Vec<u8>> {
    let mut frame = udp(from, to, payload)?;
    // An IPv6 datagram is never that short: it gets a few bytes that belong to no packet all the same.
    let padded = if frame.len() < SHORTEST_FRAME {
        SHORTEST_FRAME
    } else {
        frame.len() + 7
    };
    frame.resize(padded, 0xaa);
    Ok(frame)
}

/// The first packet of a TCP handshake.
pub fn tcp_syn(from: (&LinkEnd, SocketAddr), to: (&LinkEnd, SocketAddr)) -> Result<Vec<u8>> {
    let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (from.1, to.1) else {
        anyhow::bail!("only IPv4 is spelled out here");
    };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from.0.hardware, to.0.hardware)
        .ipv4(source.ip().octets(), destination.ip().octets(), 64)
        .tcp(source.port(), destination.port(), 1, 64_240)
        .syn()
        .write(&mut frame, &[])?;
    Ok(frame)
}

/// One UDP datagram behind an IPv4 header with options (three no-operations and an end of list).
pub fn udp_with_options(from: (&LinkEnd, SocketAddr), to: (&LinkEnd, SocketAddr), payload: &[u8]) -> Result<Vec<u8>> {
    let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (from.1, to.1) else {
        anyhow::bail!("only IPv4 has options");
    };
    let mut header = Ipv4Header::new(0, 64, IpNumber::UDP, source.ip().octets(), destination.ip().octets())?;
    header.options = Ipv4Options::from([1, 1, 1, 0]);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from.0.hardware, to.0.hardware)
        .ip(IpHeaders::Ipv4(header, Ipv4Extensions::default()))
        .udp(source.port(), destination.port())
        .write(&mut frame, payload)?;
    Ok(frame)
}

/// One UDP datagram behind every extension header that a receiver follows: hop-by-hop options, destination options,
/// routing (with nowhere left to go), destination options again.
pub fn udp_with_extensions(
    from: (&LinkEnd, SocketAddr),
    to: (&LinkEnd, SocketAddr),
    payload: &[u8],
) -> Result<Vec<u8>> {
    let (SocketAddr::V6(source), SocketAddr::V6(destination)) = (from.1, to.1) else {
        anyhow::bail!("only IPv6 has extension headers");
    };
    // Behind next header and length: padding (PadN) that fills 8 bytes, and an option for experiments (RFC 4727) that
    // fills 24; a receiver refuses longer padding.
    let short = Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[1, 4, 0, 0, 0, 0])?;
    let long = Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[[0x1e, 20].as_slice(), &[0; 20]].concat())?;
    // A type for experiments (RFC 4727) and no segment left: a receiver passes on to the next header (RFC 8200, 4.4).
    let routing = Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[[253, 0].as_slice(), &[0; 20]].concat())?;
    let mut extensions = Ipv6Extensions {
        hop_by_hop_options: Some(short.clone()),
        destination_options: Some(long),
        routing: Some(Ipv6RoutingExtensions {
            routing,
            final_destination_options: Some(short),
        }),
        ..Ipv6Extensions::default()
    };
    let header = Ipv6Header {
        next_header: extensions.set_next_headers(IpNumber::UDP),
        hop_limit: 64,
        source: source.ip().octets(),
        destination: destination.ip().octets(),
        ..Ipv6Header::default()
    };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from.0.hardware, to.0.hardware)
        .ip(IpHeaders::Ipv6(header, extensions))
        .udp(source.port(), destination.port())
        .write(&mut frame, payload)?;
    Ok(frame)
}

/// The same frame with VLAN tags, the outermost first: the kind of each (its EtherType) and its VLAN.
pub fn tagged(mut frame: Vec<u8>, tags: &[(u16, u16)]) -> Vec<u8> {
    let tags = tags
        .iter()
        .flat_map(|(kind, vlan)| [kind.to_be_bytes(), vlan.to_be_bytes()].concat());
    frame.splice(HARDWARE_ADDRESSES_BYTES..HARDWARE_ADDRESSES_BYTES, tags);
    frame
}

/// Sends frames out of `interface` of `host`, which must be `from`.
pub fn send(host: &Namespace, from: &LinkEnd, frames: &[Vec<u8>]) -> Result<()> {
    host.enter(|| {
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        for frame in frames {
            sendto(socket.as_raw_fd(), frame, &from.link, MsgFlags::empty()).context("sending a frame")?;
        }
        Ok(())
    })
}

fn link_address(interface: &str) -> Result<LinkAddr> {
    getifaddrs()?
        .filter(|address| address.interface_name == interface)
        .find_map(|address| address.address?.as_link_addr().copied())
        .with_context(|| format!("{interface} has no link address"))
}
