//! Keys, ports and current figures over real SQLite and counters that the test sets: once, to the right key, across
//! restarts.

mod support;

use std::sync::Arc;

use portmeter::counters::{Counter, CounterReader};
use portmeter::store::{Key, KeyUpdate, NewKey, StoreError};
use proptest::prelude::*;
use tempfile::TempDir;

use support::{FakeKernel, Lab, PORTS, create, traffic};

#[tokio::test]
async fn keys_get_the_lowest_free_ports_up_to_the_limit() {
    let (lab, store) = {
        let lab = Lab::new();
        let store = lab.start();
        (lab, store)
    };
    lab.held.0.lock().unwrap().insert(10_002);
    let ports = [
        create(&store, "a").await.port,
        create(&store, "b").await.port,
        create(&store, "c").await.port,
    ];
    assert_eq!(ports, [Some(10_001), Some(10_003), Some(10_004)]);
    let fourth = store
        .create_key(NewKey {
            name: "d".into(),
            ..NewKey::default()
        })
        .await;
    assert!(matches!(fourth, Err(StoreError::NoAvailablePort)), "{fourth:?}");
    lab.held.0.lock().unwrap().clear();
    assert_eq!(create(&store, "d").await.port, Some(10_002));
    let fifth = store
        .create_key(NewKey {
            name: "e".into(),
            ..NewKey::default()
        })
        .await;
    assert!(matches!(fifth, Err(StoreError::KeyLimitReached(4))), "{fifth:?}");
    assert_eq!(store.snapshot().entries.len(), 4);
}

#[tokio::test]
async fn keys_made_at_the_same_instant_never_share_a_port() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let calls: Vec<_> = (0..8)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store
                    .create_key(NewKey {
                        name: number.to_string(),
                        ..NewKey::default()
                    })
                    .await
            })
        })
        .collect();
    let mut ports = Vec::new();
    for call in calls {
        if let Ok(key) = call.await.unwrap() {
            ports.push(key.port.unwrap());
        }
    }
    ports.sort_unstable();
    assert_eq!(ports, PORTS);
}

#[tokio::test]
async fn a_new_key_on_a_used_port_starts_at_zero() {
    let lab = Lab::new();
    let store = lab.start();
    let first = create(&store, "first").await;
    lab.kernel.pass(10_001, 1_000);
    assert_eq!(lab.shown(&store, &first), traffic(1_000));
    store.delete_key(first.id).await.unwrap();
    lab.kernel.pass(10_001, 500);
    let second = create(&store, "second").await;
    assert_eq!(
        (second.port, lab.shown(&store, &second)),
        (Some(10_001), Counter::default())
    );
    lab.kernel.pass(10_001, 7);
    assert_eq!(lab.shown(&store, &second), traffic(7));
    assert!(matches!(store.delete_key(first.id).await, Err(StoreError::KeyNotFound)));
}

/// The whole ledger adds up to the kernel's counter, whoever had the port: deletion books the key's last bytes and
/// connections, and they stay in the sum.
#[tokio::test]
async fn what_deleted_keys_and_bare_ports_carried_stays_in_the_ledger() {
    let lab = Lab::new();
    let store = lab.start();
    lab.kernel.pass(10_001, 5);
    let key = create(&store, "key").await;
    lab.kernel.pass(10_001, 100);
    store.book().await.unwrap();
    lab.kernel.pass(10_001, 20);
    store.delete_key(key.id).await.unwrap();
    lab.kernel.pass(10_001, 7);
    store.close().await.unwrap();
    assert_eq!(sum_of("deleted_key_totals", &lab), traffic(100) + traffic(20));
    assert_eq!(sum_of("port_totals", &lab), traffic(5) + traffic(7));
    assert_eq!(sum_of("checkpoints", &lab), lab.kernel.read(10_001));
}

