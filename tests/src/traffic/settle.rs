//! When traffic is over.

use anyhow::Result;

use crate::agent;
use crate::namespace::Namespace;
use crate::wait;

/// Where the product listens for the story's own calls.
const OWN_CALLS: [&str; 2] = [agent::REST_ADDRESS, agent::GRPC_ADDRESS];

/// Waits until neither host has a TCP connection in use, the story's own calls aside: then the last FIN is
/// acknowledged and no packet is on its way.
pub fn tcp_is_over(server: &Namespace, client: &Namespace) -> Result<()> {
    are_closed(server, client, &[])
}

/// The same for all connections but those of one port, which the story holds.
pub fn tcp_is_over_beside(server: &Namespace, client: &Namespace, held_port: u16) -> Result<()> {
    are_closed(server, client, &[format!(":{held_port} ")])
}

fn are_closed(server: &Namespace, client: &Namespace, held: &[String]) -> Result<()> {
    wait::until("every connection is closed", || {
        Ok(!has_connections(server, held)? && !has_connections(client, held)?)
    })
}

fn has_connections(host: &Namespace, held: &[String]) -> Result<bool> {
    let listed = host.run("ss -Hnt state connected exclude time-wait")?;
    let is_meant = |line: &str| {
        !OWN_CALLS.iter().any(|address| line.contains(address))
            && !held.iter().any(|port| format!("{line} ").contains(port))
    };
    Ok(listed.lines().any(is_meant))
}
