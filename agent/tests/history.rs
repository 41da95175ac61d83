//! History over real SQLite: every byte in its minute, hour, day, month and cycle, whatever happens in whatever order.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use portmeter::calendar::{BillingCycle, Calendar, Minute};
use portmeter::counters::CounterReader;
use portmeter::ledger::{Clock, Tally};
use portmeter::store::{FirstKept, Granularity, HistoryId, Key, KeyId, Range, Store, StoreError};

use support::{Lab, PORTS, create, traffic};

const EVER: Range = Range {
    first: i64::MIN,
    last: i64::MAX,
};

/// The sampler's pass.
fn sample(lab: &Lab, store: &Store) {
    let connections = |port| lab.kernel.active_connections(port);
    store.samples().sample(lab.clock.now(), &*lab.kernel, &connections);
}

async fn periods(store: &Arc<Store>, key: &Key, granularity: Granularity) -> Vec<(String, Tally)> {
    let page = store.key_periods(key.id, granularity, EVER, usize::MAX).await.unwrap();
    let text = |period: i64| match granularity {
        Granularity::Minute => Minute(period).to_string(),
        Granularity::Hour => portmeter::calendar::Hour(period).to_string(),
        Granularity::Day => portmeter::calendar::Day(period as i32).to_string(),
        Granularity::Month => portmeter::calendar::Month(period as i32).to_string(),
    };
    page.rows
        .into_iter()
        .map(|(period, tally)| (text(period), tally))
        .collect()
}

async fn bytes_by(store: &Arc<Store>, key: &Key, granularity: Granularity) -> Vec<(String, u64)> {
    let periods = periods(store, key, granularity).await;
    periods
        .into_iter()
        .map(|(text, tally)| (text, tally.traffic.rx_bytes))
        .collect()
}

fn named(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected
        .iter()
        .map(|(text, bytes)| ((*text).to_owned(), *bytes))
        .collect()
}

#[tokio::test]
async fn bytes_belong_to_the_minute_in_which_they_were_sampled() {
    let lab = Lab::in_zone(chrono_tz::Europe::Berlin);
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    // The last second before the day that has 23 hours, and the first of it.
    for (time, bytes) in [
        ("2026-03-28T22:59:59Z", 1),
        ("2026-03-28T23:00:00Z", 10),
        ("2026-03-29T21:59:59Z", 100),
        ("2026-03-29T22:00:00Z", 1_000),
        ("2026-03-31T21:59:59Z", 10_000),
        ("2026-03-31T22:00:00Z", 100_000),
    ] {
        lab.clock.set(time);
        lab.kernel.pass(10_001, bytes);
        sample(&lab, &store);
    }
    // Booked late, and shown before as after.
    for _ in 0..2 {
        let days = [
            ("2026-03-28", 1),
            ("2026-03-29", 110),
            ("2026-03-30", 1_000),
            ("2026-03-31", 10_000),
            ("2026-04-01", 100_000),
        ];
        assert_eq!(bytes_by(&store, &key, Granularity::Day).await, named(&days));
        let months = [("2026-03", 11_111), ("2026-04", 100_000)];
        assert_eq!(bytes_by(&store, &key, Granularity::Month).await, named(&months));
        let hours = bytes_by(&store, &key, Granularity::Hour).await;
        assert_eq!(
            hours[..2],
            named(&[("2026-03-28T22:00:00Z", 1), ("2026-03-28T23:00:00Z", 10)])
        );
        let minutes = bytes_by(&store, &key, Granularity::Minute).await;
        assert_eq!(
            minutes[..2],
            named(&[("2026-03-28T22:59:00Z", 1), ("2026-03-28T23:00:00Z", 10)])
        );
        store.book().await.unwrap();
    }
}

#[tokio::test]
async fn connections_make_sessions_and_the_highest_number_stays() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    for (day, connections) in [
        ("2026-04-01", 3),
        ("2026-04-01", 0),
        ("2026-04-01", 2),
        ("2026-04-02", 1),
        ("2026-04-02", 0),
    ] {
        lab.clock.set(&format!("{day}T12:00:00Z"));
        lab.kernel.hold(10_001, connections);
        sample(&lab, &store);
    }
    let days = periods(&store, &key, Granularity::Day).await;
    let shown: Vec<_> = days
        .iter()
        .map(|(day, tally)| (day.as_str(), tally.max_connections, tally.sessions))
        .collect();
    assert_eq!(shown, [("2026-04-01", 3, 2), ("2026-04-02", 1, 0)]);
    let total = store.state().key_history(key.id).unwrap().total;
    assert_eq!((total.max_connections, total.sessions), (3, 2));
    assert_eq!(total.last_activity, Some("2026-04-02T12:00:00Z".parse().unwrap()));
}

