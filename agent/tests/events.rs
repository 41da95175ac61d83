//! Events in the store and its service: each change tells its own in its transaction, they are read by filter and page,
//! followed without a gap, bounded, and hold no secret.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use portmeter::calendar::{BillingCycle, CycleRule};
use portmeter::services::EventService;
use portmeter::store::{
    Event, EventFilter, EventKind, EventSeverity, FirstKept, KeyId, KeyUpdate, NewEvent, RestoredClient,
    RestoredConfiguration, Store, back_up, restore,
};
use portmeter::xray::reality::Identity;
use portmeter_proto::reason::Reason;
use support::{Lab, create};
use uuid::Uuid;

/// Everything, newest first.
async fn all(store: &Store) -> Vec<Event> {
    let page = store.events(EventFilter::default(), None, 100_000).await.unwrap();
    assert!(!page.has_more);
    page.rows
}

/// What happened, oldest first.
async fn actions(store: &Store) -> Vec<String> {
    all(store).await.into_iter().rev().map(|event| event.action).collect()
}

fn note(action: &'static str, kind: EventKind, severity: EventSeverity, service: &'static str) -> NewEvent {
    NewEvent {
        kind,
        severity,
        service,
        action,
        message: "something happened".to_owned(),
        ..NewEvent::default()
    }
}

async fn append(store: &Store, count: usize) {
    for _ in 0..count {
        let event = note("test", EventKind::System, EventSeverity::Info, "agent");
        store.append_event(event).await.unwrap();
    }
}

#[tokio::test]
async fn every_change_of_a_key_is_told_once_and_in_order() {
    let lab = Lab::new();
    let store = lab.start();
    let key = create(&store, "alice").await;
    let update = KeyUpdate {
        name: Some("bob".to_owned()),
        ..KeyUpdate::default()
    };
    store.update_key(key.id, update).await.unwrap();
    let update = KeyUpdate {
        is_active: Some(false),
        ..KeyUpdate::default()
    };
    store.update_key(key.id, update).await.unwrap();
    let update = KeyUpdate {
        name: Some("bob".to_owned()),
        is_active: Some(false),
        ..KeyUpdate::default()
    };
    store.update_key(key.id, update).await.unwrap();
    let update = KeyUpdate {
        is_active: Some(true),
        ..KeyUpdate::default()
    };
    store.update_key(key.id, update).await.unwrap();
    let regenerated = store.regenerate_key(key.id).await.unwrap();
    store.reset_traffic(key.id).await.unwrap();
    store.reset_history(key.id).await.unwrap();
    let rule = CycleRule::monthly(1).unwrap();
    let zone = chrono_tz::Tz::UTC;
    store
        .set_cycle(key.id, Some(BillingCycle { rule, zone }))
        .await
        .unwrap();
    store.set_cycle(key.id, None).await.unwrap();
    store.reset_ports().await.unwrap();
    assert_eq!(store.assign_ports().await.unwrap(), 1);
    assert_eq!(
        store.assign_ports().await.unwrap(),
        0,
        "nothing was assigned, so nothing is told"
    );
    store.put_key_back(regenerated).await.unwrap();
    store.delete_key(key.id).await.unwrap();
    let taken_back = create(&store, "carol").await;
    store.take_key_back(taken_back.id).await.unwrap();
    assert!(store.delete_key(key.id).await.is_err());

    let expected = [
        ("add", EventSeverity::Info),
        ("update", EventSeverity::Info),
        ("update", EventSeverity::Info),
        ("update", EventSeverity::Info),
        ("kick", EventSeverity::Warning),
        ("reset_traffic", EventSeverity::Info),
        ("reset_history", EventSeverity::Warning),
        ("set_cycle", EventSeverity::Info),
        ("set_cycle", EventSeverity::Info),
        ("reset_ports", EventSeverity::Warning),
        ("assign_ports", EventSeverity::Info),
        ("take_back", EventSeverity::Error),
        ("delete", EventSeverity::Warning),
        ("add", EventSeverity::Info),
        ("take_back", EventSeverity::Error),
    ];
    let mut events = all(&store).await;
    events.reverse();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.action.as_str(), event.severity))
        .collect();
    assert_eq!(told, expected);
    assert!(events.is_sorted_by(|one, next| one.id < next.id));

    let detail = |index: usize, name: &str| events[index].details.get(name).map(String::as_str);
    assert_eq!(
        (detail(1, "email"), detail(1, "email_before")),
        (Some("bob"), Some("alice"))
    );
    assert_eq!(
        (detail(2, "enabled"), detail(3, "enabled")),
        (Some("false"), Some("true"))
    );
    assert_eq!(detail(11, "result"), Some("refused"));
    let about_key = EventFilter {
        key_id: Some(key.id),
        ..EventFilter::default()
    };
    let page = store.events(about_key, None, 100).await.unwrap();
    assert_eq!(page.rows.len(), 11, "also after the key is gone");
}

