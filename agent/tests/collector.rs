//! The collector paused and resumed over real SQLite: the kernel counts on, nothing is lost or booked twice, and the
//! settings are kept.

mod support;

use std::sync::Arc;

use portmeter::counters::CounterReader;
use portmeter::ledger::Clock;
use portmeter::settings::{Asked, Decided, Given, Stored, decide};
use portmeter::store::{EventKind, Granularity, Key, NewEvent, Range, Store};

use support::{Lab, create, set_collecting, traffic};

const EVER: Range = Range {
    first: i64::MIN,
    last: i64::MAX,
};

/// What the clock does every second and every few.
async fn tick(lab: &Lab, store: &Store) {
    let connections = |port| lab.kernel.active_connections(port);
    store.samples().sample(lab.clock.now(), &*lab.kernel, &connections);
    store.book_by_clock().await.unwrap();
}

/// A key's received bytes by day, as an answer shows them.
async fn days(store: &Arc<Store>, key: &Key) -> Vec<u64> {
    let page = store
        .key_periods(key.id, Granularity::Day, EVER, usize::MAX)
        .await
        .unwrap();
    page.rows.iter().map(|(_, tally)| tally.traffic.rx_bytes).collect()
}

/// The events of an action: type and message.
fn events(lab: &Lab, action: &str) -> Vec<(String, String)> {
    let ledger = rusqlite::Connection::open(lab.folder.path().join("ledger.db")).unwrap();
    let mut statement = ledger
        .prepare("SELECT type, message FROM events WHERE action = ?1 ORDER BY id")
        .unwrap();
    let rows = statement.query_map([action], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_pause_over_traffic_loses_no_byte() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    lab.kernel.pass(10_001, 1);
    tick(&lab, &store).await;
    lab.kernel.pass(10_001, 20);
    // What passed before the pause is before it, though the clock had not come to it.
    set_collecting(&store, false).await;
    lab.clock.set("2026-03-28T18:00:00Z");
    lab.kernel.pass(10_001, 300);
    lab.kernel.hold(10_001, 5);
    tick(&lab, &store).await;
    assert_eq!(days(&store, &key).await, [21], "histories stand still");
    assert_eq!(lab.shown(&store, &key).rx_bytes, 321, "live figures go on");
    let history = store.state().key_history(key.id).unwrap();
    assert_eq!((history.total.traffic.rx_bytes, history.total.max_connections), (21, 1));

    lab.clock.set("2026-03-30T06:00:00Z");
    lab.kernel.pass(10_001, 4_000);
    set_collecting(&store, true).await;
    assert_eq!(days(&store, &key).await, [21, 4_300]);
    lab.kernel.pass(10_001, 50_000);
    tick(&lab, &store).await;
    assert_eq!(days(&store, &key).await, [21, 54_300]);
    assert_eq!(lab.shown(&store, &key).rx_bytes, lab.kernel.read(10_001).rx_bytes);
    for granularity in Granularity::ALL {
        let page = store.key_periods(key.id, granularity, EVER, usize::MAX).await.unwrap();
        let sum: u64 = page.rows.iter().map(|(_, tally)| tally.traffic.rx_bytes).sum();
        assert_eq!(sum, 54_321, "{granularity:?}");
    }
    let gaps = events(&lab, "gap");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(
        gaps[0].0 == "collector"
            && gaps[0]
                .1
                .starts_with("12900 bytes on 1 ports passed between 2026-03-28T12:00:00Z and 2026-03-30T06:00:00Z"),
        "{gaps:?}"
    );
}

#[tokio::test]
async fn keys_that_change_during_a_pause_have_exact_edges() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let (kept, gone) = (create(&store, "kept").await, create(&store, "gone").await);
    set_collecting(&store, false).await;
    lab.clock.set("2026-03-28T13:00:00Z");
    lab.kernel.pass(10_001, 1);
    lab.kernel.pass(10_002, 20);
    store.delete_key(gone.id).await.unwrap();
    lab.kernel.pass(10_002, 300);
    let next = create(&store, "next").await;
    assert_eq!(next.port, Some(10_002));
    lab.kernel.pass(10_002, 4_000);
    store.reset_traffic(kept.id).await.unwrap();
    lab.kernel.pass(10_001, 50_000);
    assert_eq!(lab.shown(&store, &kept), traffic(50_000));
    assert_eq!(days(&store, &kept).await, [1], "a reset books what was there");
    store.reset_history(kept.id).await.unwrap();
    set_collecting(&store, true).await;
    assert_eq!(lab.shown(&store, &next), traffic(4_000));
    assert_eq!(
        (days(&store, &kept).await, days(&store, &next).await),
        (vec![], vec![4_000])
    );
    let all = store.all_periods(Granularity::Day, EVER, usize::MAX).await.unwrap();
    let bytes: Vec<u64> = all.rows.iter().map(|(_, day)| day.tally.traffic.rx_bytes).collect();
    assert_eq!(bytes, [54_021], "all but what passed between two keys");
}

