//! How long the packets are that a device and its stack hand each other, beyond what Debian 12's `ip` can set: it knows
//! nothing of the limits for IPv4 (Linux 6.3).

use anyhow::{Context, Result, bail};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::net::if_::if_nametoindex;

use crate::namespace::Namespace;

/// Has an interface send and receive packets of up to this many bytes where it aggregates them.
pub fn allow(host: &Namespace, interface: &str, bytes: u32) -> Result<()> {
    host.enter(|| set(interface, bytes))
        .with_context(|| format!("allowing packets of {bytes} bytes on {interface}"))
}

fn set(interface: &str, bytes: u32) -> Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = if_nametoindex(interface)?;
    link.attributes = vec![
        LinkAttribute::GsoMaxSize(bytes),
        LinkAttribute::GroMaxSize(bytes),
        LinkAttribute::GsoIpv4MaxSize(bytes),
        LinkAttribute::GroIpv4MaxSize(bytes),
    ];
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut message = NetlinkMessage::new(header, RouteNetlinkMessage::SetLink(link).into());
    message.finalize();
    let mut request = vec![0; message.buffer_len()];
    message.serialize(&mut request);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    socket.send(&request, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?.payload {
        // The kernel acknowledges with an error of nothing.
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(error.to_io().into()),
        other => bail!("the kernel answered {other:?}"),
    }
}
