//! This host's network, as the kernel tells it over netlink: interfaces, addresses, sockets.
//!
//! Only facts are gathered here; which interfaces to attach to is decided in [`plan`], attaching is the kernel
//! room's work. Interfaces come from rtnetlink and never from `/sys/class/net`, which shows another namespace's
//! devices when only the network namespace was entered.

pub mod cut;
pub mod filters;
pub mod holders;
pub mod listeners;
pub mod own_address;
pub mod plan;
pub mod rtnetlink;
pub mod sockets;
mod stacking;
pub mod statistics;

use std::collections::BTreeSet;
use std::net::IpAddr;

/// One interface of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its index within the namespace.
    pub index: u32,
    /// Its present name.
    pub name: String,
    /// Where its packets' data begins.
    pub link_layer: LinkLayer,
    /// The driver's kind, for example `vlan` or `veth`; empty for hardware.
    pub kind: String,
    /// The device below, if it lies in this namespace.
    pub parent_index: Option<u32>,
    /// The bridge, bond or VRF that owns it.
    pub master_index: Option<u32>,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it owns an IP address.
    pub has_address: bool,
    /// Whether one of its addresses reaches beyond the link: every device has a link-local one that comes up.
    pub has_routable_address: bool,
}

/// An interface's own counters since boot, link-layer bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InterfaceStatistics {
    /// Received bytes.
    pub rx_bytes: u64,
    /// Sent bytes.
    pub tx_bytes: u64,
}

/// Where an interface's packets begin, which decides which program variant fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkLayer {
    /// With an Ethernet header; loopback has one too.
    Ethernet,
    /// With an Ethernet header, and this host talking to itself.
    Loopback,
    /// At the IP header: tun, WireGuard, IP tunnels, PPP.
    None,
    /// With a header that the programs cannot read (ARPHRD number): InfiniBand, IEEE 802.11 monitor and the like.
    Unknown(u16),
}

/// Everything the plan needs to know.
#[derive(Debug, Clone, Default)]
pub struct HostNetwork {
    /// The interfaces, by index.
    pub interfaces: Vec<Interface>,
    /// Every address of every interface.
    pub addresses: BTreeSet<IpAddr>,
}
