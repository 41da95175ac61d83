//! TCP connections that are open and idle.

use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

use super::tcp;
use crate::namespace::Namespace;

/// Established connections, closed when dropped.
#[derive(Debug)]
pub struct HeldConnections {
    _at_client: Vec<TcpStream>,
    _at_server: Vec<TcpStream>,
    _listener: TcpListener,
}

impl HeldConnections {
    /// Opens this many; the server accepts all but the last one.
    pub fn open(server: &Namespace, client: &Namespace, address: SocketAddr, count: usize) -> Result<Self> {
        let listener = tcp::listen(server, [address])?.remove(0);
        let connect = || (0..count).map(|_| tcp::connect(address)).collect::<Result<Vec<_>>>();
        let at_client = client.enter(connect)?;
        let at_server = (1..count).map(|_| tcp::accept(&listener)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            _at_client: at_client,
            _at_server: at_server,
            _listener: listener,
        })
    }
}
