//! Ends TCP connections: all that this network namespace has at a local port, at once and for both ends.
//!
//! The kernel is asked to destroy each socket (sock_diag's `SOCK_DESTROY`): the other end gets a reset, the process that
//! holds this end an error (`ECONNABORTED`), and what was still to be sent is thrown away. It takes CAP_NET_ADMIN and a
//! kernel with CONFIG_INET_DIAG_DESTROY; an error of its own says what is missing, so that the caller can do otherwise.
//!
//! The tables do not tell an incoming connection from an outgoing one that the system gave this port to as its own. A
//! port that somebody listens at, or that connections accepted there still hold, is given to none; for one that nobody
//! holds, it matters that it lies outside `net.ipv4.ip_local_port_range` or in `net.ipv4.ip_local_reserved_ports`, as the
//! ports of keys do by default. `portmeter doctor` looks at that.
//!
//! The calls block and belong on a blocking thread.

mod destroyer;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{InetResponseHeader, SocketId, StateFlags, Timer};

use super::sockets::{connection_states, dump_at};
use destroyer::{Answer, Cookie, Destroyer, Open};

/// How often the tables are gone through. Connections that come meanwhile, where the port is still open, are the next
/// round's; whoever opens them faster than that has to be stopped in another way.
const ROUNDS_MAX: usize = 8;

/// What has become of a port's connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// How many were ended. Those that ended by themselves meanwhile are not among them.
    pub ended: usize,
    /// How many are there still: new ones, or ones that this kernel keeps. Those it has thrown away the data of: Linux
    /// before 6.12 lets connections be that their process has closed and that still had something to send.
    pub left: usize,
}

/// Why connections could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The kernel has no `SOCK_DESTROY`.
    #[error("this kernel cannot end connections: it was built without CONFIG_INET_DIAG_DESTROY")]
    Unsupported,
    /// This process must not.
    #[error("ending connections takes CAP_NET_ADMIN: run as root or with the agent's capabilities")]
    NotPermitted,
    /// The kernel could not be asked.
    #[error("the connections of port {port} cannot be ended: {source}")]
    Failed {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
}

/// Ends every TCP connection whose local port is `port`: complete ones, whichever end has begun to close them, and
/// half-open ones. Listeners stay, and so do `TIME_WAIT` entries, which carry nothing any more.
pub fn destroy(port: u16) -> Result<Cut, CutError> {
    let failed = |source| CutError::Failed { port, source };
    let destroyer = Destroyer::open().map_err(failed)?;
    let mut destroyed = BTreeSet::new();
    let mut found = open_at(port).map_err(failed)?;
    for _ in 0..ROUNDS_MAX {
        if found.iter().all(|one| destroyed.contains(&one.id.cookie)) {
            // None is left, or the kernel keeps them in spite of what it said; asking again changes nothing.
            break;
        }
        for one in &found {
            match destroyer.destroy(one) {
                Answer::Destroyed => drop(destroyed.insert(one.id.cookie)),
                Answer::Gone => {}
                Answer::Unsupported => return Err(CutError::Unsupported),
                Answer::NotPermitted => return Err(CutError::NotPermitted),
                Answer::Failed(error) => {
                    tracing::debug!(port, remote_port = one.id.destination_port, %error, "a connection is not ended");
                }
            }
        }
        found = open_at(port).map_err(failed)?;
    }
    Ok(cut(&destroyed, &found))
}

/// Whether this kernel can end connections at all. Asks it to end one that cannot be; nothing is ended.
pub fn is_supported() -> io::Result<bool> {
    // Without the tables there is nothing to look into, and the answer would be the same as for no such connection.
    open_at(u16::MAX)?;
    // No socket has the cookie 0 (`__sock_gen_cookie` begins at 1).
    let nobody = Open {
        family: AF_INET,
        id: SocketId::new_v4(),
    };
    match Destroyer::open()?.destroy(&nobody) {
        Answer::Unsupported => Ok(false),
        Answer::Failed(error) => Err(error),
        Answer::Destroyed | Answer::Gone | Answer::NotPermitted => Ok(true),
    }
}

/// The two ends of a connection, as its packets name them: IPv4 is IPv4, whatever kind of socket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ends {
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// What [`destroy`] would end.
pub fn open_connections(port: u16) -> io::Result<BTreeSet<Ends>> {
    Ok(open_at(port)?.iter().map(Open::ends).collect())
}

/// What is open at a local port.
fn open_at(port: u16) -> io::Result<Vec<Open>> {
    let states = connection_states() | StateFlags::SYN_RECV;
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        dump_at(port, family, IPPROTO_TCP, &states, |header| {
            if is_open_at(header, port) {
                found.push(Open {
                    family: header.family,
                    id: header.socket_id.clone(),
                });
            }
        })?;
    }
    Ok(found)
}

/// Whatever the kernel was asked for, only this is ever ended. A `TIME_WAIT` entry may show the state it replaced.
fn is_open_at(header: &InetResponseHeader, port: u16) -> bool {
    header.socket_id.source_port == port && header.timer != Some(Timer::TimeWait)
}

/// The sum, from what the kernel said that it has ended and what is there at the end.
fn cut(destroyed: &BTreeSet<Cookie>, left: &[Open]) -> Cut {
    let kept = left.iter().filter(|one| destroyed.contains(&one.id.cookie)).count();
    Cut {
        ended: destroyed.len() - kept,
        left: left.len(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn named(cookie: u8) -> Open {
        Open {
            family: AF_INET,
            id: SocketId {
                cookie: [cookie; 8],
                ..SocketId::new_v4()
            },
        }
    }

    #[test]
    fn what_the_kernel_keeps_is_left_and_not_ended() {
        let destroyed: BTreeSet<Cookie> = [[1; 8], [2; 8], [3; 8]].into();
        assert_eq!(cut(&destroyed, &[]), Cut { ended: 3, left: 0 });
        assert_eq!(cut(&destroyed, &[named(2), named(9)]), Cut { ended: 2, left: 2 });
        assert_eq!(cut(&BTreeSet::new(), &[named(9)]), Cut { ended: 0, left: 1 });
    }

    /// The kernel looks for a listener where there is no connection with these addresses.
    #[test]
    fn a_connection_that_is_gone_is_not_taken_for_its_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut stale = open_at(port).unwrap().remove(0);
        assert_eq!(stale.id.destination_port, client.local_addr().unwrap().port());
        stale.id.destination_port = 1;
        let answer = Destroyer::open().unwrap().destroy(&stale);
        assert!(matches!(answer, Answer::Gone | Answer::Unsupported), "{answer:?}");
        assert_eq!(open_at(port).unwrap().len(), 1);
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    }

    /// The other end of a local connection is at another port.
    #[test]
    fn only_the_end_at_the_port_is_meant() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let found = open_at(address.port()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id.destination_port, client.local_addr().unwrap().port());
        assert!(open_at(1).unwrap().is_empty());
    }
}
