//! TCP connections that are open and idle.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

use super::tcp;
use crate::namespace::Namespace;

/// Established connections, closed when dropped.
#[derive(Debug)]
pub struct HeldConnections {
    at_client: Vec<TcpStream>,
    at_server: Vec<TcpStream>,
    _listener: TcpListener,
}

impl HeldConnections {
    /// Opens this many; the server accepts all but the last one.
    pub fn open(server: &Namespace, client: &Namespace, address: SocketAddr, count: usize) -> Result<Self> {
        Self::open_at(tcp::listen(server, [address])?.remove(0), client, count, count - 1)
    }

    /// Opens this many to a listener; the server accepts so many of them.
    pub fn open_at(listener: TcpListener, client: &Namespace, count: usize, accepted: usize) -> Result<Self> {
        let address = listener.local_addr()?;
        let (mut at_client, mut at_server) = (Vec::new(), Vec::new());
        client.enter(|| {
            for number in 0..count {
                at_client.push(tcp::connect(address)?);
                // In turn: the queue of those that wait to be accepted is short.
                if number < accepted {
                    at_server.push(tcp::accept(&listener)?);
                }
            }
            anyhow::Ok(())
        })?;
        Ok(Self {
            at_client,
            at_server,
            _listener: listener,
        })
    }

    /// Has the client end its half of each; the other half stays open.
    pub fn half_close(&self) -> Result<()> {
        let mut streams = self.at_client.iter();
        Ok(streams.try_for_each(|stream| stream.shutdown(Shutdown::Write))?)
    }

    /// Has the server close all but the first `left` of those it accepted.
    pub fn close_at_server(&mut self, left: usize) {
        self.at_server.truncate(left);
    }
}
