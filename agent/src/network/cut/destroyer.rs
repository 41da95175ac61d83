//! Asks the kernel to destroy a socket, and what it says to that.

use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::constants::IPPROTO_TCP;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::errno::Errno;

use super::Ends;

/// Room for one acknowledgement: an error code and the request that it answers.
const ACKNOWLEDGEMENT_BYTES: usize = 4 * 1024;

/// A connection, named so that the kernel can take it for no other.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) family: u8,
    /// Includes the cookie, which is the socket's alone. Were it left out, the kernel would take the listener where a
    /// connection is gone.
    pub(super) id: SocketId,
}

impl Open {
    pub(super) fn ends(&self) -> Ends {
        let id = &self.id;
        Ends {
            local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
            remote: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
        }
    }
}

/// A socket's own name, for the kernel's life.
pub(super) type Cookie = [u8; 8];

/// What the kernel said to a request.
#[derive(Debug)]
pub(super) enum Answer {
    Destroyed,
    Gone,
    Unsupported,
    NotPermitted,
    Failed(io::Error),
}

impl Answer {
    fn of(result: io::Result<()>) -> Self {
        let Err(error) = result else {
            return Self::Destroyed;
        };
        match error.raw_os_error().map(Errno::from_raw) {
            // Ended meanwhile, or another socket has its addresses now (`inet_diag_find_one_icsk`).
            Some(Errno::ENOENT | Errno::ESTALE) => Self::Gone,
            Some(Errno::EOPNOTSUPP) => Self::Unsupported,
            Some(Errno::EPERM | Errno::EACCES) => Self::NotPermitted,
            _ => Self::Failed(error),
        }
    }
}

/// Asks the kernel, one connection after the other.
pub(super) struct Destroyer(Socket);

impl Destroyer {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// When this returns, the socket is in no table any more.
    pub(super) fn destroy(&self, one: &Open) -> Answer {
        Answer::of(self.ask(one))
    }

    fn ask(&self, one: &Open) -> io::Result<()> {
        self.0.send(&request(one), 0)?;
        let mut buffer = Vec::with_capacity(ACKNOWLEDGEMENT_BYTES);
        self.0.recv(&mut buffer, 0)?;
        acknowledged(&buffer)
    }
}

fn request(one: &Open) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let request = InetRequest {
        family: one.family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: one.id.clone(),
    };
    let destroy = SockDiagDestroy::new(SockDiagMessage::InetRequest(request));
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(destroy));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// An error message with code 0 is the acknowledgement.
fn acknowledged(bytes: &[u8]) -> io::Result<()> {
    let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match message.payload {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the kernel did not answer a request but sent {other:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_sock_diag::constants::AF_INET;

    use super::*;

    #[test]
    fn each_refusal_has_its_meaning() {
        let answer = |code: Errno| Answer::of(Err(io::Error::from_raw_os_error(code as i32)));
        assert!(matches!(Answer::of(Ok(())), Answer::Destroyed));
        assert!(matches!(answer(Errno::ENOENT), Answer::Gone));
        assert!(matches!(answer(Errno::EOPNOTSUPP), Answer::Unsupported));
        assert!(matches!(answer(Errno::EPERM), Answer::NotPermitted));
        assert!(matches!(answer(Errno::ENOMEM), Answer::Failed(_)));
    }

    #[test]
    fn the_request_is_the_kernel_s() {
        let bytes = request(&Open {
            family: AF_INET,
            id: SocketId {
                source_port: 0x1234,
                cookie: [7; 8],
                ..SocketId::new_v4()
            },
        });
        // `nlmsghdr` and `inet_diag_req_v2` (include/uapi/linux/{netlink,inet_diag}.h).
        assert_eq!(bytes.len(), 16 + 56);
        assert_eq!(bytes[..8], [72, 0, 0, 0, 21, 0, 5, 0]);
        assert_eq!(bytes[16..18], [AF_INET, IPPROTO_TCP]);
        assert_eq!(bytes[24..26], [0x12, 0x34]);
        assert_eq!(bytes[64..], [7; 8]);
    }
}