#[tokio::test]
async fn no_event_holds_a_secret() {
    let lab = Lab::new();
    let store = lab.start();
    let mut secrets = BTreeSet::new();
    let mut key = create(&store, "alice").await;
    secrets.insert(key.uuid.to_string());
    key = store.regenerate_key(key.id).await.unwrap();
    let identity = Identity::generate();
    let rotated = note("rotate", EventKind::Xray, EventSeverity::Info, "xray");
    store
        .set_identity(Some(key.id), identity.clone(), rotated)
        .await
        .unwrap();
    // A client without a name becomes a key that is called by its uuid.
    let nameless = Uuid::new_v4();
    let restored = RestoredConfiguration {
        document: "{}".to_owned(),
        clients: vec![RestoredClient {
            uuid: nameless,
            name: nameless.to_string(),
            port: None,
            identity: None,
        }],
        ..RestoredConfiguration::default()
    };
    let made = store.restore_configuration(restored).await.unwrap().created.remove(0);
    let update = KeyUpdate {
        is_active: Some(false),
        ..KeyUpdate::default()
    };
    store.update_key(made.id, update).await.unwrap();
    let update = KeyUpdate {
        name: Some("named".to_owned()),
        ..KeyUpdate::default()
    };
    store.update_key(made.id, update).await.unwrap();
    store.delete_key(made.id).await.unwrap();
    store.delete_key(key.id).await.unwrap();

    secrets.extend([key.uuid.to_string(), nameless.to_string()]);
    secrets.extend(identity.short_id.map(|short_id| short_id.to_string()));
    secrets.extend(key.subscription_token.map(|token| token.to_secret_text()));
    assert_eq!(secrets.len(), 5);
    let events = format!("{:?}", all(&store).await);
    for secret in secrets {
        assert!(!events.contains(&secret), "{secret} in {events}");
    }
    assert!(events.contains(&made.id.0.to_string()));
}

#[tokio::test]
async fn a_change_that_fails_tells_nothing() {
    let lab = Lab::new();
    let store = lab.start();
    let key = create(&store, "alice").await;
    let nobody = KeyId(Uuid::new_v4());
    assert!(
        store
            .set_identity(Some(nobody), Identity::generate(), NewEvent::default())
            .await
            .is_err()
    );
    assert!(store.reset_traffic(nobody).await.is_err());
    assert_eq!(actions(&store).await, ["add"]);
    assert_eq!(store.snapshot().entries[0].key.id, key.id);
}

