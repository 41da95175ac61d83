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
    wait::until("every connection is closed", || {
        Ok(!has_connections(server)? && !has_connections(client)?)
    })
}

fn has_connections(host: &Namespace) -> Result<bool> {
    let listed = host.run("ss -Hnt state connected exclude time-wait")?;
    Ok(listed
        .lines()
        .any(|line| !OWN_CALLS.iter().any(|address| line.contains(address))))
}
