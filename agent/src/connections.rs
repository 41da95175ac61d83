//! Checks the kernel programs' count of active connections against the socket tables, and puts it right.
//!
//! The programs count openings and closings one by one; a single one missed would be shown for ever. So now and then
//! the socket tables are asked, which know what is there but not what has been. Both are looked at only where they can
//! be compared: at ports where nothing opened or closed while the tables were listed. A difference has to be found
//! twice in a row, a minute apart, before it is believed. What is corrected is a bug, and is logged and counted as one.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::counters::{ConnectionCount, ConnectionCounter, ConnectionSource};
use crate::network::sockets::{self, PortTables};
use crate::state::AgentState;

/// How often the two are compared. Listing the sockets takes about 1.5 ms a thousand.
const COMPARE_INTERVAL: Duration = Duration::from_secs(60);

/// By port, how many connections the socket tables show beyond the kernel programs' count.
pub type Differences = BTreeMap<u16, i64>;

/// Compares and corrects until `shutdown`.
pub async fn reconcile(counter: Arc<dyn ConnectionCounter>, state: Arc<AgentState>, shutdown: CancellationToken) {
    let mut ticks = interval(COMPARE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut doubts = Doubts::default();
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        if counter.connection_source() == ConnectionSource::SocketTables {
            continue;
        }
        let (read_from, read_tables) = (Arc::clone(&counter), sockets::port_tables);
        let compared = tokio::task::spawn_blocking(move || compare(&*read_from, read_tables)).await;
        match compared.map_err(io::Error::other).flatten() {
            Ok(differences) => correct(&*counter, &state, doubts.confirm(&differences)),
            Err(error) => tracing::warn!(%error, "the socket tables cannot be read; connections are not checked"),
        }
    }
}

/// The difference at every port that can be compared, 0 included.
pub fn compare(
    counter: &dyn ConnectionCounter,
    read_tables: impl FnOnce() -> io::Result<PortTables>,
) -> io::Result<Differences> {
    let count = |port: &u16| Some((*port, counter.connection_count(*port)?));
    let before: Vec<(u16, ConnectionCount)> = counter.ports().iter().filter_map(count).collect();
    let tables = read_tables()?;
    let is_still = |(port, count): &(u16, ConnectionCount)| counter.connection_count(*port) == Some(*count);
    let compared = before.into_iter().filter(is_still);
    Ok(compared
        .map(|(port, count)| (port, difference(count, port, &tables)))
        .collect())
}

/// What has to be added to the count to agree with the tables. Where nobody listens, a socket at the port may well be
/// an outgoing connection that the system gave this port to, so there the tables only say how many it can be at most.
fn difference(count: ConnectionCount, port: u16, tables: &PortTables) -> i64 {
    let connected = tables.connected.get(&port).copied().unwrap_or_default();
    let at_most = i64::try_from(connected).unwrap_or(i64::MAX);
    let at_least = if tables.listening.contains(&port) { at_most } else { 0 };
    let balance = count.balance();
    balance.clamp(at_least, at_most).saturating_sub(balance)
}

/// Differences that were found once and are not believed yet.
#[derive(Debug, Default)]
pub struct Doubts(Differences);

impl Doubts {
    /// Takes what one comparison found; gives the differences that the comparison before had found as well. A port
    /// that could not be compared stays as it was.
    pub fn confirm(&mut self, found: &Differences) -> Differences {
        let mut confirmed = Differences::new();
        for (&port, &difference) in found {
            let before = self.0.remove(&port);
            if difference == 0 {
                continue;
            }
            if before == Some(difference) {
                confirmed.insert(port, difference);
            } else {
                self.0.insert(port, difference);
            }
        }
        confirmed
    }
}

fn correct(counter: &dyn ConnectionCounter, state: &AgentState, confirmed: Differences) {
    for (port, difference) in confirmed {
        match counter.correct_active_connections(port, difference) {
            Ok(()) => {
                state.add_connection_corrections(difference.unsigned_abs());
                tracing::warn!(
                    port,
                    difference,
                    "the count of active connections was wrong and is corrected"
                );
            }
            Err(error) => {
                tracing::error!(port, difference, %error, "the count of active connections is wrong and stays so");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 10_001;

    fn count(opened: u64, closed: u64) -> ConnectionCount {
        ConnectionCount {
            opened,
            closed,
            ..ConnectionCount::default()
        }
    }

    fn tables(is_listening: bool, connected: u64) -> PortTables {
        PortTables {
            listening: is_listening.then_some(PORT).into_iter().collect(),
            connected: [(PORT, connected)].into(),
        }
    }

    #[test]
    fn a_listening_port_has_exactly_the_connections_of_the_tables() {
        assert_eq!(difference(count(5, 2), PORT, &tables(true, 3)), 0);
        assert_eq!(difference(count(5, 2), PORT, &tables(true, 5)), 2);
        assert_eq!(difference(count(5, 2), PORT, &tables(true, 0)), -3);
        assert_eq!(difference(count(0, 4), PORT, &tables(true, 1)), 5);
    }

    #[test]
    fn without_a_listener_connections_may_be_outgoing() {
        assert_eq!(difference(count(5, 2), PORT, &tables(false, 7)), 0);
        assert_eq!(difference(count(5, 2), PORT, &tables(false, 1)), -2);
        assert_eq!(difference(count(0, 2), PORT, &tables(false, 1)), 2);
        assert_eq!(difference(count(2, 2), PORT, &PortTables::default()), 0);
    }

    #[test]
    fn a_difference_is_believed_the_second_time() {
        let mut doubts = Doubts::default();
        let mut confirm = |found: &[(u16, i64)]| -> Vec<(u16, i64)> {
            doubts.confirm(&found.iter().copied().collect()).into_iter().collect()
        };
        assert_eq!(confirm(&[(1, -1), (2, 3), (3, 0)]), []);
        assert_eq!(confirm(&[(1, -1), (2, 0), (3, 4)]), [(1, -1)]);
        assert_eq!(confirm(&[(1, -1), (2, 3), (3, 5)]), []);
        assert_eq!(confirm(&[]), []);
        assert_eq!(confirm(&[(1, -1), (2, 2), (3, 5)]), [(1, -1), (3, 5)]);
    }
}
