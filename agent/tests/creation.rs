//! Creations that are asked for again, names that are to be unique, aliases, pages, and when keys were used: on the real
//! database file.

mod support;

use std::sync::Arc;

use chrono::TimeDelta;
use portmeter::counters::CounterReader;
use portmeter::ledger::Clock;
use portmeter::store::{Activity, Creation, Key, KeyUpdate, NewKey, Store, StoreError};
use support::{Lab, PORTS, create};

fn requested(name: &str, request_id: &str) -> NewKey {
    NewKey {
        name: name.to_owned(),
        request_id: Some(request_id.to_owned()),
        ..NewKey::default()
    }
}

async fn made(store: &Store, new: NewKey) -> Key {
    match store.create_key_once(new).await.unwrap() {
        Creation::Made(key) => key,
        Creation::Repeated(key) => panic!("{key:?} was there before"),
    }
}

#[tokio::test]
async fn a_request_makes_one_key_however_often_it_comes() {
    let lab = Lab::new();
    let store = lab.start();
    let key = made(&store, requested("a", "one")).await;
    let other = made(&store, requested("a", "two")).await;
    assert_ne!(key.id, other.id, "another request is another key");
    let rename = KeyUpdate {
        name: Some("renamed".to_owned()),
        ..KeyUpdate::default()
    };
    let renamed = store.update_key(key.id, rename).await.unwrap();
    let again = store.create_key_once(requested("a", "one")).await.unwrap();
    assert_eq!(again, Creation::Repeated(renamed.clone()), "as it is now");
    store.close().await.unwrap();

    let store = lab.start();
    let again = store.create_key_once(requested("a", "one")).await.unwrap();
    assert_eq!(again, Creation::Repeated(renamed), "a restart forgets nothing");
    let reused = store.create_key_once(requested("b", "one")).await;
    assert!(matches!(reused, Err(StoreError::RequestIdReused)), "{reused:?}");
    assert_eq!(store.snapshot().entries.len(), 2);
}

#[tokio::test]
async fn a_request_is_remembered_for_a_day_and_no_longer() {
    let lab = Lab::new();
    let store = lab.start();
    let key = made(&store, requested("a", "one")).await;
    lab.clock.move_by(TimeDelta::hours(24) - TimeDelta::seconds(1));
    let again = store.create_key_once(requested("a", "one")).await.unwrap();
    assert!(matches!(again, Creation::Repeated(_)), "{again:?}");
    lab.clock.move_by(TimeDelta::seconds(1));
    let next = made(&store, requested("b", "one")).await;
    assert_ne!(next.id, key.id);
    store.close().await.unwrap();
    let ledger = rusqlite::Connection::open(lab.folder.path().join("ledger.db")).unwrap();
    let count: i64 = ledger
        .query_row("SELECT count(*) FROM key_requests", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 1, "the old one is gone");
}

#[tokio::test]
async fn a_deleted_key_is_not_made_again_and_one_that_was_taken_back_is() {
    let lab = Lab::new();
    let store = lab.start();
    let key = made(&store, requested("a", "one")).await;
    store.delete_key(key.id).await.unwrap();
    let again = store.create_key_once(requested("a", "one")).await;
    assert!(matches!(again, Err(StoreError::CreatedKeyDeleted)), "{again:?}");

    let key = made(&store, requested("a", "two")).await;
    store.take_key_back(key.id).await.unwrap();
    assert_ne!(made(&store, requested("a", "two")).await.id, key.id);
}

#[tokio::test]
async fn of_many_creations_of_a_unique_name_one_succeeds() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let unique = |name: &str| NewKey {
        name: name.to_owned(),
        is_name_unique: true,
        ..NewKey::default()
    };
    let calls = (0..PORTS.len()).map(|_| {
        let (store, new) = (Arc::clone(&store), unique("a@b"));
        tokio::spawn(async move { store.create_key(new).await })
    });
    let mut made = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(key) => made.push(key),
            Err(StoreError::KeyNameTaken(name)) => assert_eq!(name, "a@b"),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(made.len(), 1);
    assert_eq!(
        create(&store, "a@b").await.name,
        "a@b",
        "who does not ask may have it too"
    );
    for key in [made[0].id, store.snapshot().entries[1].key.id] {
        store.delete_key(key).await.unwrap();
    }
    store.create_key(unique("a@b")).await.unwrap();
}

