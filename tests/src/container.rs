//! A container as container engines lay them out: a namespace whose cable ends in a bridge of its host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::namespace::Namespace;
use crate::network::{self, Offloads};

/// A namespace behind the bridge `br0` of its host.
#[derive(Debug)]
pub struct Container {
    /// Where its processes run; its interface is `eth0`.
    pub namespace: Namespace,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

/// The host's addresses on the bridge.
pub const BRIDGE_ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 88, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 1)),
];

impl Container {
    /// Makes the bridge and a container that reaches the world through its host, which has an uplink already. Every
    /// offload is off.
    pub fn behind_bridge(host: &Namespace) -> Result<Self> {
        let container = Self {
            namespace: Namespace::new("container")?,
            v4: Ipv4Addr::new(10, 88, 0, 2),
            v6: Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 2),
        };
        host.run("ip link add br0 type bridge")?;
        network::offloads(host, "br0", Offloads::Off)?;
        let [bridge_v4, bridge_v6] = BRIDGE_ADDRESSES;
        network::plug_in(host, "br0", &[&format!("{bridge_v4}/24"), &format!("{bridge_v6}/64")])?;
        host.sysctl("net/ipv4/ip_forward", "1")?;
        host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        container.join(host)?;
        Ok(container)
    }

    fn join(&self, host: &Namespace) -> Result<()> {
        let inside = &self.namespace;
        network::cable((host, "port0"), (inside, "eth0"))?;
        for (end, interface) in [(host, "port0"), (inside, "eth0")] {
            network::offloads(end, interface, Offloads::Off)?;
        }
        network::narrow_windows(inside)?;
        // A port after it is up: it then owns an IPv6 address, as any device that comes up does.
        host.run("ip link set port0 up")?;
        host.run("ip link set port0 master br0")?;
        let own = [format!("{}/24", self.v4), format!("{}/64", self.v6)];
        network::plug_in(inside, "eth0", &own.each_ref().map(String::as_str))?;
        for gateway in BRIDGE_ADDRESSES {
            inside.run(&format!("ip route add default via {gateway}"))?;
        }
        Ok(())
    }

    /// Publishes a port of the host's, TCP and UDP, IPv4 and IPv6: who comes for it ends at another one of the
    /// container's.
    pub fn publish(&self, host: &Namespace, port: u16, own_port: u16) -> Result<()> {
        // Adding what is there already changes nothing.
        host.run("nft add table inet published")?;
        host.run("nft add chain inet published arriving { type nat hook prerouting priority dstnat ; }")?;
        for (family, address) in [("ip", self.v4.to_string()), ("ip6", format!("[{}]", self.v6))] {
            let of_family = format!("meta nfproto ipv{}", if family == "ip" { 4 } else { 6 });
            for protocol in ["tcp", "udp"] {
                let matching = format!("iifname eth0 {of_family} {protocol} dport {port}");
                host.run(&format!(
                    "nft add rule inet published arriving {matching} dnat {family} to {address}:{own_port}"
                ))?;
            }
        }
        Ok(())
    }
}
