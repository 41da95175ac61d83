//! The routes of traffic: what was counted for each key's port since the key was made or last reset.
//!
//! Three sets of routes show the same counters in different dress: [`simple`] by port, [`exact`] by key, [`legacy`] by
//! key in older words; [`status`] shows the first and the last of them side by side. What they share is here.

use portmeter_proto::v1::{InterfaceTraffic, Key, KeyTraffic, Traffic};

use crate::failure::Failure;

pub(crate) mod exact;
pub(crate) mod legacy;
pub(crate) mod simple;
pub(crate) mod status;

/// What one key's row of either kind takes without its connections; see [`crate::answer::json_of_size`].
const ROW_BYTES: usize = 768;

/// One key with a port, and what was counted on it.
#[derive(Clone, Copy)]
struct PortRow<'a> {
    port: u32,
    key: &'a Key,
    traffic: &'a Traffic,
}

impl<'a> PortRow<'a> {
    /// The row of a key, or `None` for a key without a port, which has nothing to show.
    fn of(row: &'a KeyTraffic) -> Result<Option<Self>, Failure> {
        let key = row.key.as_ref().ok_or_else(|| Failure::incomplete("key_traffic.key"))?;
        let traffic = row
            .traffic
            .as_ref()
            .ok_or_else(|| Failure::incomplete("key_traffic.traffic"))?;
        Ok(key.port.map(|port| Self { port, key, traffic }))
    }

    /// The rows of all keys that have a port.
    fn all(rows: &'a [KeyTraffic]) -> Result<Vec<Self>, Failure> {
        rows.iter().filter_map(|row| Self::of(row).transpose()).collect()
    }

    /// Bytes of both directions.
    fn total_bytes(&self) -> u64 {
        self.traffic.rx_bytes.saturating_add(self.traffic.tx_bytes)
    }
}

/// The sums over all rows.
struct Sums {
    total_bytes: u64,
    total_connections: u64,
}

impl Sums {
    fn of(rows: &[PortRow<'_>]) -> Self {
        Self {
            total_bytes: rows.iter().map(PortRow::total_bytes).fold(0, u64::saturating_add),
            total_connections: rows
                .iter()
                .map(|row| row.traffic.connections)
                .fold(0, u64::saturating_add),
        }
    }
}

/// The bytes of this host's interfaces, one by one and in all.
#[derive(Clone, Copy)]
struct Interfaces<'a>(&'a [InterfaceTraffic]);

impl Interfaces<'_> {
    fn rx_bytes(&self) -> u64 {
        self.0
            .iter()
            .map(|interface| interface.rx_bytes)
            .fold(0, u64::saturating_add)
    }

    fn tx_bytes(&self) -> u64 {
        self.0
            .iter()
            .map(|interface| interface.tx_bytes)
            .fold(0, u64::saturating_add)
    }

    fn total_bytes(&self) -> u64 {
        self.rx_bytes().saturating_add(self.tx_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(port: Option<u32>, rx_bytes: u64) -> KeyTraffic {
        KeyTraffic {
            key: Some(Key { port, ..Key::default() }),
            traffic: Some(Traffic {
                rx_bytes,
                tx_bytes: 1,
                connections: 2,
                ..Traffic::default()
            }),
        }
    }

    #[test]
    fn keys_without_a_port_are_left_out() {
        let rows = [row(Some(10001), 5), row(None, 100), row(Some(10003), 7)];
        let rows = PortRow::all(&rows).unwrap();
        assert_eq!(rows.iter().map(|row| row.port).collect::<Vec<_>>(), [10001, 10003]);
        let sums = Sums::of(&rows);
        assert_eq!((sums.total_bytes, sums.total_connections), (14, 4));
    }

    #[test]
    fn sums_never_overflow() {
        let rows = [row(Some(10001), u64::MAX), row(Some(10002), u64::MAX)];
        assert_eq!(Sums::of(&PortRow::all(&rows).unwrap()).total_bytes, u64::MAX);
    }

    #[test]
    fn a_row_without_its_key_is_a_failure() {
        assert!(
            PortRow::of(&KeyTraffic {
                key: None,
                ..row(Some(10001), 0)
            })
            .is_err()
        );
        assert!(
            PortRow::of(&KeyTraffic {
                traffic: None,
                ..row(Some(10001), 0)
            })
            .is_err()
        );
    }
}
