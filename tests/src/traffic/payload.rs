//! Data that can be recognised: random bytes sent one way, and the digest of what arrived.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use super::{tcp, udp, uninterrupted};
use crate::namespace::Namespace;

/// SHA-256.
pub type PayloadDigest = [u8; 32];

/// So many random bytes; the same ones for the same seed.
pub fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// The digest of what was sent.
pub fn digest(bytes: &[u8]) -> PayloadDigest {
    Sha256::digest(bytes).into()
}

/// Sends `upload` to the server and `download` to the client over one TCP connection, both at once; gives the digests
/// of what the server and the client received.
pub fn over_tcp(
    server: &Namespace,
    client: &Namespace,
    address: SocketAddr,
    (upload, download): (&[u8], &[u8]),
) -> Result<[PayloadDigest; 2]> {
    let listener = tcp::listen(server, [address])?.remove(0);
    thread::scope(|scope| {
        let at_server = scope.spawn(|| exchange(&tcp::accept(&listener)?, download));
        let at_client = client.enter(|| exchange(&tcp::connect(address)?, upload))?;
        Ok([at_server.join().expect("the server's thread")?, at_client])
    })
}

/// Sends bytes in datagrams of the given sizes, in turn, each acknowledged before the next; gives the digest of what
/// arrived.
pub fn over_udp(
    from: &Namespace,
    to: (&Namespace, SocketAddr),
    bytes: &[u8],
    sizes: &[usize],
) -> Result<PayloadDigest> {
    let listening = to.0.enter(|| udp::bind(to.1))?;
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&listening, bytes.len()));
        from.enter(|| send(to.1, bytes, sizes))?;
        receiving.join().expect("the receiving thread")
    })
}

fn exchange(stream: &TcpStream, sent: &[u8]) -> Result<PayloadDigest> {
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut stream = stream;
            stream.write_all(sent).context("sending")?;
            stream.shutdown(Shutdown::Write).context("ending what is sent")
        });
        let mut received = Sha256::new();
        let mut chunk = vec![0; 64 * 1024];
        let mut stream = stream;
        loop {
            match uninterrupted(|| stream.read(&mut chunk)).context("receiving")? {
                0 => break,
                length => received.update(&chunk[..length]),
            }
        }
        sending.join().expect("the sending thread")?;
        Ok(received.finalize().into())
    })
}

fn send(to: SocketAddr, mut bytes: &[u8], sizes: &[usize]) -> Result<()> {
    let socket = udp::unbound_for(to)?;
    socket.connect(to)?;
    for &size in sizes.iter().cycle() {
        let (datagram, rest) = bytes.split_at(size.min(bytes.len()));
        socket.send(datagram)?;
        uninterrupted(|| socket.recv(&mut [0])).context("waiting for the acknowledgement")?;
        if rest.is_empty() {
            break;
        }
        bytes = rest;
    }
    Ok(())
}

fn receive(socket: &UdpSocket, length: usize) -> Result<PayloadDigest> {
    let mut digest = Sha256::new();
    let mut datagram = vec![0; udp::DATAGRAM_CAPACITY];
    let mut received = 0;
    while received < length {
        let (length, from) = uninterrupted(|| socket.recv_from(&mut datagram)).context("waiting for a datagram")?;
        digest.update(&datagram[..length]);
        received += length;
        socket.send_to(&[0], from)?;
    }
    Ok(digest.finalize().into())
}