/// The figures of a table, as another program reads them from the file.
fn sum_of(table: &str, lab: &Lab) -> Counter {
    let ledger = rusqlite::Connection::open(lab.folder.path().join("ledger.db")).unwrap();
    let sql = format!(
        "SELECT sum(rx_bytes), sum(rx_packets), sum(tx_bytes), sum(tx_packets), sum(connections_opened) FROM {table}"
    );
    let sum = |row: &rusqlite::Row<'_>| {
        Ok(Counter {
            rx_bytes: row.get::<_, i64>(0)?.cast_unsigned(),
            rx_packets: row.get::<_, i64>(1)?.cast_unsigned(),
            tx_bytes: row.get::<_, i64>(2)?.cast_unsigned(),
            tx_packets: row.get::<_, i64>(3)?.cast_unsigned(),
            connections_opened: row.get::<_, i64>(4)?.cast_unsigned(),
        })
    };
    ledger.query_row(&sql, [], sum).unwrap()
}

#[tokio::test]
async fn a_reset_shows_zero_at_once_and_loses_nothing() {
    let lab = Lab::new();
    let store = lab.start();
    let key = create(&store, "key").await;
    lab.kernel.pass(10_001, 100);
    store.reset_traffic(key.id).await.unwrap();
    assert_eq!(lab.shown(&store, &key), Counter::default());
    lab.kernel.pass(10_001, 20);
    assert_eq!(lab.shown(&store, &key), traffic(20));
    store.book().await.unwrap();
    let snapshot = store.snapshot();
    let entry = snapshot.find(key.uuid).unwrap();
    assert_eq!(entry.figures.booked.traffic, traffic(100) + traffic(20));
    assert_eq!(lab.shown(&store, &key), traffic(20));
}

#[tokio::test]
async fn a_restart_books_what_passed_meanwhile_once() {
    let lab = Lab::new();
    let store = lab.start();
    let key = create(&store, "key").await;
    lab.kernel.pass(10_001, 1);
    store.book().await.unwrap();
    lab.kernel.pass(10_001, 2);
    drop(store); // as kill -9 does: no last booking
    lab.kernel.pass(10_001, 4);
    for _ in 0..3 {
        let store = lab.start();
        assert_eq!(lab.shown(&store, &key), traffic(1) + traffic(2) + traffic(4));
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn new_maps_start_at_zero_and_add_up() {
    let mut lab = Lab::new();
    let store = lab.start();
    let key = create(&store, "key").await;
    lab.kernel.pass(10_001, 1_000);
    store.close().await.unwrap();
    lab.kernel = FakeKernel::new();
    lab.kernel.pass(10_001, 5);
    let store = lab.start();
    assert_eq!(lab.shown(&store, &key), traffic(1_000) + traffic(5));
}

#[tokio::test]
async fn another_ledger_never_books_what_one_has_booked() {
    let lab = Lab::new();
    let first = lab.start();
    let key = create(&first, "key").await;
    lab.kernel.pass(10_001, 1_000);
    first.close().await.unwrap();

    let other_folder = TempDir::new().unwrap();
    let other = lab.start_in(other_folder.path());
    let other_key = create(&other, "other").await;
    lab.kernel.pass(10_001, 30);
    assert_eq!(lab.shown(&other, &other_key), traffic(30));
    other.close().await.unwrap();

    let first = lab.start();
    assert_eq!(
        lab.shown(&first, &key),
        traffic(1_000),
        "the first ledger booked the other one's bytes"
    );
}

#[tokio::test]
async fn a_disabled_key_keeps_its_port_and_its_figures() {
    let lab = Lab::new();
    let store = lab.start();
    let key = create(&store, "key").await;
    lab.kernel.pass(10_001, 9);
    let changed = store
        .update_key(
            key.id,
            KeyUpdate {
                name: Some("renamed".into()),
                is_active: Some(false),
                alias: None,
            },
        )
        .await
        .unwrap();
    assert_eq!(
        (changed.name.as_str(), changed.is_active, changed.port),
        ("renamed", false, key.port)
    );
    assert_eq!(lab.shown(&store, &key), traffic(9));
    store.close().await.unwrap();
    let store = lab.start();
    assert_eq!(
        **store.snapshot().entries.iter().map(|entry| &entry.key).next().unwrap(),
        changed
    );
}

#[tokio::test]
async fn ports_can_be_reset_and_given_anew() {
    let lab = Lab::new();
    let store = lab.start();
    let (first, second) = (create(&store, "first").await, create(&store, "second").await);
    let disable = KeyUpdate {
        is_active: Some(false),
        ..KeyUpdate::default()
    };
    store.update_key(second.id, disable).await.unwrap();
    lab.kernel.pass(10_001, 3);
    assert_eq!(store.reset_ports().await.unwrap(), 2);
    lab.kernel.pass(10_001, 1_000);
    assert_eq!(
        lab.shown(&store, &first),
        traffic(3),
        "bytes after the reset belong to no key"
    );
    assert_eq!(store.assign_ports().await.unwrap(), 1);
    lab.kernel.pass(10_001, 4);
    assert_eq!(lab.shown(&store, &first), traffic(3) + traffic(4));
    assert_eq!(store.snapshot().find(second.id.0).unwrap().key.port, None);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let store = Lab::new().start();
    store.close().await.unwrap();
    assert!(matches!(store.book().await, Err(StoreError::Closed)));
}

/// What can happen to a store, in any order.
#[derive(Debug, Clone)]
enum Event {
    Pass(usize, u16),
    Create,
    Delete(usize),
    Reset(usize),
    Book,
    Kill,
    Stop,
    LoseMaps,
    ResetPorts,
    AssignPorts,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..PORTS.len(), any::<u16>()).prop_map(|(port, bytes)| Event::Pass(port, bytes)),
        2 => Just(Event::Create),
        1 => (0..PORTS.len()).prop_map(Event::Delete),
        1 => (0..PORTS.len()).prop_map(Event::Reset),
        2 => Just(Event::Book),
        1 => Just(Event::Kill),
        1 => Just(Event::Stop),
        1 => Just(Event::LoseMaps),
        1 => Just(Event::ResetPorts),
        1 => Just(Event::AssignPorts),
    ]
}