/// One that goes on through a restart is no new session; one that began meanwhile is.
#[tokio::test]
async fn a_session_goes_on_through_a_restart() {
    let lab = Lab::new();
    let store = lab.start();
    let key = create(&store, "key").await;
    lab.kernel.hold(10_001, 1);
    sample(&lab, &store);
    store.close().await.unwrap();
    let store = lab.start();
    sample(&lab, &store);
    let history = store.state().key_history(key.id).unwrap();
    assert_eq!((history.total.sessions, history.is_connected), (1, true));
    lab.kernel.hold(10_001, 0);
    sample(&lab, &store);
    store.close().await.unwrap();
    lab.kernel.hold(10_001, 1);
    let store = lab.start();
    assert_eq!(store.state().key_history(key.id).unwrap().total.sessions, 2);
}

#[tokio::test]
async fn a_history_reset_hides_and_removes_nothing() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let (key, other) = (create(&store, "key").await, create(&store, "other").await);
    lab.kernel.pass(10_001, 100);
    lab.kernel.pass(10_002, 7);
    store.reset_history(key.id).await.unwrap();
    let history = store.state().key_history(key.id).unwrap();
    assert_eq!(history.total, Tally::default());
    assert_eq!(periods(&store, &key, Granularity::Day).await, []);
    assert_eq!(
        lab.shown(&store, &key),
        traffic(100),
        "the current figures are another matter"
    );
    lab.kernel.pass(10_001, 20);
    for _ in 0..2 {
        assert_eq!(
            bytes_by(&store, &key, Granularity::Day).await,
            named(&[("2026-03-28", 20)])
        );
        assert_eq!(
            bytes_by(&store, &other, Granularity::Day).await,
            named(&[("2026-03-28", 7)])
        );
        let all = store.all_periods(Granularity::Day, EVER, 10).await.unwrap();
        let (_, together) = all.rows[0];
        assert_eq!((together.tally.traffic.rx_bytes, together.active_keys), (127, 2));
        store.book().await.unwrap();
    }
    store.delete_key(key.id).await.unwrap();
    let all = store.all_periods(Granularity::Month, EVER, 10).await.unwrap();
    assert_eq!(
        all.rows[0].1.tally.traffic.rx_bytes, 127,
        "deleted keys stay in the sum"
    );
    let gone = store.key_periods(key.id, Granularity::Day, EVER, 10).await;
    assert!(matches!(gone, Err(StoreError::KeyNotFound)), "{gone:?}");
}

#[tokio::test]
async fn days_are_cleaned_up_and_months_and_totals_stay() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    for day in 1..=30 {
        lab.clock.set(&format!("2026-04-{day:02}T12:00:00Z"));
        lab.kernel.pass(10_001, 1);
        store.book().await.unwrap();
    }
    let first_kept = FirstKept {
        day: Some("2026-04-29".parse().unwrap()),
        ..FirstKept::default()
    };
    assert_eq!(store.clean_up(first_kept).await.unwrap(), 28);
    assert_eq!(store.clean_up(first_kept).await.unwrap(), 0);
    let days = [("2026-04-29", 1), ("2026-04-30", 1)];
    assert_eq!(bytes_by(&store, &key, Granularity::Day).await, named(&days));
    assert_eq!(
        bytes_by(&store, &key, Granularity::Month).await,
        named(&[("2026-04", 30)])
    );
    assert_eq!(store.state().key_history(key.id).unwrap().total.traffic.rx_bytes, 30);
}

#[tokio::test]
async fn a_gap_is_booked_to_the_minute_of_reading_and_told() {
    let lab = Lab::new();
    let store = lab.start();
    let key = create(&store, "key").await;
    drop(store);
    lab.kernel.pass(10_001, 5);
    lab.clock.set("2026-03-30T08:30:00Z");
    let store = Arc::new(lab.start());
    assert_eq!(
        bytes_by(&store, &key, Granularity::Minute).await,
        named(&[("2026-03-30T08:30:00Z", 5)])
    );
    store.close().await.unwrap();
    let ledger = rusqlite::Connection::open(lab.folder.path().join("ledger.db")).unwrap();
    let message: String = ledger
        .query_row("SELECT message FROM events WHERE action = 'gap'", [], |row| row.get(0))
        .unwrap();
    assert!(
        message.starts_with("15 bytes on 1 ports passed between 2026-03-28T12:00:00Z and 2026-03-30T08:30:00Z"),
        "{message}"
    );
}

