//! TCP connections that come and go one after the other, so that how many there were is known exactly.
//!
//! One thread holds both ends: a connection is made, accepted and ended before the next one. So no queue of the
//! listener can overflow, where a client would believe in a connection that its server never had.

use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result};
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use super::tcp;
use crate::namespace::Namespace;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client closes, then the server.
    ClientCloses,
    /// The server closes, then the client.
    ServerCloses,
    /// The client resets it.
    ClientResets,
    /// The server resets it.
    ServerResets,
}

/// Makes and ends `count` connections to `address`.
pub fn come_and_go(
    server: &Namespace,
    client: &Namespace,
    address: SocketAddr,
    count: usize,
    ending: Ending,
) -> Result<()> {
    let listener = tcp::listen(server, [address])?.remove(0);
    client.enter(|| (0..count).try_for_each(|_| one(&listener, ending)))
}

/// Makes and ends one connection; to be called in the client's namespace.
pub fn one(listener: &TcpListener, ending: Ending) -> Result<()> {
    let at_client = tcp::connect(listener.local_addr()?)?;
    let at_server = tcp::accept(listener)?;
    match ending {
        Ending::ClientCloses => drop((at_client, at_server)),
        Ending::ServerCloses => drop((at_server, at_client)),
        Ending::ClientResets => {
            reset(at_client)?;
            drop(at_server);
        }
        Ending::ServerResets => {
            reset(at_server)?;
            drop(at_client);
        }
    }
    Ok(())
}

/// Ends a connection by a reset, whatever is still on its way.
fn reset(stream: TcpStream) -> Result<()> {
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream, sockopt::Linger, &at_once).context("setting SO_LINGER")?;
    drop(stream);
    Ok(())
}