/// The plain bookkeeping that the store must agree with: each passing byte goes to whoever has the port at that
/// moment, at once.
#[derive(Default)]
struct Model {
    keys: Vec<(Key, Counter)>,
}

impl Model {
    fn pass(&mut self, port: u16, bytes: u64) {
        if let Some((_, shown)) = self.keys.iter_mut().find(|(key, _)| key.port == Some(port)) {
            *shown += traffic(bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_is_booked_once_whatever_happens(events in proptest::collection::vec(event(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(events));
    }
}

async fn play(events: Vec<Event>) {
    let mut lab = Lab::new();
    let mut store = lab.start();
    let mut model = Model::default();
    for event in events {
        match event {
            Event::Pass(port, bytes) => {
                lab.kernel.pass(PORTS[port], bytes.into());
                model.pass(PORTS[port], bytes.into());
            }
            Event::Create => {
                if let Ok(key) = store
                    .create_key(NewKey {
                        name: "key".into(),
                        ..NewKey::default()
                    })
                    .await
                {
                    model.keys.push((key, Counter::default()));
                }
            }
            Event::Delete(which) if which < model.keys.len() => {
                store.delete_key(model.keys.remove(which).0.id).await.unwrap();
            }
            Event::Reset(which) if which < model.keys.len() => {
                model.keys[which].1 = Counter::default();
                store.reset_traffic(model.keys[which].0.id).await.unwrap();
            }
            Event::Delete(_) | Event::Reset(_) => {}
            Event::Book => store.book().await.unwrap(),
            Event::Kill => {
                drop(store);
                store = lab.start();
            }
            Event::Stop => {
                store.close().await.unwrap();
                store = lab.start();
            }
            Event::LoseMaps => {
                store.close().await.unwrap();
                lab.kernel = FakeKernel::new();
                store = lab.start();
            }
            Event::ResetPorts => {
                store.reset_ports().await.unwrap();
                model.keys.iter_mut().for_each(|(key, _)| key.port = None);
            }
            Event::AssignPorts => {
                store.assign_ports().await.unwrap();
                for (key, _) in &mut model.keys {
                    key.port = store.snapshot().find(key.id.0).unwrap().key.port;
                }
            }
        }
        for (key, shown) in &model.keys {
            assert_eq!(lab.shown(&store, key), *shown);
        }
    }
}