#[tokio::test]
async fn filters_combine_and_statistics_agree_with_them() {
    let lab = Lab::new();
    let store = lab.start();
    let kinds = [EventKind::User, EventKind::Xray, EventKind::AppError];
    let services = ["agent", "xray", "x' OR 1=1 --"];
    for number in 0..36 {
        let event = note(
            "test",
            kinds[number % 3],
            EventSeverity::ALL[number / 3 % 3],
            services[number / 9 % 3],
        );
        store.append_event(event).await.unwrap();
        lab.clock.move_by(TimeDelta::minutes(10));
    }
    let everything = all(&store).await;
    assert_eq!(everything.len(), 36);
    let since = everything[17].at;
    let mut cases = vec![EventFilter::default()];
    for kind in kinds.map(Some).into_iter().chain([None]) {
        for severity in EventSeverity::ALL.map(Some).into_iter().chain([None]) {
            for service in services.map(|name| Some(name.to_owned())).into_iter().chain([None]) {
                for since in [None, Some(since)] {
                    cases.push(EventFilter {
                        since,
                        kind,
                        severity,
                        service: service.clone(),
                        key_id: None,
                    });
                }
            }
        }
    }
    for filter in cases {
        let fits = |event: &&Event| {
            filter.since.is_none_or(|since| event.at >= since)
                && filter.kind.is_none_or(|kind| event.kind == kind)
                && filter.severity.is_none_or(|severity| event.severity == severity)
                && filter.service.as_ref().is_none_or(|service| event.service == *service)
        };
        let expected: Vec<&Event> = everything.iter().filter(fits).collect();
        let page = store.events(filter.clone(), None, 100).await.unwrap();
        assert_eq!(page.rows.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
    for since in [None, Some(since)] {
        let found = store.event_statistics(since).await.unwrap();
        let total = if since.is_some() { 18 } else { 36 };
        assert_eq!(found.total, total);
        assert_eq!(found.kinds.iter().map(|(_, count)| count).sum::<u64>(), total);
        assert_eq!(found.severities.iter().map(|(_, count)| count).sum::<u64>(), total);
        assert_eq!(found.services.iter().map(|(_, count)| count).sum::<u64>(), total);
        assert_eq!(found.hours.iter().map(|hour| hour.count).sum::<u64>(), total);
        assert_eq!(found.hours.len() as u64, total / 6);
        let errors: u64 = found.hours.iter().map(|hour| hour.error_count).sum();
        assert_eq!(errors, total / 3);
        assert!(found.recent_errors.len() <= 10 && found.recent_errors.is_sorted_by(|one, next| one.id > next.id));
        assert!(
            found
                .recent_errors
                .iter()
                .all(|event| event.severity == EventSeverity::Error)
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_hides_no_event() {
    let lab = Lab::new();
    let store = lab.start();
    append(&store, 1).await;
    lab.clock.move_by(TimeDelta::hours(-3));
    append(&store, 1).await;
    lab.clock.move_by(TimeDelta::hours(2));
    append(&store, 1).await;
    let [last, _, first] = &all(&store).await[..] else {
        panic!("there are three events")
    };
    let filter = EventFilter {
        since: Some(last.at),
        ..EventFilter::default()
    };
    let page = store.events(filter, None, 10).await.unwrap();
    assert_eq!(page.rows, [last.clone(), first.clone()]);
}

#[tokio::test]
async fn pages_cover_everything_once_while_events_go_on() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let events = EventService::new(Arc::clone(&store));
    append(&store, 25).await;
    let expected: Vec<u64> = all(&store).await.iter().map(|event| event.id).collect();
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = events.list(EventFilter::default(), 10, &token).await.unwrap();
        found.extend(page.events.iter().map(|event| event.id));
        append(&store, 3).await;
        if page.next_page_token.is_empty() {
            break;
        }
        token = page.next_page_token;
    }
    assert_eq!(found, expected);
    let errors = EventFilter {
        severity: Some(EventSeverity::Error),
        ..EventFilter::default()
    };
    for (filter, token) in [(errors, token.as_str()), (EventFilter::default(), "x")] {
        let refused = events.list(filter, 10, token).await.unwrap_err();
        assert_eq!(refused.reason, Reason::InvalidArgument);
    }
    // 100 where nobody says.
    append(&store, 100).await;
    assert_eq!(
        events.list(EventFilter::default(), 0, "").await.unwrap().events.len(),
        100
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_gets_every_event_once_and_in_order() {
    const EVENTS: usize = 1_700;
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    let events = EventService::new(Arc::clone(&store));
    append(&store, 700).await;
    let (mut from_the_start, mut from_now) = (events.follow(Some(0)).unwrap(), events.follow(None).unwrap());
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { append(&store, EVENTS - 700).await })
    };
    let mut read = Vec::new();
    while read.len() < EVENTS {
        read.extend(from_the_start.next().await.unwrap().unwrap());
    }
    writer.await.unwrap();
    let mut expected = all(&store).await;
    expected.reverse();
    assert_eq!(read, expected);
    let mut live = Vec::new();
    while live.len() < EVENTS - 700 {
        live.extend(from_now.next().await.unwrap().unwrap());
    }
    assert_eq!(live, expected[700..]);

    let last = expected[EVENTS - 1].id;
    assert!(events.follow(Some(last)).is_ok());
    assert_eq!(
        events.follow(Some(last + 1)).err().unwrap().reason,
        Reason::InvalidArgument
    );
    store.close().await.unwrap();
    assert!(from_now.next().await.unwrap().is_none(), "a closed store ends it");
}

#[tokio::test]
async fn old_events_and_too_many_go_and_ids_go_on() {
    let lab = Lab::new();
    let store = lab.start_keeping(50);
    append(&store, 300).await;
    let kept = all(&store).await;
    assert!((50..=55).contains(&kept.len()), "{} are kept", kept.len());
    assert_eq!(kept[0].id, 300);
    store.clean_up(up_to(&lab, TimeDelta::days(90))).await.unwrap();
    assert_eq!(all(&store).await.len(), 50);

    lab.clock.move_by(TimeDelta::days(91));
    append(&store, 2).await;
    store.clean_up(up_to(&lab, TimeDelta::days(90))).await.unwrap();
    let ids: Vec<u64> = all(&store).await.iter().map(|event| event.id).collect();
    assert_eq!(ids, [302, 301]);
    lab.clock.move_by(TimeDelta::days(91));
    store.clean_up(up_to(&lab, TimeDelta::days(90))).await.unwrap();
    assert!(all(&store).await.is_empty());
    store.close().await.unwrap();

    let store = lab.start();
    assert_eq!(*store.last_event().borrow(), 302);
    append(&store, 1).await;
    assert_eq!(all(&store).await[0].id, 303, "an id is never used again");
}

fn up_to(lab: &Lab, kept: TimeDelta) -> FirstKept {
    use portmeter::ledger::Clock as _;
    FirstKept {
        event: Some(lab.clock.now() - kept),
        ..FirstKept::default()
    }
}

#[tokio::test]
async fn a_restored_ledger_says_so_under_a_number_that_no_event_has_had() {
    let lab = Lab::new();
    let backup = lab.folder.path().join("backup");
    let store = lab.start();
    create(&store, "alice").await;
    store.close().await.unwrap();
    back_up(lab.folder.path(), &backup, false, &mut |_| {
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let store = lab.start();
    create(&store, "bob").await;
    let lost = all(&store).await[0].id;
    store.close().await.unwrap();

    restore(&backup, lab.folder.path(), chrono::Utc::now(), &mut |_| {}).unwrap();
    let store = lab.start();
    let told = all(&store).await;
    assert_eq!(told[0].action, "restore_ledger");
    assert!(
        told[0].id > lost && told[0].severity == EventSeverity::Warning,
        "{told:?}"
    );
    assert_eq!(store.last_run_event().await.unwrap().as_ref(), Some(&told[0]));
    create(&store, "carol").await;
    assert_eq!(all(&store).await[0].id, told[0].id + 1);
    assert_eq!(actions(&store).await, ["add", "restore_ledger", "add"]);
}
