//! UDP: datagrams of chosen sizes, each answered before the next is sent, so that no queue overflows.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};

use super::{read_timeout, uninterrupted};
use crate::namespace::Namespace;
use crate::wait;

/// Room for any datagram.
pub(super) const DATAGRAM_CAPACITY: usize = 65_536;

/// The largest payload that fits a packet of 1500 bytes, IPv6 too.
pub const LARGEST_PAYLOAD: usize = 1452;

/// Sends a datagram of each size to the server, which answers each with one of the same size.
pub fn echoed(server: &Namespace, client: &Namespace, address: SocketAddr, sizes: &[usize]) -> Result<()> {
    echoed_through((server, address), (client, address), sizes)
}

/// The same for a server whose port the client finds at another address.
pub fn echoed_through(
    server: (&Namespace, SocketAddr),
    client: (&Namespace, SocketAddr),
    sizes: &[usize],
) -> Result<()> {
    let listening = server.0.enter(|| bind_when_free(server.1))?;
    thread::scope(|scope| {
        let echo = scope.spawn(|| echo(&listening, sizes.len()));
        client.0.enter(|| ping(client.1, sizes))?;
        echo.join().expect("the echoing thread")
    })
}

/// Waits at `address` of `host` until `count` datagrams have arrived that `send` sends.
pub fn arriving(host: &Namespace, address: SocketAddr, count: usize, send: impl FnOnce() -> Result<()>) -> Result<()> {
    let socket = host.enter(|| bind(address))?;
    send()?;
    for number in 0..count {
        socket
            .recv(&mut [0])
            .with_context(|| format!("waiting for datagram {number} of {count}"))?;
    }
    Ok(())
}

/// Sends `count` datagrams of `size` bytes from `from` to `to` by one call: the kernel gets one large packet and is
/// to cut it up where it must (UDP_SEGMENT).
pub fn segmented(
    from: (&Namespace, SocketAddr),
    to: (&Namespace, SocketAddr),
    size: usize,
    count: usize,
) -> Result<()> {
    arriving(to.0, to.1, count, || {
        from.0.enter(|| {
            let socket = bind(from.1)?;
            setsockopt(&socket, sockopt::UdpGsoSegment, &i32::try_from(size)?).context("setting UDP_SEGMENT")?;
            socket.send_to(&vec![0; size * count], to.1)?;
            Ok(())
        })
    })
}

/// Sends one datagram of `size` bytes from `from` to `to`, in as many packets as that takes, and returns when it is
/// there, whole.
pub fn one(from: (&Namespace, SocketAddr), to: (&Namespace, SocketAddr), size: usize) -> Result<()> {
    let receiving = to.0.enter(|| bind(to.1))?;
    from.0.enter(|| {
        let length = bind(from.1)?.send_to(&vec![0; size], to.1)?;
        ensure!(length == size, "sent {length} of {size} bytes");
        anyhow::Ok(())
    })?;
    let mut datagram = vec![0; size + 1];
    let length = uninterrupted(|| receiving.recv(&mut datagram)).context("waiting for the datagram")?;
    ensure!(length == size, "a datagram of {length} bytes came, {size} were sent");
    Ok(())
}

/// An unconnected socket that reaches `address`.
pub(super) fn unbound_for(address: SocketAddr) -> Result<UdpSocket> {
    let any: IpAddr = if address.is_ipv4() {
        [0; 4].into()
    } else {
        [0; 16].into()
    };
    bind(SocketAddr::new(any, 0))
}

/// A socket on `address` whose reads do not wait for ever.
pub(super) fn bind(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| format!("binding {address}"))?;
    socket.set_read_timeout(Some(read_timeout()))?;
    Ok(socket)
}

/// The same, once the address is free: a process that another thread starts has this one's sockets until it runs its own
/// program.
fn bind_when_free(address: SocketAddr) -> Result<UdpSocket> {
    wait::until_some(&format!("{address} is free"), || match bind(address) {
        Err(error) if is_in_use(&error) => Ok(None),
        bound => bound.map(Some),
    })
}

fn is_in_use(error: &anyhow::Error) -> bool {
    let source = error.downcast_ref::<std::io::Error>();
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::AddrInUse)
}

fn echo(socket: &UdpSocket, count: usize) -> Result<()> {
    let mut datagram = vec![0; DATAGRAM_CAPACITY];
    for _ in 0..count {
        let (length, from) = uninterrupted(|| socket.recv_from(&mut datagram)).context("waiting for a datagram")?;
        socket.send_to(&datagram[..length], from)?;
    }
    Ok(())
}

fn ping(address: SocketAddr, sizes: &[usize]) -> Result<()> {
    let socket = unbound_for(address)?;
    socket.connect(address)?;
    let mut datagram = vec![0; DATAGRAM_CAPACITY];
    for &size in sizes {
        socket.send(&datagram[..size])?;
        let length = uninterrupted(|| socket.recv(&mut datagram)).context("waiting for the echoed datagram")?;
        ensure!(length == size, "an echo of {length} bytes for {size}");
    }
    Ok(())
}
