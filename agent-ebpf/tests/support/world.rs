//! The host that the tests take place on: its addresses and its tracked ports.

use std::cell::RefCell;
use std::collections::HashMap;

use portmeter_ebpf::layout::FragmentKey;
use portmeter_ebpf::packet::{FragmentSource, Lookups};

/// This host.
pub const LOCAL_IPV4: [u8; 4] = [192, 0, 2, 1];
/// This host.
pub const LOCAL_IPV6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Somebody else.
pub const REMOTE_IPV4: [u8; 4] = [198, 51, 100, 7];
/// Somebody else.
pub const REMOTE_IPV6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

/// Tracked ports with their slots. Their bytes differ, so that a mix-up of byte order shows.
pub const TRACKED_PORTS: [(u16, u32); 2] = [(10_001, 3), (443, 0)];
/// A tracked port.
pub const TRACKED_PORT: u16 = TRACKED_PORTS[0].0;
/// The slot of [`TRACKED_PORT`].
pub const TRACKED_SLOT: u32 = TRACKED_PORTS[0].1;
/// A port that nobody tracks: [`TRACKED_PORT`] with its bytes swapped.
pub const OTHER_PORT: u16 = TRACKED_PORT.swap_bytes();
/// A port that was tracked once and still has its slot.
pub const RETIRED_PORT: u16 = 10_002;

/// The slot of a port, if it is tracked.
pub fn slot(port: u16) -> Option<u32> {
    TRACKED_PORTS
        .into_iter()
        .find(|(tracked, _)| *tracked == port)
        .map(|(_, slot)| slot)
}

/// The maps of this host. Its clock stands still, so no fragment ages.
#[derive(Default)]
pub struct World {
    fragments: RefCell<HashMap<FragmentKey, (u32, u16)>>,
}

impl World {
    /// The datagrams whose fragments are known, each with its entry and port.
    pub fn fragments(&self) -> HashMap<FragmentKey, (u32, u16)> {
        self.fragments.borrow().clone()
    }

    /// Empties the table of fragments.
    pub fn forget_fragments(&self) {
        self.fragments.borrow_mut().clear();
    }
}

impl Lookups for World {
    fn port_slot(&self, port: u16) -> u32 {
        slot(port).map_or(0, |slot| slot + 1)
    }

    fn is_local_ipv4(&self, address: [u8; 4]) -> bool {
        address == LOCAL_IPV4
    }

    fn is_local_ipv6(&self, address: [u64; 2]) -> bool {
        address.map(u64::to_ne_bytes).concat() == LOCAL_IPV6
    }

    fn fragment_source(&self, key: &FragmentKey) -> FragmentSource {
        match self.fragments.borrow().get(key) {
            Some(&(entry, port)) => FragmentSource::Known { entry, port },
            None => FragmentSource::Unknown,
        }
    }

    fn remember_fragment(&self, key: &FragmentKey, entry: u32, port: u16) {
        self.fragments.borrow_mut().insert(*key, (entry, port));
    }
}
