//! Wrong API keys, counted by the address that sends them.
//!
//! Only wrong keys are counted and only wrong keys are refused: whoever has the right key is let through, also from an
//! address that others guess from, so nobody can lock an operator out. The table is bounded: when it is full, the
//! address whose minute began first is forgotten.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The time that wrong keys are counted over, from an address's first one on.
const WINDOW: Duration = Duration::from_secs(60);

/// Most addresses that are remembered at a time; they take less than a megabyte.
const ADDRESSES_MAX: usize = 8192;

/// What becomes of a wrong key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is wrong, and that is all.
    Wrong,
    /// Its address has sent too many.
    TooMany {
        /// How long until the address is as good as any other again.
        retry_after: Duration,
    },
}

impl Verdict {
    /// The whole seconds to wait, at least one, where there have been too many.
    pub fn retry_after_seconds(self) -> Option<u64> {
        match self {
            Self::Wrong => None,
            Self::TooMany { retry_after } => Some(retry_after.as_secs() + 1),
        }
    }
}

/// The table.
#[derive(Debug)]
pub struct FailedKeys {
    /// 0: no limit.
    per_minute: AtomicU32,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    windows: HashMap<IpAddr, Window>,
    /// In the order in which the windows began, which is that in which they end.
    order: VecDeque<(Instant, IpAddr)>,
}

#[derive(Debug)]
struct Window {
    start: Instant,
    failures: u32,
}

impl FailedKeys {
    /// An empty table: an address may send `per_minute` wrong keys a minute, or as many as it likes where that is 0.
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute: per_minute.into(),
            table: Mutex::default(),
        }
    }

    /// From now on an address may send this many a minute.
    pub fn set_per_minute(&self, per_minute: u32) {
        self.per_minute.store(per_minute, Ordering::Relaxed);
    }

    /// Notes a wrong key that came from `address`.
    pub fn note(&self, address: IpAddr) -> Verdict {
        self.note_at(address, Instant::now())
    }

    fn note_at(&self, address: IpAddr, now: Instant) -> Verdict {
        let per_minute = self.per_minute.load(Ordering::Relaxed);
        if per_minute == 0 {
            return Verdict::Wrong;
        }
        let network = network_of(address);
        let mut table = self.table.lock().expect("nothing panics while it holds this lock");
        table.forget_past(now);
        let window = table.window(network, now);
        window.failures = window.failures.saturating_add(1);
        if window.failures <= per_minute {
            return Verdict::Wrong;
        }
        if window.failures == per_minute + 1 {
            tracing::debug!(%network, "further wrong API keys of this minute are refused");
        }
        Verdict::TooMany {
            retry_after: WINDOW.saturating_sub(now.duration_since(window.start)),
        }
    }
}

impl Table {
    fn forget_past(&mut self, now: Instant) {
        while let Some(&(start, network)) = self.order.front()
            && now.duration_since(start) >= WINDOW
        {
            self.order.pop_front();
            self.windows.remove(&network);
        }
    }

    fn window(&mut self, network: IpAddr, now: Instant) -> &mut Window {
        if !self.windows.contains_key(&network) {
            if self.windows.len() >= ADDRESSES_MAX
                && let Some((_, oldest)) = self.order.pop_front()
            {
                self.windows.remove(&oldest);
            }
            self.order.push_back((now, network));
        }
        self.windows.entry(network).or_insert(Window {
            start: now,
            failures: 0,
        })
    }
}

/// What counts as one address: an IPv4 address, or the /64 that an IPv6 host chooses its addresses from.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_may_send_so_many_a_minute_and_others_are_not_concerned() {
        let (failed, start) = (FailedKeys::new(3), Instant::now());
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let guesser = address("192.0.2.1");
        for seconds in 0..3 {
            assert_eq!(failed.note_at(guesser, after(seconds)), Verdict::Wrong);
        }
        let refused = failed.note_at(guesser, after(20));
        assert_eq!(
            refused,
            Verdict::TooMany {
                retry_after: Duration::from_secs(40)
            }
        );
        assert_eq!(refused.retry_after_seconds(), Some(41));
        assert_eq!(failed.note_at(address("192.0.2.2"), after(20)), Verdict::Wrong);
        assert_eq!(failed.note_at(guesser, after(60)), Verdict::Wrong);
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one_and_ipv4_in_ipv6_is_ipv4() {
        assert_eq!(
            network_of(address("2001:db8::1")),
            network_of(address("2001:db8::ffff:2"))
        );
        assert_ne!(
            network_of(address("2001:db8::1")),
            network_of(address("2001:db8:0:1::1"))
        );
        assert_eq!(network_of(address("::ffff:192.0.2.1")), address("192.0.2.1"));
        assert_ne!(network_of(address("192.0.2.1")), network_of(address("192.0.2.2")));
    }

    #[test]
    fn the_table_is_bounded() {
        let (failed, now) = (FailedKeys::new(1), Instant::now());
        for number in 0..3 * u32::try_from(ADDRESSES_MAX).unwrap() {
            failed.note_at(IpAddr::V4(number.into()), now);
        }
        let table = failed.table.lock().unwrap();
        assert_eq!((table.windows.len(), table.order.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
    }

    #[test]
    fn zero_is_no_limit() {
        let failed = FailedKeys::new(0);
        for _ in 0..1000 {
            assert_eq!(failed.note(address("192.0.2.1")), Verdict::Wrong);
        }
    }
}
