//! A way to a server that takes its time: what a client says first arrives late.
//!
//! REALITY's hello carries the client's time. To the server, a hello of then that arrives now is one from a clock that
//! is as far behind, so this shows what a wrong clock does without turning any.

use std::io::copy;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use nix::sys::socket::{Shutdown, shutdown};

use crate::namespace::Namespace;

/// Carries connections from a port of its own to a server; ends when dropped.
#[derive(Debug)]
pub struct Relay {
    listener: TcpListener,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on `host`'s loopback; every connection goes on to `server` after `delay`.
    pub fn start(host: &Namespace, server: SocketAddr, delay: Duration) -> Result<Self> {
        let listener = host.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let accepting = host.spawn_thread({
            let listener = listener.try_clone()?;
            move || {
                while let Ok((client, _)) = listener.accept() {
                    thread::spawn(move || carry(&client, server, delay));
                }
            }
        })?;
        Ok(Self {
            listener,
            address,
            accepting: Some(accepting),
        })
    }

    /// Where a client finds it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Both directions until both have ended, in whatever way.
fn carry(client: &TcpStream, server: SocketAddr, delay: Duration) {
    thread::sleep(delay);
    let Ok(server) = TcpStream::connect(server) else {
        return;
    };
    thread::scope(|scope| {
        scope.spawn(|| pass(client, &server));
        pass(&server, client);
    });
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}
