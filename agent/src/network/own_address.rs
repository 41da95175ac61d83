//! The address that clients most likely reach this host at, for whoever has not configured one.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::rtnetlink::NetworkReader;

/// Addresses far away, which the default route leads to: they are for tests of networks between networks (RFC 2544, RFC
/// 5180), so no host has them, and nothing is sent there.
const FAR_AWAY: [(IpAddr, IpAddr); 2] = [
    (
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)),
    ),
    (
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1)),
    ),
];

/// The discard port (RFC 863). Any would do.
const PORT: u16 = 9;

/// The source address of the default route, IPv4 first, or else the first address of the host that reaches beyond its
/// links; `None` where there is neither. It may change at any time. Asking costs a few system calls, so links need not
/// remember it.
pub async fn own_address(reader: &NetworkReader) -> io::Result<Option<IpAddr>> {
    if let Some(address) = default_route_source() {
        return Ok(Some(address));
    }
    Ok(first_reaching(&reader.read().await?.addresses))
}

/// The address that the kernel would send from: connecting a UDP socket asks for a route and sends nothing.
fn default_route_source() -> Option<IpAddr> {
    let source = |(any, far_away): (IpAddr, IpAddr)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((far_away, PORT)).ok()?;
        socket.local_addr().ok().map(|end| end.ip())
    };
    FAR_AWAY.into_iter().filter_map(source).find(reaches_beyond_the_link)
}

/// Public addresses before private ones, IPv4 before IPv6, lower ones first.
fn first_reaching(addresses: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let reaching = addresses.iter().filter(|address| reaches_beyond_the_link(address));
    reaching.min_by_key(|address| (is_private(address), **address)).copied()
}

fn reaches_beyond_the_link(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !is_link_local && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rtnetlink::NetworkWatcher;
    use super::*;

    fn first(addresses: &[&str]) -> Option<String> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        first_reaching(&addresses).map(|address| address.to_string())
    }

    #[test]
    fn public_addresses_come_first() {
        let all = [
            "127.0.0.1",
            "::1",
            "169.254.1.1",
            "fe80::1",
            "10.0.0.1",
            "fd00::1",
            "2001:db8::1",
            "203.0.113.9",
            "203.0.113.5",
        ];
        assert_eq!(first(&all).unwrap(), "203.0.113.5");
        assert_eq!(first(&all[..7]).unwrap(), "2001:db8::1");
        assert_eq!(first(&all[..6]).unwrap(), "10.0.0.1");
        assert_eq!(first(&all[..4]), None);
    }

    #[tokio::test]
    async fn what_the_kernel_names_is_an_address_of_this_host() {
        let reader = NetworkWatcher::open().unwrap().reader();
        let addresses = reader.read().await.unwrap().addresses;
        match own_address(&reader).await.unwrap() {
            Some(address) => assert!(addresses.contains(&address), "{address} is none of {addresses:?}"),
            None => assert_eq!(first_reaching(&addresses), None),
        }
    }
}