/// A page at a time comes to the same as all at once, the unbooked part included.
#[tokio::test]
async fn pages_add_up() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let keys = [create(&store, "a").await, create(&store, "b").await];
    for minute in 0..7 {
        lab.clock.move_by(TimeDelta::minutes(1));
        lab.kernel.pass(10_001, 1 + minute);
        lab.kernel.pass(10_002, 100 + minute);
        if minute < 5 {
            store.book().await.unwrap();
        } else {
            sample(&lab, &store);
        }
    }
    let whole = store
        .key_periods(keys[0].id, Granularity::Minute, EVER, 100)
        .await
        .unwrap();
    let (mut paged, mut range) = (Vec::new(), EVER);
    loop {
        let page = store
            .key_periods(keys[0].id, Granularity::Minute, range, 2)
            .await
            .unwrap();
        range.first = page.rows.last().unwrap().0 + 1;
        paged.extend(page.rows);
        if !page.has_more {
            break;
        }
    }
    assert_eq!((paged.len(), &paged), (7, &whole.rows));

    let (whole, none) = store
        .each_key_periods(Granularity::Minute, EVER, None, 100)
        .await
        .unwrap();
    assert_eq!((whole.len(), none), (14, None));
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let (rows, next) = store
            .each_key_periods(Granularity::Minute, EVER, after, 3)
            .await
            .unwrap();
        paged.extend(rows);
        after = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(paged, whole);
}

/// A collector that is told absolute figures, breaks off, and goes on where it stood.
#[derive(Default)]
struct Collector {
    sequence: u64,
    minutes: BTreeMap<(KeyId, HistoryId, Minute), Tally>,
    totals: BTreeMap<KeyId, Tally>,
}

impl Collector {
    async fn catch_up(&mut self, store: &Arc<Store>) {
        let bookings = store.bookings_after(self.sequence, None).await.unwrap();
        assert!(bookings.next.is_none());
        for key in bookings.keys {
            let id = KeyId(key.key_id);
            self.totals.insert(id, key.total);
            for one in key.minutes {
                self.minutes.insert((id, one.history, one.minute), one.tally);
            }
        }
        self.sequence = bookings.sequence;
    }
}

#[tokio::test]
async fn a_collector_books_everything_once() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let keys = [create(&store, "a").await, create(&store, "b").await];
    let mut collector = Collector::default();
    for step in 0..40_i64 {
        lab.clock
            .move_by(TimeDelta::seconds(if step == 20 { -7_200 } else { 25 }));
        lab.kernel.pass(PORTS[(step % 2) as usize], step as u64 + 1);
        if step % 3 == 0 {
            sample(&lab, &store);
        } else {
            store.book().await.unwrap();
        }
        if step == 25 {
            store.reset_history(keys[0].id).await.unwrap();
        }
        if step % 7 == 0 {
            collector.catch_up(&store).await;
        }
    }
    store.delete_key(keys[1].id).await.unwrap();
    store.book().await.unwrap();
    collector.catch_up(&store).await;
    let of_key = |key: &Key| {
        let minutes = collector.minutes.iter().filter(|((id, ..), _)| *id == key.id);
        Tally::sum(minutes.map(|(_, tally)| tally)).traffic
    };
    for (key, port) in keys.iter().zip(PORTS) {
        assert_eq!(of_key(key), lab.kernel.read(port));
        assert_eq!(collector.totals[&key.id].traffic, lab.kernel.read(port));
    }

    let snapshot = store.booking_snapshot().await.unwrap();
    assert_eq!((snapshot.sequence, snapshot.keys.len()), (collector.sequence, 1));
    let ahead = store.bookings_after(collector.sequence + 1, None).await;
    assert!(matches!(ahead, Err(StoreError::NoSuchBooking(_))), "{ahead:?}");
    // What is older than is kept cannot be followed any more.
    lab.clock.move_by(TimeDelta::days(3));
    lab.kernel.pass(10_001, 1);
    store.book().await.unwrap();
    let first_kept = FirstKept {
        commit: Some(Minute::of(lab.clock.now())),
        ..FirstKept::default()
    };
    store.clean_up(first_kept).await.unwrap();
    let expired = store.bookings_after(collector.sequence - 1, None).await;
    assert!(matches!(expired, Err(StoreError::BookingsExpired(_))), "{expired:?}");
    collector.catch_up(&store).await;
    assert_eq!(collector.totals[&keys[0].id].traffic, lab.kernel.read(10_001));
}

fn cycle(rule: &str, zone: &str) -> BillingCycle {
    BillingCycle {
        rule: rule.parse().unwrap(),
        zone: zone.parse().unwrap(),
    }
}

