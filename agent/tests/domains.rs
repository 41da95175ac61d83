//! Visited domains over real SQLite: booked once, bounded, forgotten in time, and gone when nobody wants them any more.

mod support;

use std::fs;
use std::sync::Arc;

use portmeter::calendar::Day;
use portmeter::ledger::Clock as _;
use portmeter::services::{DomainQuery, DomainService};
use portmeter::store::{DOMAINS_PER_DAY_MAX, Key, OTHER, Range, Store, Visits};
use portmeter::xray::access_log::Place;
use uuid::Uuid;

use support::{Lab, create};

const EVER: Range = Range {
    first: i64::MIN,
    last: i64::MAX,
};

fn place(position_bytes: u64) -> Place {
    Place {
        inode: u64::MAX - 1,
        position_bytes,
    }
}

/// The lab's present day.
fn today(lab: &Lab, store: &Store) -> Day {
    store.calendar().day(lab.clock.now())
}

fn visits(rows: &[(Day, Uuid, &str, u64)]) -> Visits {
    let rows = rows.iter();
    rows.map(|(day, uuid, domain, connections)| ((*day, *uuid, (*domain).to_owned()), *connections))
        .collect()
}

async fn rows(store: &Arc<Store>, key: Option<&Key>) -> Vec<(Day, String, u64)> {
    let rows = store.domains(EVER, key.map(|key| key.id)).await.unwrap();
    rows.into_iter()
        .map(|row| (row.day, row.domain, row.connections))
        .collect()
}

#[tokio::test]
async fn rows_add_up_and_the_place_goes_with_them_also_over_a_restart() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let (one, other) = (create(&store, "one").await, create(&store, "other").await);
    let day = today(&lab, &store);
    assert_eq!(store.domain_log_place().await.unwrap(), None);
    for position in [100, 200] {
        let visits = visits(&[
            (day, one.uuid, "a.example", 2),
            (day, other.uuid, "a.example", 1),
            (day, Uuid::from_u128(1), "nobodys.example", 1),
        ]);
        store.book_domains(visits, place(position), day).await.unwrap();
    }
    store.close().await.unwrap();
    let store = Arc::new(lab.start());
    assert_eq!(store.domain_log_place().await.unwrap(), Some(place(200)));
    assert_eq!(rows(&store, Some(&one)).await, [(day, "a.example".to_owned(), 4)]);
    assert_eq!(rows(&store, None).await.len(), 2);
    // What is removed with its key is gone.
    store.delete_key(one.id).await.unwrap();
    assert_eq!(rows(&store, None).await, [(day, "a.example".to_owned(), 2)]);
}

#[tokio::test]
async fn days_have_their_time() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    let day = today(&lab, &store);
    let rows_of = |age: i32| visits(&[(day.plus_days(-age), key.uuid, "a.example", 1)]);
    for age in [3, 2, 1, 0] {
        store
            .book_domains(rows_of(age), place(1), day.plus_days(-3))
            .await
            .unwrap();
    }
    store
        .book_domains(rows_of(2), place(2), day.plus_days(-1))
        .await
        .unwrap();
    let days: Vec<_> = rows(&store, None).await.into_iter().map(|(day, ..)| day).collect();
    assert_eq!(
        days,
        [day.plus_days(-1), day],
        "and what is too old when it comes is not kept"
    );
}

#[tokio::test]
async fn a_key_has_so_many_domains_a_day_and_the_rest_together() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    let day = today(&lab, &store);
    let names: Vec<String> = (0..DOMAINS_PER_DAY_MAX + 10)
        .map(|number| format!("{number:05}.example"))
        .collect();
    let all: Vec<_> = names.iter().map(|name| (day, key.uuid, name.as_str(), 1)).collect();
    for position in [1, 2] {
        store.book_domains(visits(&all), place(position), day).await.unwrap();
    }
    let rows = rows(&store, None).await;
    assert_eq!(rows.len(), DOMAINS_PER_DAY_MAX + 1);
    assert_eq!(
        rows.iter().map(|(.., connections)| connections).sum::<u64>(),
        2 * all.len() as u64
    );
    let other = rows.iter().find(|(_, domain, _)| domain == OTHER).unwrap();
    assert_eq!(other.2, 20, "the same domains are beyond each time");
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_in_no_file() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    let day = today(&lab, &store);
    let secret = "visited-in-private.example";
    let visits = visits(&[(day, key.uuid, secret, 1)]);
    store.book_domains(visits, place(1), day).await.unwrap();
    let holds_secret = || {
        let files = fs::read_dir(lab.folder.path()).unwrap();
        let mut contents = files.map(|file| fs::read(file.unwrap().path()).unwrap_or_default());
        contents.any(|bytes| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
    };
    assert!(holds_secret(), "the check itself");
    assert!(store.forget_domains().await.unwrap());
    assert!(!holds_secret());
    assert_eq!(rows(&store, None).await, []);
    assert_eq!(store.domain_log_place().await.unwrap(), None);
    assert!(!store.forget_domains().await.unwrap(), "there is nothing left");
}

#[tokio::test]
async fn bytes_are_divided_among_domains_by_connections() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let (one, other) = (create(&store, "one").await, create(&store, "other").await);
    lab.kernel.pass(one.port.unwrap(), 1_000);
    store.book().await.unwrap();
    let day = today(&lab, &store);
    let booked = visits(&[
        (day, one.uuid, "a.example", 3),
        (day, one.uuid, "b.example", 1),
        (day, other.uuid, "a.example", 2),
    ]);
    store.book_domains(booked, place(1), day).await.unwrap();
    let bytes = {
        let shown = lab.shown(&store, &one);
        shown.rx_bytes + shown.tx_bytes
    };
    let domains = DomainService::new(Arc::clone(&store), true);
    let query = DomainQuery::default();
    let told = |usage: Vec<portmeter::services::DomainUsage>| -> Vec<_> {
        let one = |usage: portmeter::services::DomainUsage| {
            (usage.key_id, usage.domain, usage.connections, usage.estimated_bytes)
        };
        usage.into_iter().map(one).collect()
    };
    assert_eq!(
        told(domains.list(&query).await.unwrap()),
        [
            (None, "a.example".to_owned(), 5, bytes * 3 / 4),
            (None, "b.example".to_owned(), 1, bytes / 4),
        ]
    );
    let by_key = DomainQuery {
        by_key: true,
        limit: 1,
        ..query
    };
    assert_eq!(
        told(domains.list(&by_key).await.unwrap()),
        [
            (Some(one.id), "a.example".to_owned(), 3, bytes * 3 / 4),
            (Some(other.id), "a.example".to_owned(), 2, 0),
        ]
    );
    let uuid = other.uuid.to_string();
    let of_other = DomainQuery { key_id: &uuid, ..query };
    assert_eq!(
        told(domains.list(&of_other).await.unwrap()),
        [(None, "a.example".to_owned(), 2, 0)]
    );
    let before = DomainQuery {
        last_day: "2001-01-01",
        ..query
    };
    assert_eq!(domains.list(&before).await.unwrap(), []);

    for bad in [
        DomainQuery { limit: 1_001, ..query },
        DomainQuery {
            first_day: "yesterday",
            ..query
        },
        DomainQuery {
            key_id: "nobody",
            ..query
        },
    ] {
        for is_enabled in [true, false] {
            let domains = DomainService::new(Arc::clone(&store), is_enabled);
            assert!(domains.list(&bad).await.is_err(), "{bad:?}");
        }
    }
    let disabled = DomainService::new(Arc::clone(&store), false);
    assert_eq!(disabled.list(&query).await.unwrap(), []);
}
