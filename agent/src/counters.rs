//! The counters as plain data, and the one way to read them.
//!
//! The kernel counts, monotonically; nothing here or above ever writes a counter. Counters are compared only within
//! one map life: the same [`MapLifeId`] means the same counters, a new one means that they began at zero.

use std::ops::{Add, AddAssign};

use uuid::Uuid;

/// Bytes and packets of one port, both directions, and the connections that were opened to it. rx is from the client,
/// tx to the client; bytes are IP-layer bytes as they are on the wire.
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
    /// Incoming TCP connections whose handshake was completed.
    pub connections_opened: u64,
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
            connections_opened: self.connections_opened.checked_sub(earlier.connections_opened)?,
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
            connections_opened: self.connections_opened + other.connections_opened,
        }
    }
}

impl AddAssign for Counter {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Where the number of active connections comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionSource {
    /// The kernel programs count connections as they open and close.
    Kernel,
    /// The kernel's socket tables are listed when somebody asks.
    SocketTables,
}

/// What the kernel programs counted of one port's incoming TCP connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionCount {
    /// Opened while the programs watched.
    pub opened: u64,
    /// There before the programs, and taken over by them.
    pub adopted: u64,
    /// Closed, of the two above.
    pub closed: u64,
    /// What corrections take off the difference; see [`ConnectionCounter::correct_active_connections`].
    pub offset: i64,
}

impl ConnectionCount {
    /// opened + adopted − closed − offset. Below zero only when a close was counted that had no opening, or for the
    /// moment between reading the one and the other.
    pub fn balance(self) -> i64 {
        let balance =
            i128::from(self.opened) + i128::from(self.adopted) - i128::from(self.closed) - i128::from(self.offset);
        i64::try_from(balance).unwrap_or(if balance < 0 { i64::MIN } else { i64::MAX })
    }

    /// Connections that are not closed.
    pub fn active(self) -> u64 {
        self.balance().max(0).cast_unsigned()
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

    /// Hands every port's counter to `each`, in the order of [`Self::ports`].
    fn read_all(&self, each: &mut dyn FnMut(u16, Counter)) {
        for port in self.ports() {
            each(*port, self.read(*port));
        }
    }

    /// Incoming TCP connections of the port whose handshake is complete and that are not closed, as the kernel programs
    /// count them. `None` where they do not: then the socket tables answer.
    fn active_connections(&self, port: u16) -> Option<u64>;

    /// Where the number of active connections comes from; the same for every port.
    fn connection_source(&self) -> ConnectionSource {
        match self.ports().first().and_then(|port| self.active_connections(*port)) {
            Some(_) => ConnectionSource::Kernel,
            None => ConnectionSource::SocketTables,
        }
    }
}

/// Counters of connections that can be checked against the socket tables and put right.
pub trait ConnectionCounter: CounterReader {
    /// The port's figures now. `None` where the kernel programs do not count connections.
    fn connection_count(&self, port: u16) -> Option<ConnectionCount>;

    /// Adds `difference` to what is shown as active from now on, by taking it off the port's offset. The kernel's
    /// counts themselves stay as they are.
    fn correct_active_connections(&self, port: u16, difference: i64) -> std::io::Result<()>;
}

/// The counters of a kernel that counts nothing: a life of its own, without a port.
pub struct NoCounters(MapLifeId);

impl Default for NoCounters {
    fn default() -> Self {
        Self(MapLifeId(Uuid::new_v4()))
    }
}

impl CounterReader for NoCounters {
    fn map_life(&self) -> MapLifeId {
        self.0
    }

    fn ports(&self) -> &[u16] {
        &[]
    }

    fn read(&self, _: u16) -> Counter {
        Counter::default()
    }

    fn active_connections(&self, _: u16) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_connections_are_never_negative_and_never_overflow() {
        let count = |opened, adopted, closed, offset| {
            ConnectionCount {
                opened,
                adopted,
                closed,
                offset,
            }
            .active()
        };
        assert_eq!(count(5, 2, 3, 0), 4);
        assert_eq!(count(5, 2, 3, 1), 3);
        assert_eq!(count(5, 2, 3, -1), 5);
        assert_eq!(count(0, 0, 1, 0), 0);
        assert_eq!(count(u64::MAX, u64::MAX, 0, i64::MIN), i64::MAX.cast_unsigned());
        assert_eq!(count(0, 0, u64::MAX, i64::MAX), 0);
    }
}
