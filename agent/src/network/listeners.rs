//! Who listens on which port of this network namespace.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::StateFlags;

use super::sockets::dump;
use crate::store::PortProbe;

/// A listening TCP socket, or a bound UDP socket without a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// TCP rather than UDP.
    pub is_tcp: bool,
    /// The socket's inode, by which the process that holds it is found.
    pub inode: u32,
}

/// Every listener of this namespace.
pub fn listeners() -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        // A UDP socket without a peer is in state CLOSE.
        for (protocol, state) in [(IPPROTO_TCP, StateFlags::LISTEN), (IPPROTO_UDP, StateFlags::CLOSE)] {
            dump(family, protocol, &state, |header| {
                let id = &header.socket_id;
                found.push(Listener {
                    address: SocketAddr::new(id.source_address, id.source_port),
                    is_tcp: protocol == IPPROTO_TCP,
                    inode: header.inode,
                });
            })?;
        }
    }
    Ok(found)
}

/// Finds out which ports programs hold.
pub struct SocketProbe;

impl PortProbe for SocketProbe {
    /// Ports with a listening TCP socket or a bound UDP socket that is not connected to one peer.
    fn held_ports(&mut self) -> io::Result<BTreeSet<u16>> {
        Ok(listeners()?.iter().map(|listener| listener.address.port()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn tells_the_inode_by_which_the_process_is_found() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let found = listeners().unwrap();
        for (address, descriptor, is_tcp) in [
            (tcp.local_addr().unwrap(), tcp.as_raw_fd(), true),
            (udp.local_addr().unwrap(), udp.as_raw_fd(), false),
        ] {
            let link = std::fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap();
            let is_ours = |one: &&Listener| one.address == address && one.is_tcp == is_tcp;
            let listener = found.iter().find(is_ours).unwrap();
            assert_eq!(link.to_str().unwrap(), format!("socket:[{}]", listener.inode));
        }
    }

    #[test]
    fn sees_listeners_and_bound_udp_sockets() {
        let tcp = TcpListener::bind("[::1]:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let held = SocketProbe.held_ports().unwrap();
        assert!(held.contains(&tcp.local_addr().unwrap().port()));
        assert!(held.contains(&udp.local_addr().unwrap().port()));
    }
}
