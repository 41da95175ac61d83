//! Blocking: connections of keys that are cut off, dropped at TC where the kernel cannot end them.
//!
//! The program that drops is loaded and attached while something is to be blocked, and gone otherwise, so that packets
//! cost what they cost and the programs that count know nothing of it. It runs after them at ingress and before them at
//! egress: what a client sends has arrived and is counted, what is never sent is not. Nothing is pinned; with TCX a block
//! ends with the agent, filters of one that was killed are removed by the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use aya::programs::tc::{SchedClassifier, SchedClassifierLink};
use portmeter_ebpf::layout::{
    BLOCKED_CONNECTIONS, BlockedConnection, CONNECTION_BLOCKED, PROGRAM_BLOCK_ETHERNET, PROGRAM_BLOCK_IP,
};

use super::pins::Direction;
use super::{Attached, Hook, Kernel, KernelError, clsact, maps, tcx};
use crate::network::cut::Ends;
use crate::network::plan::Target;

/// [`BlockedConnection`] as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PlainConnection(BlockedConnection);

// SAFETY: `BlockedConnection` is `repr(C)`, has no padding and is valid for every bit pattern.
unsafe impl aya::Pod for PlainConnection {}

/// What is blocked, and where.
#[derive(Default)]
pub(super) struct Block {
    connections: BTreeSet<BlockedConnection>,
    /// By interface. Dropping them detaches.
    links: BTreeMap<u32, Vec<SchedClassifierLink>>,
}

impl Block {
    /// How many connections are blocked.
    pub(super) fn connection_count(&self) -> u64 {
        self.connections.len() as u64
    }

    /// Blocks nothing any more on an interface that is counted on no longer.
    pub(super) fn leave(&mut self, index: u32) {
        self.links.remove(&index);
    }
}

impl Kernel {
    /// Drops every packet of these connections, and of no others, on the interfaces that are counted on. Called again,
    /// it goes on with what there is: other connections, interfaces that have come since.
    pub fn block(&mut self, connections: &BTreeSet<Ends>) -> Result<(), KernelError> {
        let wanted: BTreeSet<BlockedConnection> = connections.iter().map(named).collect();
        let change = Change::between(&self.block.connections, &wanted);
        if !change.is_nothing() {
            let failed = |error: aya::maps::MapError| KernelError::map(BLOCKED_CONNECTIONS, &error);
            let mut map: HashMap<&mut MapData, PlainConnection, u8> =
                maps::find_mut(&mut self.ebpf, BLOCKED_CONNECTIONS)?
                    .try_into()
                    .map_err(failed)?;
            for connection in change.gone {
                map.remove(&PlainConnection(connection)).map_err(failed)?;
                self.block.connections.remove(&connection);
            }
            for connection in change.new {
                map.insert(PlainConnection(connection), CONNECTION_BLOCKED, 0)
                    .map_err(failed)?;
                self.block.connections.insert(connection);
            }
        }
        if self.block.connections.is_empty() {
            self.stop_blocking()
        } else {
            self.block_everywhere()
        }
    }

    /// Goes as far as it can and gives the first failure; asked again, it tries again.
    fn block_everywhere(&mut self) -> Result<(), KernelError> {
        let mut first_failure = Ok(());
        let targets: Vec<Attached> = self.attached.values().cloned().collect();
        for attached in targets {
            if self.block.links.contains_key(&attached.target.index) {
                continue;
            }
            match self.block_on(&attached) {
                Ok(links) => drop(self.block.links.insert(attached.target.index, links)),
                Err(error) => first_failure = first_failure.and(Err(error)),
            }
        }
        first_failure
    }

