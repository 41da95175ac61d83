//! The connections of one listener: how many there are, and which has to go when there is no room for another.
//!
//! A connection is *waiting* until a request has arrived whole, and again once its answer is handed over; only then can
//! it be closed to make room. Those that never showed the right API key go first, and of those the one that has waited
//! longest. So thousands of quiet connections push each other out, while a client that sends its request is served.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// `Connection::waiting_since` of one that does not wait.
const BUSY: u64 = u64::MAX;

/// The connections of one listener.
#[derive(Debug)]
pub struct Connections {
    max: usize,
    table: Mutex<HashMap<u64, Arc<Connection>>>,
    /// Tells those who wait for room that there may be some.
    room: Notify,
    /// Orders everything that happens here; no clock is as cheap or as fine.
    moment: AtomicU64,
}

/// One connection, as whoever serves it knows it.
#[derive(Debug)]
pub struct Connection {
    number: u64,
    peer: IpAddr,
    /// The moment since when it waits, or [`BUSY`].
    waiting_since: AtomicU64,
    /// Whether it has shown the right API key.
    is_trusted: AtomicBool,
    closed: CancellationToken,
    table: Arc<Connections>,
}

/// A connection's place among the others; it is free again when this is dropped.
#[derive(Debug)]
pub struct Seat(Arc<Connection>);

impl Connections {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            table: Mutex::default(),
            room: Notify::new(),
            moment: AtomicU64::new(0),
        })
    }

    /// A place for a connection from `peer`. Where there is no room the waiting one that can best be spared is closed;
    /// where none waits, this does until one has ended or waits.
    pub async fn admit(self: &Arc<Self>, peer: IpAddr) -> Seat {
        loop {
            let room = self.room.notified();
            if let Some(seat) = self.try_admit(peer) {
                return seat;
            }
            room.await;
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn try_admit(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let mut table = self.lock();
        if table.len() >= self.max {
            let spared = table
                .values()
                .filter(|connection| connection.is_waiting())
                .min_by_key(|connection| connection.rank())
                .map(|connection| connection.number)?;
            if let Some(connection) = table.remove(&spared) {
                tracing::debug!(peer = %connection.peer, "a waiting connection is closed to make room");
                connection.closed.cancel();
            }
        }
        let number = self.next_moment();
        let connection = Arc::new(Connection {
            number,
            peer,
            waiting_since: AtomicU64::new(number),
            is_trusted: AtomicBool::new(false),
            closed: CancellationToken::new(),
            table: Arc::clone(self),
        });
        table.insert(number, Arc::clone(&connection));
        Some(Seat(connection))
    }

    fn next_moment(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.table.lock().expect("nothing panics while it holds this lock")
    }
}

impl Connection {
    /// The address at its other end.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// It has shown the right API key.
    pub fn trust(&self) {
        self.is_trusted.store(true, Ordering::Relaxed);
    }

    /// A request has arrived whole: it is not closed from now on to make room.
    pub fn begin(&self) {
        self.waiting_since.store(BUSY, Ordering::Relaxed);
    }

    /// Its answer is handed over: it waits for the next request.
    pub fn end(&self) {
        self.waiting_since.store(self.table.next_moment(), Ordering::Relaxed);
        self.table.room.notify_one();
    }

    /// Ends when it is to be closed.
    pub fn closed(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }

    fn is_waiting(&self) -> bool {
        self.waiting_since.load(Ordering::Relaxed) != BUSY
    }

    fn rank(&self) -> (bool, u64) {
        let since = self.waiting_since.load(Ordering::Relaxed);
        (self.is_trusted.load(Ordering::Relaxed), since)
    }
}

impl Seat {
    /// The connection that has it.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Connection { number, table, .. } = &*self.0;
        table.lock().remove(number);
        table.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn is_closed(seat: &Seat) -> bool {
        seat.0.closed.is_cancelled()
    }

    #[tokio::test]
    async fn the_one_that_has_waited_longest_makes_room() {
        let connections = Connections::new(3);
        let mut seats = Vec::new();
        for _ in 0..3 {
            seats.push(connections.admit(PEER).await);
        }
        // The first has asked and been answered, so the second has waited longest.
        seats[0].connection().begin();
        seats[0].connection().end();
        let _fourth = connections.admit(PEER).await;
        assert_eq!(seats.iter().map(is_closed).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(connections.count(), 3);
        // What was closed frees nothing a second time.
        seats.remove(1);
        assert_eq!(connections.count(), 3);
    }

    #[tokio::test]
    async fn those_with_the_key_go_last_and_those_at_work_stay() {
        let connections = Connections::new(3);
        let (trusted, busy) = (connections.admit(PEER).await, connections.admit(PEER).await);
        trusted.connection().trust();
        busy.connection().begin();
        let stranger = connections.admit(PEER).await;
        let next = connections.admit(PEER).await;
        assert!(is_closed(&stranger) && !is_closed(&trusted));
        next.connection().begin();
        let last = connections.admit(PEER).await;
        assert!(is_closed(&trusted) && !is_closed(&busy));
        last.connection().begin();
        let waiting = tokio::time::timeout(Duration::from_millis(20), connections.admit(PEER)).await;
        assert!(waiting.is_err(), "nobody is closed who is at work");
        busy.connection().end();
        connections.admit(PEER).await;
        assert!(is_closed(&busy));
    }

    #[tokio::test]
    async fn an_end_makes_room_for_one_who_waits() {
        let connections = Connections::new(1);
        let seat = connections.admit(PEER).await;
        seat.connection().begin();
        let (next, ()) = tokio::join!(connections.admit(PEER), async { drop(seat) });
        assert!(!is_closed(&next));
    }
}
