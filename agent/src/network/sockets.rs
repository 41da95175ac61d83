//! This namespace's sockets from sock_diag: the TCP connections of its ports.
//!
//! Each question is one dump of the kernel's own tables, answered in well under a millisecond on an idle host and in
//! about 8 ms with 5,000 sockets; the calls block and belong on a blocking thread.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags, Timer};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

/// What the kernel takes for any local port.
const ANY_PORT: u16 = 0;

/// Room for one answer of the kernel: it fills at most 32 kB a datagram (`netlink_dump`).
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// One TCP connection whose handshake is complete and that is not closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The kernel's name of the state.
    pub state: &'static str,
}

/// The states of a TCP connection whose handshake is complete and that is not closed.
pub(super) fn connection_states() -> StateFlags {
    StateFlags::ESTABLISHED
        | StateFlags::FIN_WAIT1
        | StateFlags::FIN_WAIT2
        | StateFlags::CLOSE_WAIT
        | StateFlags::LAST_ACK
        | StateFlags::CLOSING
}

/// Every TCP connection of this namespace whose handshake is complete and that is not closed. Half-open ones
/// (`SYN_RECV`, `SYN_SENT`), listeners, `TIME_WAIT` and `CLOSE` are none.
pub fn connections() -> io::Result<Vec<Connection>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        dump(family, IPPROTO_TCP, &connection_states(), |header| {
            if let Some(state) = connected_state(header) {
                let id = &header.socket_id;
                found.push(Connection {
                    local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
                    remote: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
                    state,
                });
            }
        })?;
    }
    Ok(found)
}

/// How many of these connections each local port has.
pub fn connections_by_port() -> io::Result<HashMap<u16, u64>> {
    let mut by_port = HashMap::new();
    for connection in connections()? {
        *by_port.entry(connection.local.port()).or_default() += 1;
    }
    Ok(by_port)
}

/// TCP by local port, as the socket tables of this namespace have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortTables {
    /// Ports with a listener.
    pub listening: BTreeSet<u16>,
    /// How many sockets are connected at each port, incoming or outgoing: the tables do not tell.
    pub connected: HashMap<u16, u64>,
}

/// Counts the connected sockets at each port.
pub fn port_tables() -> io::Result<PortTables> {
    let mut tables = PortTables::default();
    for family in [AF_INET, AF_INET6] {
        let states = connection_states() | StateFlags::LISTEN;
        dump(family, IPPROTO_TCP, &states, |header| {
            let port = header.socket_id.source_port;
            if header.state == LISTEN {
                tables.listening.insert(port);
            } else if connected_state(header).is_some() {
                *tables.connected.entry(port).or_default() += 1;
            }
        })?;
    }
    Ok(tables)
}

/// The name of a connection's state, if it is one. A socket that has closed and lives on as a `TIME_WAIT` entry is none,
/// in whatever state the entry is: orphans that wait for the other end (`FIN_WAIT2`) become such entries.
fn connected_state(header: &InetResponseHeader) -> Option<&'static str> {
    state_name(header.state).filter(|_| header.timer != Some(Timer::TimeWait))
}

/// A listener's state.
const LISTEN: u8 = 10;

/// The names of the states that count as a connection (`include/net/tcp_states.h`).
fn state_name(state: u8) -> Option<&'static str> {
    match state {
        1 => Some("ESTABLISHED"),
        4 => Some("FIN_WAIT1"),
        5 => Some("FIN_WAIT2"),
        8 => Some("CLOSE_WAIT"),
        9 => Some("LAST_ACK"),
        11 => Some("CLOSING"),
        _ => None,
    }
}

/// Asks the kernel for all sockets of a family and protocol in some of `states`.
pub(super) fn dump(
    family: u8,
    protocol: u8,
    states: &StateFlags,
    each: impl FnMut(&InetResponseHeader),
) -> io::Result<()> {
    dump_at(ANY_PORT, family, protocol, states, each)
}

/// The same, of those at one local port only.
pub(super) fn dump_at(
    port: u16,
    family: u8,
    protocol: u8,
    states: &StateFlags,
    mut each: impl FnMut(&InetResponseHeader),
) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    socket.send(&request(port, family, protocol, states.clone()), 0)?;
    let mut buffer = Vec::with_capacity(RECEIVE_BUFFER_BYTES);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        if read_messages(&buffer, &mut each)? {
            return Ok(());
        }
    }
}

fn request(port: u16, family: u8, protocol: u8, states: StateFlags) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut socket_id = if family == AF_INET6 {
        SocketId::new_v6()
    } else {
        SocketId::new_v4()
    };
    socket_id.source_port = port;
    let request = InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads one datagram of answers; tells whether it was the last.
fn read_messages(mut bytes: &[u8], each: &mut impl FnMut(&InetResponseHeader)) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => each(&response.header),
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
        // Messages are aligned to four bytes (`NLMSG_ALIGN`).
        let length = (message.header.length as usize).next_multiple_of(4);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn sees_established_connections_at_their_local_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let ours = |connection: &Connection| connection.local == address;
        let found: Vec<Connection> = connections().unwrap().into_iter().filter(ours).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].remote, found[0].state),
            (client.local_addr().unwrap(), "ESTABLISHED")
        );
    }

    /// After a close the server's end waits for the client's in FIN_WAIT2, as an entry without a socket: neither the
    /// list nor the sums have it, and the two agree.
    #[test]
    fn a_closed_end_is_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        let open = port_tables().unwrap();
        assert_eq!(open.connected.get(&address.port()), Some(&1));
        assert!(open.listening.contains(&address.port()));
        drop(server);
        // The client may take its time to acknowledge.
        let deadline = Instant::now() + Duration::from_secs(10);
        while port_tables().unwrap().connected.contains_key(&address.port()) {
            assert!(Instant::now() < deadline, "the server's end is still open");
            std::thread::yield_now();
        }
        let listed = connections().unwrap();
        assert!(listed.iter().all(|one| one.local != address), "{listed:?}");
        assert!(
            listed.iter().any(|one| one.local == client.local_addr().unwrap()),
            "the client's end is still open"
        );
    }
}
