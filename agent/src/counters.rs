//! The counters as plain data, and the one way to read them.
//!
//! The kernel counts, monotonically; nothing here or above ever writes a counter. Counters are compared only within
//! one map life: the same [`MapLifeId`] means the same counters, a new one means that they began at zero.

use std::ops::{Add, AddAssign};

use uuid::Uuid;

/// Bytes and packets of one port, both directions. rx is from the client, tx to the client; bytes are IP-layer
/// bytes as they are on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    /// Received bytes.
    pub rx_bytes: u64,
    /// Received packets.
    pub rx_packets: u64,
    /// Sent bytes.
    pub tx_bytes: u64,
    /// Sent packets.
    pub tx_packets: u64,
}

impl Counter {
    /// What was counted between `earlier` and this reading. `None` when any figure is lower than before, which
    /// cannot happen within one map life.
    pub fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            rx_bytes: self.rx_bytes.checked_sub(earlier.rx_bytes)?,
            rx_packets: self.rx_packets.checked_sub(earlier.rx_packets)?,
            tx_bytes: self.tx_bytes.checked_sub(earlier.tx_bytes)?,
            tx_packets: self.tx_packets.checked_sub(earlier.tx_packets)?,
        })
    }

    /// Bytes of both directions.
    pub fn total_bytes(self) -> u64 {
        self.rx_bytes + self.tx_bytes
    }
}

impl Add for Counter {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            rx_bytes: self.rx_bytes + other.rx_bytes,
            rx_packets: self.rx_packets + other.rx_packets,
            tx_bytes: self.tx_bytes + other.tx_bytes,
            tx_packets: self.tx_packets + other.tx_packets,
        }
    }
}

impl AddAssign for Counter {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Names one life of the kernel maps: made with them, gone with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MapLifeId(pub Uuid);

/// Reads the kernel's counters. Reading costs nothing and changes nothing.
pub trait CounterReader: Send + Sync {
    /// The life that the counters belong to.
    fn map_life(&self) -> MapLifeId;

    /// The ports that have a counter, ascending; more than are tracked when some were tracked before.
    fn ports(&self) -> &[u16];

    /// The port's counter now; zero for a port that has none.
    fn read(&self, port: u16) -> Counter;
}
