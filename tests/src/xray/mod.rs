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

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::wait;

/// Waits until neither host has a connection of these ports in use: then no packet of theirs is on its way.
pub fn ports_are_quiet(server: &Namespace, client: &Namespace, ports: &[u16]) -> Result<()> {
    let left_on = |host: &Namespace| {
        let listed = host.run("ss -Hntop state connected exclude time-wait")?;
        let is_theirs = |line: &&str| {
            let line = format!("{} ", line.trim_end());
            ports.iter().any(|port| line.contains(&format!(":{port} ")))
        };
        let left: Vec<String> = listed.lines().filter(is_theirs).map(str::to_owned).collect();
        Ok::<_, anyhow::Error>(left)
    };
    let mut left = Vec::new();
    let quiet = wait::until("no connection of the keys is left", || {
        left = [left_on(server)?, left_on(client)?].concat();
        Ok(left.is_empty())
    });
    quiet.with_context(|| format!("these are left: {left:#?}"))
}
