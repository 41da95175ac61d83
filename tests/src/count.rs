//! What was counted: bytes and packets of a port, in both directions.

use std::collections::BTreeMap;

/// One port's traffic; rx is towards the server, tx from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// IP-layer bytes towards the port.
    pub rx_bytes: u64,
    /// Packets towards the port.
    pub rx_packets: u64,
    /// IP-layer bytes from the port.
    pub tx_bytes: u64,
    /// Packets from the port.
    pub tx_packets: u64,
}

impl Count {
    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// What came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            rx_bytes: self.rx_bytes - earlier.rx_bytes,
            rx_packets: self.rx_packets - earlier.rx_packets,
            tx_bytes: self.tx_bytes - earlier.tx_bytes,
            tx_packets: self.tx_packets - earlier.tx_packets,
        }
    }

    /// Bytes of both directions.
    pub fn bytes(&self) -> u64 {
        self.rx_bytes + self.tx_bytes
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            rx_bytes: self.rx_bytes + other.rx_bytes,
            rx_packets: self.rx_packets + other.rx_packets,
            tx_bytes: self.tx_bytes + other.tx_bytes,
            tx_packets: self.tx_packets + other.tx_packets,
        }
    }

    /// Whether no figure is smaller than `other`'s.
    pub fn covers(&self, other: &Self) -> bool {
        self.rx_bytes >= other.rx_bytes
            && self.rx_packets >= other.rx_packets
            && self.tx_bytes >= other.tx_bytes
            && self.tx_packets >= other.tx_packets
    }
}

/// A port's incoming TCP connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Those that are not closed.
    pub active: u64,
    /// Those whose handshake was completed.
    pub opened: u64,
}

/// Counts by port.
pub type Counts = BTreeMap<u16, Count>;

/// One port's count, zero when it is not in the list.
pub fn of(counts: &Counts, port: u16) -> Count {
    counts.get(&port).copied().unwrap_or_default()
}

/// The counts of `ports` alone; a port without one counts zero.
pub fn only(counts: &Counts, ports: impl IntoIterator<Item = u16>) -> Counts {
    ports.into_iter().map(|port| (port, of(counts, port))).collect()
}