/// The running cycle begins with what is still known: minutes, hours before these, days before those.
#[tokio::test]
async fn a_cycle_that_is_set_late_begins_with_what_is_known() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    for day in 1..=20 {
        for hour in [1, 13] {
            lab.clock.set(&format!("2026-04-{day:02}T{hour:02}:30:00Z"));
            lab.kernel.pass(10_001, 1);
            store.book().await.unwrap();
        }
    }
    let at = |time: &str| time.parse::<DateTime<Utc>>().unwrap();
    let calendar = Calendar::new(chrono_tz::Tz::UTC);
    let first_kept = FirstKept {
        minute: Some(calendar.minute(at("2026-04-19T13:45:00Z"))),
        hour: Some(calendar.hour(at("2026-04-15T05:00:00Z"))),
        ..FirstKept::default()
    };
    store.clean_up(first_kept).await.unwrap();
    let usage = |cycle: BillingCycle| {
        let (store, id) = (Arc::clone(&store), key.id);
        async move {
            store.set_cycle(id, Some(cycle)).await.unwrap();
            let (_, cycles) = store.cycles(id, 1).await.unwrap();
            cycles[0].usage.traffic.rx_bytes
        }
    };
    assert_eq!(usage(cycle("monthly:1", "UTC")).await, 40);
    // From 5 April: days, then hours, then minutes, none twice.
    assert_eq!(usage(cycle("monthly:5", "UTC")).await, 32);
    assert_eq!(usage(cycle("monthly:18", "UTC")).await, 6);
    // A day that began at 18:30 UTC on the 17th: by the hour.
    assert_eq!(usage(cycle("monthly:18", "Asia/Kolkata")).await, 6);
    assert_eq!(usage(cycle("days:1:2026-01-01", "UTC")).await, 2);

    lab.kernel.pass(10_001, 100);
    store.reset_history(key.id).await.unwrap();
    lab.clock.set("2026-04-21T00:00:00Z");
    lab.kernel.pass(10_001, 1_000);
    for _ in 0..2 {
        let (_, cycles) = store.cycles(key.id, 2).await.unwrap();
        let usage: Vec<_> = cycles.iter().map(|cycle| cycle.usage.traffic.rx_bytes).collect();
        assert_eq!(usage, [1_000, 102], "a history reset takes nothing from a cycle");
        store.book().await.unwrap();
    }
    store.set_cycle(key.id, None).await.unwrap();
    lab.kernel.pass(10_001, 5);
    let (key, cycles) = store.cycles(key.id, 1).await.unwrap();
    assert_eq!((key.cycle, cycles[0].usage.traffic.rx_bytes), (None, 1_000));
}

/// A commit in the middle of a read gives neither more nor less.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_of_one_state_while_commits_are_made() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for _ in 0..300 {
                store.book().await.unwrap();
            }
        }
    });
    let mut passed = 0;
    while !writer.is_finished() {
        lab.kernel.pass(10_001, 1);
        passed += 1;
        let total = store.state().key_history(key.id).unwrap().total.traffic;
        assert_eq!(total, lab.kernel.read(10_001));
        let days = bytes_by(&store, &key, Granularity::Day).await;
        assert_eq!(days, named(&[("2026-03-28", passed)]));
    }
    writer.await.unwrap();
}

/// What was booked after a backup is booked again under other minutes: a position from before the restore leads nowhere.
#[tokio::test]
async fn a_restore_sends_followers_to_a_snapshot() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    lab.kernel.pass(10_001, 1);
    store.book().await.unwrap();
    store.close().await.unwrap();
    let backup = lab.folder.path().join("backup.db");
    std::fs::copy(lab.folder.path().join("ledger.db"), &backup).unwrap();
    let store = Arc::new(lab.start());
    let mut collector = Collector::default();
    for _ in 0..5 {
        lab.kernel.pass(10_001, 1);
        store.book().await.unwrap();
        collector.catch_up(&store).await;
    }
    store.close().await.unwrap();

    portmeter::store::restore(&backup, lab.folder.path(), Utc::now(), &mut |_| {}).unwrap();
    lab.kernel.pass(10_001, 1);
    let store = Arc::new(lab.start());
    let followed = store.bookings_after(collector.sequence, None).await;
    assert!(matches!(followed, Err(StoreError::BookingsExpired(_))), "{followed:?}");
    let snapshot = store.booking_snapshot().await.unwrap();
    assert_eq!(snapshot.keys[0].total.traffic, lab.kernel.read(10_001));
    let mut collector = Collector {
        sequence: snapshot.sequence,
        ..Collector::default()
    };
    lab.kernel.pass(10_001, 1);
    store.book().await.unwrap();
    collector.catch_up(&store).await;
    assert_eq!(collector.totals[&key.id].traffic, lab.kernel.read(10_001));
}