#[tokio::test]
async fn a_pause_goes_on_over_restarts_and_kills() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    set_collecting(&store, false).await;
    lab.kernel.pass(10_001, 1);
    drop(store);
    lab.clock.set("2026-03-28T13:00:00Z");
    let store = Arc::new(lab.start());
    tick(&lab, &store).await;
    assert!(!store.snapshot().settings.is_collecting());
    assert!(days(&store, &key).await.is_empty(), "a start books nothing");
    assert_eq!(lab.shown(&store, &key), traffic(1));
    assert_eq!(store.snapshot().all_booked_at, None);

    lab.kernel.pass(10_001, 20);
    store.close().await.unwrap();
    let store = Arc::new(lab.start());
    assert_eq!(
        days(&store, &key).await,
        [21],
        "a stop books everything: the maps may not come back"
    );
    lab.kernel.pass(10_001, 300);
    tick(&lab, &store).await;
    assert_eq!(days(&store, &key).await, [21]);
    // A change of a key is no reading of all counters: the gap begins before it.
    create(&store, "other").await;
    drop(store);
    lab.clock.set("2026-03-28T15:00:00Z");
    let store = Arc::new(lab.start());
    set_collecting(&store, true).await;
    assert_eq!(days(&store, &key).await, [321]);
    let gaps = events(&lab, "gap");
    let last = &gaps.last().unwrap().1;
    assert!(
        last.contains("between 2026-03-28T13:00:00Z and 2026-03-28T15:00:00Z"),
        "{gaps:?}"
    );
    drop(store);
    let store = Arc::new(lab.start());
    assert!(store.snapshot().settings.is_collecting());
}

#[tokio::test]
async fn a_run_books_everything_once_and_is_noted_with_it() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let key = create(&store, "key").await;
    lab.kernel.pass(10_001, 10);
    lab.kernel.pass(10_004, 5);
    let event = |bytes: u64| NewEvent {
        kind: EventKind::Collector,
        action: "run_manual",
        message: bytes.to_string(),
        ..NewEvent::default()
    };
    assert_eq!(store.run_collector(event).await.unwrap(), 45, "of all ports, both ways");
    set_collecting(&store, false).await;
    lab.kernel.pass(10_001, 100);
    assert_eq!(store.run_collector(event).await.unwrap(), 300);
    assert_eq!(store.run_collector(event).await.unwrap(), 0);
    assert_eq!(days(&store, &key).await, [110]);
    assert_eq!(store.newest_day().await.unwrap().unwrap().to_string(), "2026-03-28");
    let told: Vec<String> = events(&lab, "run_manual")
        .into_iter()
        .map(|(_, message)| message)
        .collect();
    assert_eq!(told, ["45", "300", "0"]);
}

#[tokio::test]
async fn the_newest_day_is_one_with_a_figure() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    create(&store, "key").await;
    tick(&lab, &store).await;
    assert_eq!(store.newest_day().await.unwrap(), None);
    lab.kernel.pass(10_001, 1);
    assert_eq!(store.newest_day().await.unwrap().unwrap().to_string(), "2026-03-28");
    set_collecting(&store, false).await;
    lab.clock.set("2026-04-02T00:00:00Z");
    lab.kernel.pass(10_001, 1);
    assert_eq!(store.newest_day().await.unwrap().unwrap().to_string(), "2026-03-28");
    set_collecting(&store, true).await;
    assert_eq!(store.newest_day().await.unwrap().unwrap().to_string(), "2026-04-02");
}

#[tokio::test]
async fn settings_survive_a_restart_with_every_digit() {
    let lab = Lab::new();
    let store = lab.start();
    assert_eq!(
        *store.snapshot().settings,
        Stored {
            version: 1,
            ..Stored::default()
        }
    );
    let change = |store: &Store, text: &str| -> Decided {
        let mut asked = Asked::default();
        asked.json(text).unwrap();
        decide(&store.snapshot().settings, &Given::default(), asked).unwrap()
    };
    let text =
        r#"{"ui":{"theme":"light","eco_poll_sec":7,"mine":12345678901234567890123.50},"collector":{"enabled":false}}"#;
    let first = change(&store, text).stored;
    store.save_settings(first.clone(), Vec::new()).await.unwrap();
    assert_eq!((first.version, &*store.snapshot().settings), (2, &first));
    drop(store);
    let store = lab.start();
    assert_eq!(*store.snapshot().settings, first);
    assert_eq!(first.extra.to_text(), r#"{"ui":{"mine":12345678901234567890123.50}}"#);

    let second = change(&store, r#"{"ui":{"theme":"dark","mine":null}}"#).stored;
    store.save_settings(second.clone(), Vec::new()).await.unwrap();
    drop(store);
    let store = lab.start();
    assert_eq!((second.version, &*store.snapshot().settings), (3, &second));
    assert!(second.text("ui.theme").is_none(), "what is as unset is not stored");
}

/// A row of a later version, or one that somebody wrote, harms nobody.
#[tokio::test]
async fn a_stored_setting_that_nobody_knows_is_left_alone() {
    let lab = Lab::new();
    drop(lab.start());
    let path = lab.folder.path().join("ledger.db");
    let ledger = rusqlite::Connection::open(&path).unwrap();
    for (name, value) in [
        ("ui.theme", "\"blue\""),
        ("ui.later", "1"),
        ("ui.lang", "\"en\""),
        ("extra", "5"),
    ] {
        ledger
            .execute("INSERT INTO settings VALUES (?1, ?2)", (name, value))
            .unwrap();
    }
    drop(ledger);
    let store = lab.start();
    let settings = Arc::clone(&store.snapshot().settings);
    assert_eq!((settings.values.len(), settings.text("ui.lang")), (1, Some("en")));
    store.save_settings((*settings).clone(), Vec::new()).await.unwrap();
    drop(store);
    let ledger = rusqlite::Connection::open(&path).unwrap();
    let n_rows: i64 = ledger
        .query_row("SELECT count(*) FROM settings", [], |row| row.get(0))
        .unwrap();
    assert_eq!(n_rows, 4);
}
