//! A year of a thousand keys, played by a seeded generator on a clock that is moved: at its end every key's total is
//! what passed, the sum of its days, and the sum of its months, through clean-ups, resets and restarts.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use portmeter::counters::{Counter, CounterReader};
use portmeter::ledger::{Clock, Tally};
use portmeter::retention::Retention;
use portmeter::store::{FirstKept, Granularity, KeyId, Range, Store};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use support::{FakeKernel, Lab, write_keys};

const KEYS: u16 = 1_000;
const FIRST_PORT: u16 = 10_001;
const DAYS: u32 = 365;
const BOOKINGS_A_DAY: u32 = 4;
/// Keys that move something between two bookings.
const BUSY: usize = 200;
/// The ports of keys whose history is reset once, in summer.
const RESET: std::ops::Range<u16> = FIRST_PORT..FIRST_PORT + 10;

const EVER: Range = Range {
    first: i64::MIN,
    last: i64::MAX,
};

fn lab() -> Lab {
    let mut lab = Lab::in_zone(chrono_tz::Europe::Berlin);
    lab.kernel = FakeKernel::with_ports((FIRST_PORT..FIRST_PORT + KEYS).collect());
    lab.clock.set("2025-01-01T00:00:00Z");
    write_keys(lab.folder.path(), lab.kernel.ports());
    lab
}

#[tokio::test]
async fn totals_are_sums_of_days_and_of_months() {
    let (lab, mut random) = (lab(), StdRng::seed_from_u64(2_025));
    let mut store = Arc::new(lab.start());
    let mut passed_before_reset = BTreeMap::new();
    let retention = Retention {
        minutes: TimeDelta::hours(48),
        hours: TimeDelta::days(60),
        days: 730,
        events: TimeDelta::days(90),
    };
    for day in 0..DAYS {
        for _ in 0..BOOKINGS_A_DAY {
            for _ in 0..BUSY {
                let port = FIRST_PORT + random.random_range(0..KEYS);
                lab.kernel.pass(port, random.random_range(40..10_000_000));
            }
            lab.clock.move_by(TimeDelta::hours(24 / i64::from(BOOKINGS_A_DAY)));
            store.book().await.unwrap();
        }
        store
            .clean_up(retention.first_kept(store.calendar(), lab.clock.now()))
            .await
            .unwrap();
        if day == 180 {
            for port in RESET {
                let id = holder(&store, port);
                store.reset_history(id).await.unwrap();
                passed_before_reset.insert(port, lab.kernel.read(port));
            }
        }
        if day % 50 == 0 {
            store.close().await.unwrap();
            store = Arc::new(lab.start());
        }
    }
    for port in lab.kernel.ports() {
        let before = passed_before_reset.get(port).copied().unwrap_or_default();
        let expected = lab.kernel.read(*port).since(before).unwrap();
        check(&store, holder(&store, *port), expected).await;
    }
    // Days that go leave months and totals as they are.
    let first_kept = FirstKept {
        day: Some(store.calendar().day(lab.clock.now()).plus_days(-30)),
        ..FirstKept::default()
    };
    assert!(store.clean_up(first_kept).await.unwrap() > 100_000);
    let all = store.all_periods(Granularity::Month, EVER, 100).await.unwrap();
    let months = Tally::sum(all.rows.iter().map(|(_, month)| &month.tally)).traffic;
    let counted = lab
        .kernel
        .ports()
        .iter()
        .fold(Counter::default(), |sum, port| sum + lab.kernel.read(*port));
    assert_eq!(months, counted, "all keys, what was before the resets included");
}

fn holder(store: &Store, port: u16) -> KeyId {
    let snapshot = store.snapshot();
    let holds = |entry: &&portmeter::store::Entry| entry.key.port == Some(port);
    snapshot
        .entries
        .iter()
        .find(holds)
        .expect("every port has a key")
        .key
        .id
}

async fn check(store: &Arc<Store>, id: KeyId, expected: Counter) {
    let total = store.state().key_history(id).unwrap().total;
    assert_eq!(total.traffic, expected);
    for granularity in [Granularity::Day, Granularity::Month] {
        let page = store.key_periods(id, granularity, EVER, usize::MAX).await.unwrap();
        let sum = Tally::sum(page.rows.iter().map(|(_, tally)| tally));
        assert_eq!(
            (sum.traffic, sum.sessions),
            (total.traffic, total.sessions),
            "{granularity:?}"
        );
        assert_eq!(sum.max_connections, total.max_connections, "{granularity:?}");
    }
}