#[tokio::test]
async fn an_alias_is_kept_beside_everything_else() {
    let lab = Lab::new();
    let store = lab.start();
    let key = create(&store, "a").await;
    let revision = store.snapshot().keys_revision;
    let alias = |text: &str| KeyUpdate {
        alias: Some(text.to_owned()),
        ..KeyUpdate::default()
    };
    let named = store.update_key(key.id, alias("Zoë")).await.unwrap();
    let expected = Key {
        alias: "Zoë".to_owned(),
        ..key.clone()
    };
    assert_eq!(named, expected);
    assert!(store.snapshot().keys_revision > revision, "lists have to be read anew");
    store.close().await.unwrap();
    let store = lab.start();
    assert_eq!(store.snapshot().entries[0].key.alias, "Zoë");
    assert_eq!(store.update_key(key.id, alias("")).await.unwrap(), key);
}

#[tokio::test]
async fn pages_keep_their_places_while_keys_come_and_go() {
    let lab = Lab::new();
    let store = lab.start();
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        keys.push(create(&store, name).await);
    }
    let page = |after, limit| {
        let snapshot = store.snapshot();
        let (entries, has_more) = snapshot.page(after, limit);
        let names: Vec<String> = entries.iter().map(|entry| entry.key.name.clone()).collect();
        (
            names.join(""),
            has_more,
            entries.last().map_or(after, |entry| entry.position),
        )
    };
    let (names, has_more, place) = page(0, 2);
    assert_eq!((names.as_str(), has_more), ("ab", true));
    store.delete_key(keys[0].id).await.unwrap();
    store.delete_key(keys[1].id).await.unwrap();
    create(&store, "d").await;
    let (names, has_more, place) = page(place, 2);
    assert_eq!((names.as_str(), has_more), ("cd", false));
    assert_eq!(page(place, 2), (String::new(), false, place));
    store.delete_key(store.snapshot().entries[1].key.id).await.unwrap();
    store.close().await.unwrap();

    let store = lab.start();
    create(&store, "e").await;
    let snapshot = store.snapshot();
    let (entries, _) = snapshot.page(place, 2);
    assert_eq!(entries[0].key.name, "e", "a place is nobody's for a second time");
    assert_eq!(snapshot.page(0, usize::MAX).0.len(), 2);
}

#[tokio::test]
async fn days_of_use_are_those_of_the_present_history_and_of_this_moment() {
    let lab = Lab::in_zone(chrono_tz::Asia::Tokyo);
    // 2026-03-28T12:00:00Z is that day in Tokyo too.
    let store = Arc::new(lab.start());
    let (used, unused) = (create(&store, "used").await, create(&store, "unused").await);
    let activities = async || -> Vec<(u32, Option<String>)> {
        let (histories, _) = store.histories_with_activity().await.unwrap();
        assert_eq!((histories[0].0.key.id, histories[1].0.key.id), (used.id, unused.id));
        let day = |day: i64| portmeter::calendar::Day(day as i32).to_string();
        let told = |activity: Activity| (activity.active_days, activity.first_active_day.map(day));
        histories.into_iter().map(|(_, activity)| told(activity)).collect()
    };
    let first = |count, day: &str| (count, Some(day.to_owned()));
    assert_eq!(activities().await, [(0, None), (0, None)]);

    lab.kernel.pass(10_001, 5);
    assert_eq!(activities().await[0], first(1, "2026-03-28"), "read, not booked");
    store.book().await.unwrap();
    assert_eq!(activities().await[0], first(1, "2026-03-28"));
    lab.kernel.pass(10_001, 5);
    assert_eq!(
        activities().await[0],
        first(1, "2026-03-28"),
        "booked and more: one day"
    );

    lab.clock.set("2026-03-28T14:59:00Z");
    lab.kernel.pass(10_001, 5);
    sample(&lab, &store);
    lab.clock.set("2026-03-28T15:00:00Z");
    lab.kernel.pass(10_001, 5);
    assert_eq!(
        activities().await,
        [first(2, "2026-03-28"), (0, None)],
        "Tokyo's next day"
    );
    store.book().await.unwrap();
    assert_eq!(activities().await[0], first(2, "2026-03-28"));

    store.reset_history(used.id).await.unwrap();
    assert_eq!(activities().await[0], (0, None));
    lab.kernel.pass(10_001, 5);
    assert_eq!(
        activities().await[0],
        first(1, "2026-03-29"),
        "the day of a reset counts anew"
    );
    store.book().await.unwrap();
    assert_eq!(activities().await, [first(1, "2026-03-29"), (0, None)]);
}

fn sample(lab: &Lab, store: &Store) {
    let connections = |port| lab.kernel.active_connections(port);
    store.samples().sample(lab.clock.now(), &*lab.kernel, &connections);
}
