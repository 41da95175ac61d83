//! A container as container engines lay them out: a namespace whose cable ends in a bridge of its host.

use anyhow::Result;

use crate::namespace::Namespace;
use crate::network::{self, Offloads};

/// A namespace behind the bridge `br0` of its host.
#[derive(Debug)]
pub struct Container {
    /// Where its processes run; its interface is `eth0`.
    pub namespace: Namespace,
}

impl Container {
    /// Makes the bridge with the host's two addresses on it (IPv4, IPv6, each with its prefix), and a container at the
    /// next address but one of each that reaches the world through its host. Every offload is off.
    pub fn behind_bridge(host: &Namespace, bridge: [&str; 2]) -> Result<Self> {
        host.run("ip link add br0 type bridge")?;
        network::offloads(host, "br0", Offloads::Off)?;
        network::plug_in(host, "br0", &bridge)?;
        host.sysctl("net/ipv4/ip_forward", "1")?;
        host.sysctl("net/ipv6/conf/all/forwarding", "1")?;

        let namespace = Namespace::new("container")?;
        network::cable((host, "port0"), (&namespace, "eth0"))?;
        for (end, interface) in [(host, "port0"), (&namespace, "eth0")] {
            network::offloads(end, interface, Offloads::Off)?;
        }
        network::narrow_windows(&namespace)?;
        // Enslaved when it is up already, so that the port has an IPv6 address of its own, as any device that comes up.
        host.run("ip link set port0 up")?;
        host.run("ip link set port0 master br0")?;
        let own = bridge.map(|address| address.replacen("1/", "2/", 1));
        network::plug_in(&namespace, "eth0", &own.each_ref().map(String::as_str))?;
        for (family, address) in ["-4", "-6"].into_iter().zip(bridge) {
            let gateway = address.split('/').next().unwrap_or_default();
            namespace.run(&format!("ip {family} route add default via {gateway}"))?;
        }
        Ok(Self { namespace })
    }
}
