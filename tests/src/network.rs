//! The networks of the stories: hosts as namespaces, cables as veth pairs.
//!
//! The counted host is always `server`, the other end is always `client`, and every interface is called `eth0`
//! unless a host has several. Addresses are private ones that exist only inside these namespaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::namespace::Namespace;

/// The counted host's address on its `eth0`.
pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The counted host's IPv6 address on its `eth0`.
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// The client's address when it is on the server's cable.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The client's IPv6 address when it is on the server's cable.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// The client's address when a router lies between.
pub const FAR_CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
/// The client's IPv6 address when a router lies between.
pub const FAR_CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 2);

/// The counted host's addresses.
pub const SERVER_ADDRESSES: [IpAddr; 2] = [IpAddr::V4(SERVER_V4), IpAddr::V6(SERVER_V6)];

/// The client's addresses when it is on the server's cable.
pub const CLIENT_ADDRESSES: [IpAddr; 2] = [IpAddr::V4(CLIENT_V4), IpAddr::V6(CLIENT_V6)];

/// Whether a device hands on packets larger than the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offloads {
    /// TSO, GSO (of UDP too) and GRO on.
    On,
    /// All of them off: what a capture sees is what the wire carries.
    Off,
}

/// A client and a server joined by a cable.
#[derive(Debug)]
pub struct Pair {
    /// The counted host.
    pub server: Namespace,
    /// The host at the other end, where the truth is captured.
    pub client: Namespace,
}

impl Pair {
    /// Makes both hosts; every offload is off.
    pub fn new() -> Result<Self> {
        let server = Namespace::new("server")?;
        let client = Namespace::new("client")?;
        cable((&server, "eth0"), (&client, "eth0"))?;
        for host in [&server, &client] {
            offloads(host, "eth0", Offloads::Off)?;
            narrow_windows(host)?;
        }
        plug_in(
            &server,
            "eth0",
            &[&format!("{SERVER_V4}/24"), &format!("{SERVER_V6}/64")],
        )?;
        plug_in(
            &client,
            "eth0",
            &[&format!("{CLIENT_V4}/24"), &format!("{CLIENT_V6}/64")],
        )?;
        Ok(Self { server, client })
    }
}

/// A client and a server with a router between them.
#[derive(Debug)]
pub struct Routed {
    /// The counted host.
    pub server: Namespace,
    /// Joins the two; its `inside` leads to the server, its `outside` to the client.
    pub router: Namespace,
    /// The host one hop further on, where the truth is captured.
    pub client: Namespace,
}

impl Routed {
    /// Makes three hosts. Between server and router offloads are as the story wants them. The client's cable
    /// carries packets as they are on a wire; the router joins what arrives on it again (GRO), so that large packets
    /// reach the server too.
    pub fn new(server_offloads: Offloads) -> Result<Self> {
        let routed = Self::without_inside()?;
        cable((&routed.server, "eth0"), (&routed.router, "inside"))?;
        offloads(&routed.server, "eth0", server_offloads)?;
        offloads(&routed.router, "inside", server_offloads)?;
        routed.plug_in_server()?;
        Ok(routed)
    }

    /// The same without the link between server and router; a story lays its own and calls
    /// [`Routed::plug_in_server`].
    pub fn without_inside() -> Result<Self> {
        let server = Namespace::new("server")?;
        let router = Namespace::new("router")?;
        let client = Namespace::new("client")?;
        cable((&router, "outside"), (&client, "eth0"))?;
        offloads(&router, "outside", Offloads::Off)?;
        router.run("ethtool -K outside gro on rx-udp-gro-forwarding on")?;
        offloads(&client, "eth0", Offloads::Off)?;
        for host in [&server, &client] {
            narrow_windows(host)?;
        }
        router.sysctl("net/ipv4/ip_forward", "1")?;
        router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        plug_in(&router, "outside", &["10.78.0.254/24", "fd78::fe/64"])?;
        plug_in(
            &client,
            "eth0",
            &[&format!("{FAR_CLIENT_V4}/24"), &format!("{FAR_CLIENT_V6}/64")],
        )?;
        client.run("ip route add default via 10.78.0.254")?;
        client.run("ip -6 route add default via fd78::fe")?;
        Ok(Self { server, router, client })
    }

    /// Gives the link between server and router its addresses.
    pub fn plug_in_server(&self) -> Result<()> {
        plug_in(&self.router, "inside", &["10.77.0.254/24", "fd77::fe/64"])?;
        plug_in(
            &self.server,
            "eth0",
            &[&format!("{SERVER_V4}/24"), &format!("{SERVER_V6}/64")],
        )?;
        self.server.run("ip route add default via 10.77.0.254")?;
        self.server.run("ip -6 route add default via fd77::fe")?;
        Ok(())
    }
}

/// Joins two interfaces, each named with its host.
pub fn cable(left: (&Namespace, &str), right: (&Namespace, &str)) -> Result<()> {
    let (left_host, left_name) = left;
    let (right_host, right_name) = right;
    let peer = format!("peer name {right_name} netns {}", right_host.name());
    left_host.run(&format!("ip link add {left_name} type veth {peer}"))?;
    Ok(())
}

/// Gives an interface its addresses and brings it up. Addresses are usable at once: nobody else could have them.
pub fn plug_in(host: &Namespace, interface: &str, addresses: &[&str]) -> Result<()> {
    host.run(&format!("ip link set {interface} up"))?;
    for address in addresses {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        host.run(&format!("ip address add {address} dev {interface} {nodad}"))?;
    }
    Ok(())
}

/// Switches an interface's offloads.
pub fn offloads(host: &Namespace, interface: &str, wanted: Offloads) -> Result<()> {
    let value = if wanted == Offloads::On { "on" } else { "off" };
    let features = ["tso", "gso", "gro", "tx-udp-segmentation"].map(|feature| format!("{feature} {value}"));
    host.run(&format!("ethtool -K {interface} {}", features.join(" ")))?;
    Ok(())
}

/// How many packets an interface has received and sent, as its driver counts them: an aggregated packet is one.
pub fn driver_packets(host: &Namespace, interface: &str) -> Result<(u64, u64)> {
    let shown: Value = serde_json::from_str(&host.run(&format!("ip -j -s link show dev {interface}"))?)?;
    let figure = |direction: &str| {
        shown[0]["stats64"][direction]["packets"]
            .as_u64()
            .with_context(|| format!("no {direction} in {shown}"))
    };
    Ok((figure("rx")?, figure("tx")?))
}

/// Keeps few packets in flight. Between two namespaces every packet passes a queue of 1000 on the receiving CPU (256
/// on a veth with GRO), and what overflows there was seen by one end only: neither count would be wrong, but they
/// would differ.
pub fn narrow_windows(host: &Namespace) -> Result<()> {
    windows(host, 32_768, 32_768)
}

/// Sets how much a host's connections may have in flight at most, memory that its bookkeeping takes included.
pub fn windows(host: &Namespace, receive_bytes: u32, send_bytes: u32) -> Result<()> {
    host.sysctl("net/ipv4/tcp_rmem", &format!("4096 {receive_bytes} {receive_bytes}"))?;
    host.sysctl("net/ipv4/tcp_wmem", &format!("4096 {send_bytes} {send_bytes}"))
}
