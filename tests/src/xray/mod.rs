//! Real Xray cores: the agent's, clients of its links, and what they need to be of use to each other.
//!
//! [`Site`] is what people want to reach through a key, and lends REALITY its handshake. [`Client`] is a core of its own
//! that is told nothing but a [`Link`], as an app is. [`Supervised`] is an agent with a core. [`Core`] runs a
//! configuration that a story wrote by hand, so that the lab can be tried without the product.

mod agent;
mod body;
mod client;
mod core;
mod download;
mod link;
mod relay;
mod site;
mod socks;

pub use self::agent::{Supervised, core_process_ids};
pub use self::client::{Client, Tunnel};
pub use self::core::{Core, listening_ports};
pub use self::download::{Arrivals, Download};
pub use self::link::Link;
pub use self::relay::Relay;
pub use self::site::{SERVER_NAME, SITE_ADDRESS, Site};

use anyhow::Result;

use crate::namespace::Namespace;
use crate::wait;

/// Waits until neither host has a connection of these ports in use: then no packet of theirs is on its way.
pub fn ports_are_quiet(server: &Namespace, client: &Namespace, ports: &[u16]) -> Result<()> {
    let is_quiet = |host: &Namespace| {
        let listed = host.run("ss -Hnt state connected exclude time-wait")?;
        let is_theirs = |line: &str| {
            let line = format!("{} ", line.trim_end());
            ports.iter().any(|port| line.contains(&format!(":{port} ")))
        };
        Ok::<_, anyhow::Error>(!listed.lines().any(is_theirs))
    };
    wait::until("no connection of the keys is left", || {
        Ok(is_quiet(server)? && is_quiet(client)?)
    })
}