    fn block_on(&mut self, attached: &Attached) -> Result<Vec<SchedClassifierLink>, KernelError> {
        let target = &attached.target;
        let identity = clsact::Identity::of_blocking(&self.pins);
        let program = loaded(&mut self.ebpf, program_name(target))?;
        let links = Direction::BOTH.map(|direction| match attached.hook {
            Hook::Clsact => clsact::attach_inside(program, &identity, target, direction),
            Hook::Tcx | Hook::Xdp => tcx::attach_inside(program, target, direction),
        });
        // One direction alone would be half a block: it is kept only as a whole.
        let links = links.into_iter().collect::<Result<_, _>>()?;
        tracing::info!(interface = target.name, "blocking connections of keys that are cut off");
        Ok(links)
    }

    fn stop_blocking(&mut self) -> Result<(), KernelError> {
        if self.block.links.is_empty() {
            return Ok(());
        }
        self.block.links.clear();
        for name in [PROGRAM_BLOCK_ETHERNET, PROGRAM_BLOCK_IP] {
            let program: &mut SchedClassifier = maps::program_mut(&mut self.ebpf, name)?;
            if program.fd().is_ok() {
                program.unload().map_err(|error| KernelError::load(&error))?;
            }
        }
        tracing::info!("nothing is blocked any more");
        Ok(())
    }
}

const fn program_name(target: &Target) -> &'static str {
    match target.has_link_header {
        true => PROGRAM_BLOCK_ETHERNET,
        false => PROGRAM_BLOCK_IP,
    }
}

/// The program, in the kernel.
fn loaded<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, KernelError> {
    let program: &mut SchedClassifier = maps::program_mut(ebpf, name)?;
    if program.fd().is_err() {
        program.load().map_err(|error| KernelError::load(&error))?;
    }
    Ok(program)
}

/// What has to be changed in the map.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    gone: Vec<BlockedConnection>,
    new: Vec<BlockedConnection>,
}

impl Change {
    fn between(present: &BTreeSet<BlockedConnection>, wanted: &BTreeSet<BlockedConnection>) -> Self {
        Self {
            gone: present.difference(wanted).copied().collect(),
            new: wanted.difference(present).copied().collect(),
        }
    }

    fn is_nothing(&self) -> bool {
        self.gone.is_empty() && self.new.is_empty()
    }
}

/// A connection as the program finds it in its packets.
fn named(ends: &Ends) -> BlockedConnection {
    BlockedConnection {
        local: address(&ends.local),
        remote: address(&ends.remote),
        local_port: ends.local.port(),
        remote_port: ends.remote.port(),
        ip_version: if ends.local.is_ipv4() { 4 } else { 6 },
    }
}

/// As it lies in a packet; an IPv4 address fills the first four bytes.
fn address(end: &SocketAddr) -> [u64; 2] {
    let mut bytes = [0_u8; 16];
    match end.ip() {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes = address.octets(),
    }
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes(rest)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(local: &str, remote: &str) -> Ends {
        Ends {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    #[test]
    fn a_connection_is_named_as_its_packets_name_it() {
        let v4 = named(&ends("192.0.2.1:10001", "198.51.100.7:40000"));
        assert_eq!(v4.local, [u64::from_ne_bytes([192, 0, 2, 1, 0, 0, 0, 0]), 0]);
        assert_eq!((v4.local_port, v4.remote_port, v4.ip_version), (10_001, 40_000, 4));
        let v6 = named(&ends("[2001:db8::1]:10001", "[::1]:5"));
        assert_eq!(v6.local[0].to_ne_bytes(), [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0]);
        assert_eq!(v6.remote[1].to_ne_bytes(), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(v6.ip_version, 6);
    }

    #[test]
    fn only_what_differs_is_changed() {
        let [a, b, c] = [1, 2, 3].map(|port| named(&ends("192.0.2.1:1", &format!("192.0.2.2:{port}"))));
        let change = Change::between(&[a, b].into(), &[b, c].into());
        assert_eq!((change.gone, change.new), (vec![a], vec![c]));
        assert!(Change::between(&[a].into(), &[a].into()).is_nothing());
    }
}
