//! Interfaces and addresses from rtnetlink, and the news that they changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use netlink_sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};
use tokio::sync::Mutex;

use super::{HostNetwork, Interface, LinkLayer};

/// Reads this namespace's interfaces and follows their changes.
pub struct NetworkWatcher {
    reader: NetworkReader,
    events: Box<dyn futures_util::Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Send + Unpin>,
}

/// Asks for the state, apart from the watcher that waits for changes.
#[derive(Clone)]
pub struct NetworkReader {
    /// The kernel does one dump at a time on a socket and answers EBUSY to a second one (`__netlink_dump_start`), so
    /// callers take turns.
    handle: Arc<Mutex<Handle>>,
}

impl NetworkWatcher {
    /// Opens two netlink sockets in the present network namespace. Needs a tokio runtime and no rights.
    pub fn open() -> io::Result<Self> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let (news, _, events) = new_multicast_connection(&groups)?;
        tokio::spawn(news);
        // Questions go over a socket of their own: news may overflow the other one's buffer, and an answer that does
        // not fit in there any more is lost.
        let (answers, handle, _) = new_connection()?;
        tokio::spawn(answers);
        Ok(Self {
            reader: NetworkReader {
                handle: Arc::new(Mutex::new(handle)),
            },
            events: Box::new(events),
        })
    }

    /// Something that asks for the state.
    pub fn reader(&self) -> NetworkReader {
        self.reader.clone()
    }

    /// Waits until something may have changed; also when news was lost. All news that is already there counts as
    /// one change. `None` when the socket is gone.
    pub async fn changed(&mut self) -> Option<()> {
        self.events.next().await?;
        while futures_util::FutureExt::now_or_never(self.events.next())
            .flatten()
            .is_some()
        {}
        Some(())
    }
}

impl NetworkReader {
    /// The interfaces and addresses now. What changes meanwhile is told as a change, so a reader that follows them
    /// asks again.
    pub async fn read(&self) -> io::Result<HostNetwork> {
        let handle = self.handle.lock().await;
        let addresses: Vec<AddressMessage> = handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(io::Error::other)?;
        let links = links(&handle).await?;
        drop(handle);
        let mut owners: BTreeMap<u32, BTreeSet<IpAddr>> = BTreeMap::new();
        for message in addresses {
            if let Some(address) = own_address(&message) {
                owners.entry(message.header.index).or_default().insert(address);
            }
        }
        let interfaces = links
            .iter()
            .map(|link| interface(link, owners.get(&link.header.index)))
            .collect();
        Ok(HostNetwork {
            interfaces,
            addresses: owners.into_values().flatten().collect(),
        })
    }
}

async fn links(handle: &Handle) -> io::Result<Vec<LinkMessage>> {
    handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(io::Error::other)
}

/// This end's address: on a point-to-point link `IFA_ADDRESS` is the other end and `IFA_LOCAL` is ours
/// (`linux/if_addr.h`).
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn is_routable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}

fn interface(message: &LinkMessage, addresses: Option<&BTreeSet<IpAddr>>) -> Interface {
    let mut interface = Interface {
        index: message.header.index,
        name: String::new(),
        link_layer: link_layer(message.header.link_layer_type),
        kind: String::new(),
        parent_index: None,
        master_index: None,
        is_up: message.header.flags.contains(LinkFlags::Up),
        has_address: addresses.is_some(),
        has_routable_address: addresses.is_some_and(|addresses| addresses.iter().any(is_routable)),
    };
    let mut parent_is_elsewhere = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Link(index) => interface.parent_index = Some(*index),
            LinkAttribute::Controller(index) => interface.master_index = Some(*index),
            LinkAttribute::LinkNetNsId(_) => parent_is_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => interface.kind = kind(infos),
            _ => {}
        }
    }
    if parent_is_elsewhere {
        interface.parent_index = None;
    }
    interface
}

fn kind(infos: &[LinkInfo]) -> String {
    let kind = infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    });
    kind.unwrap_or_default()
}

/// The ARPHRD types whose packets begin at the IP header when TC sees them (`linux/if_arp.h`).
fn link_layer(layer: LinkLayerType) -> LinkLayer {
    match layer {
        LinkLayerType::Ether => LinkLayer::Ethernet,
        LinkLayerType::Loopback => LinkLayer::Loopback,
        LinkLayerType::None
        | LinkLayerType::Ppp
        | LinkLayerType::Rawip
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Ipgre
        | LinkLayerType::Ip6gre => LinkLayer::None,
        other => LinkLayer::Unknown(u16::from(other)),
    }
}
