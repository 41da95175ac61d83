//! The booking rules against plain bookkeeping, for any order of events: traffic, samples, bookings, keys that come and
//! go on reused ports, resets, billing cycles, lost memory, lost maps, pauses of the collector, and a clock that is set forward and back, in
//! zones with daylight saving.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use portmeter::calendar::{BillingCycle, Calendar, CycleRule, Minute};
use portmeter::counters::{Counter, CounterReader};
use portmeter::ledger::Clock;
use portmeter::store::{Granularity, Key, KeyId, NewKey, Range, Store};
use proptest::prelude::*;

use support::{FakeKernel, Lab, PORTS, set_collecting, traffic};

const EVER: Range = Range {
    first: i64::MIN,
    last: i64::MAX,
};

#[derive(Debug, Clone)]
enum Event {
    Pass(usize, u16),
    /// Seconds, either way.
    MoveClock(i64),
    Sample,
    /// Whoever asks for it.
    Book,
    BookByClock,
    Pause,
    Resume,
    Create,
    Delete(usize),
    ResetTraffic(usize),
    ResetHistory(usize),
    SetCycle(usize, u8),
    ResetPorts,
    AssignPorts,
    Kill,
    Stop,
    LoseMaps,
}

fn event() -> impl Strategy<Value = Event> {
    let which = || 0..PORTS.len();
    let time = prop_oneof![
        4 => 1..120_i64,
        2 => 600..100_000_i64,
        1 => 1_000_000..40_000_000_i64,
        1 => -20_000..0_i64,
    ];
    prop_oneof![
        8 => (which(), any::<u16>()).prop_map(|(port, bytes)| Event::Pass(port, bytes)),
        6 => time.prop_map(Event::MoveClock),
        4 => Just(Event::Sample),
        2 => Just(Event::Book),
        3 => Just(Event::BookByClock),
        2 => Just(Event::Pause),
        3 => Just(Event::Resume),
        3 => Just(Event::Create),
        1 => which().prop_map(Event::Delete),
        1 => which().prop_map(Event::ResetTraffic),
        1 => which().prop_map(Event::ResetHistory),
        1 => (which(), 1..=31_u8).prop_map(|(key, day)| Event::SetCycle(key, day)),
        1 => Just(Event::ResetPorts),
        1 => Just(Event::AssignPorts),
        1 => Just(Event::Kill),
        1 => Just(Event::Stop),
        1 => Just(Event::LoseMaps),
    ]
}

/// Bytes that were seen at one moment.
#[derive(Debug, Clone)]
struct Seen {
    minute: Minute,
    traffic: Counter,
    /// Whether memory is all that has it.
    is_booked: bool,
    /// Which of the key's histories.
    epoch: usize,
    /// Whether the key had its cycle then.
    has_cycle: bool,
}

#[derive(Debug)]
struct ModelKey {
    key: Key,
    shown: Counter,
    epoch: usize,
    seen: Vec<Seen>,
    cycle: Option<BillingCycle>,
    cycle_set_in: Option<Minute>,
}

/// Plain bookkeeping.
#[derive(Default)]
struct Model {
    keys: Vec<ModelKey>,
    deleted: Vec<Seen>,
    /// What passed and nobody has seen, by port.
    unseen: BTreeMap<u16, Counter>,
    is_paused: bool,
}

impl Model {
    fn pass(&mut self, port: u16, bytes: u64) {
        if let Some(key) = self.keys.iter_mut().find(|key| key.key.port == Some(port)) {
            key.shown += traffic(bytes);
            *self.unseen.entry(port).or_default() += traffic(bytes);
        }
    }

    fn see(&mut self, ports: &[u16], minute: Minute) {
        for port in ports {
            let traffic = self.unseen.remove(port).unwrap_or_default();
            let Some(key) = self.keys.iter_mut().find(|key| key.key.port == Some(*port)) else {
                continue;
            };
            if traffic != Counter::default() {
                key.seen.push(Seen {
                    minute,
                    traffic,
                    is_booked: false,
                    epoch: key.epoch,
                    has_cycle: key.cycle.is_some(),
                });
            }
        }
    }

    fn book(&mut self, ports: &[u16], minute: Minute) {
        self.see(ports, minute);
        for key in &mut self.keys {
            if key.key.port.is_some_and(|port| ports.contains(&port)) {
                key.seen.iter_mut().for_each(|seen| seen.is_booked = true);
            }
        }
    }

    /// What only memory had is unseen again, and seen by the start that follows.
    fn kill(&mut self, minute: Minute) {
        for key in &mut self.keys {
            let Some(port) = key.key.port else { continue };
            let lost = key.seen.extract_if(.., |seen| !seen.is_booked);
            for seen in lost {
                *self.unseen.entry(port).or_default() += seen.traffic;
            }
        }
        // A start goes on where the collector was: paused, it books nothing.
        if !self.is_paused {
            self.book(&PORTS, minute);
        }
    }

    /// The sampler's pass, or an answer about the past.
    fn sample(&mut self, minute: Minute) {
        if !self.is_paused {
            self.see(&PORTS, minute);
        }
    }

    fn set_paused(&mut self, is_paused: bool, minute: Minute) {
        if self.is_paused != is_paused {
            self.book(&PORTS, minute);
        }
        self.is_paused = is_paused;
    }
}

/// Sums by a period's number.
fn sums<'a>(seen: impl Iterator<Item = &'a Seen>, number: impl Fn(Minute) -> i64) -> BTreeMap<i64, Counter> {
    let mut sums = BTreeMap::<i64, Counter>::new();
    for seen in seen {
        *sums.entry(number(seen.minute)).or_default() += seen.traffic;
    }
    sums
}

fn number(calendar: Calendar, granularity: Granularity) -> impl Fn(Minute) -> i64 {
    move |minute| match granularity {
        Granularity::Minute => minute.0,
        Granularity::Hour => calendar.hour(minute.start()).0,
        Granularity::Day => calendar.day(minute.start()).0.into(),
        Granularity::Month => calendar.month(minute.start()).0.into(),
    }
}

/// Looks at every figure of every key and of all together.
async fn check(lab: &Lab, store: &Arc<Store>, model: &mut Model) {
    for key in &model.keys {
        assert_eq!(lab.shown(store, &key.key), key.shown, "current figures");
    }
    // An answer samples what it tells of.
    model.sample(Minute::of(lab.clock.now()));
    let mut all = model.deleted.clone();
    for key in &model.keys {
        let seen = key.seen.clone();
        let id = key.key.id;
        let shown = || seen.iter().filter(|seen| seen.epoch == key.epoch);
        let total = shown().fold(Counter::default(), |sum, seen| sum + seen.traffic);
        assert_eq!(store.state().key_history(id).unwrap().total.traffic, total, "total");
        for granularity in Granularity::ALL {
            let page = store.key_periods(id, granularity, EVER, usize::MAX).await.unwrap();
            let rows: BTreeMap<i64, Counter> = page
                .rows
                .into_iter()
                .map(|(period, tally)| (period, tally.traffic))
                .collect();
            assert_eq!(
                rows,
                sums(shown(), number(lab.calendar, granularity)),
                "{granularity:?}"
            );
        }
        check_cycles(lab, store, key, &seen, id).await;
        all.extend(seen);
    }
    for granularity in Granularity::ALL {
        let page = store.all_periods(granularity, EVER, usize::MAX).await.unwrap();
        let rows: BTreeMap<i64, Counter> = page
            .rows
            .into_iter()
            .map(|(period, all)| (period, all.tally.traffic))
            .collect();
        assert_eq!(
            rows,
            sums(all.iter(), number(lab.calendar, granularity)),
            "all keys, {granularity:?}"
        );
    }
}

async fn check_cycles(lab: &Lab, store: &Arc<Store>, key: &ModelKey, seen: &[Seen], id: KeyId) {
    let (Some(cycle), Some(set_in)) = (key.cycle, key.cycle_set_in) else {
        return;
    };
    let (_, cycles) = store.cycles(id, usize::MAX).await.unwrap();
    let running = cycle.cycle_at(set_in.start());
    let start = |minute: Minute| cycle.cycle_at(minute.start()).start.timestamp();
    let counted = seen
        .iter()
        .filter(|seen| seen.has_cycle || (running.start..running.end).contains(&seen.minute.start()));
    let expected = sums(counted, start);
    let rows: BTreeMap<i64, Counter> = cycles
        .iter()
        .map(|cycle| (cycle.span.start.timestamp(), cycle.usage.traffic))
        .filter(|(_, traffic)| *traffic != Counter::default())
        .collect();
    assert_eq!(rows, expected, "cycles of {:?}", cycle.rule);
    let now = cycle.cycle_at(lab.clock.now());
    assert!(
        cycles.iter().any(|cycle| cycle.span == now),
        "the running cycle is missing"
    );
}

fn zones() -> impl Strategy<Value = chrono_tz::Tz> {
    prop_oneof![
        Just(chrono_tz::Tz::UTC),
        Just(chrono_tz::Europe::Berlin),
        Just(chrono_tz::America::New_York),
        Just(chrono_tz::Asia::Kolkata),
        Just(chrono_tz::Australia::Lord_Howe),
        Just(chrono_tz::Pacific::Apia),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_agrees_with_plain_bookkeeping(
        zone in zones(),
        events in proptest::collection::vec((event(), proptest::bool::weighted(0.4)), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(zone, events));
    }
}

async fn play(zone: chrono_tz::Tz, events: Vec<(Event, bool)>) {
    let mut lab = Lab::in_zone(zone);
    let mut store = Arc::new(lab.start());
    let mut model = Model::default();
    for (event, is_looked_at) in events {
        let minute = Minute::of(lab.clock.now());
        match event {
            Event::Pass(port, bytes) => {
                lab.kernel.pass(PORTS[port], bytes.into());
                model.pass(PORTS[port], bytes.into());
            }
            Event::MoveClock(seconds) => lab.clock.move_by(TimeDelta::seconds(seconds)),
            Event::Sample => {
                store.samples().sample(lab.clock.now(), &*lab.kernel, &|_| Some(0));
                model.sample(minute);
            }
            Event::Book => {
                store.book().await.unwrap();
                model.book(&PORTS, minute);
            }
            Event::BookByClock => {
                store.book_by_clock().await.unwrap();
                if !model.is_paused {
                    model.book(&PORTS, minute);
                }
            }
            Event::Pause | Event::Resume => {
                let is_paused = matches!(event, Event::Pause);
                set_collecting(&store, !is_paused).await;
                model.set_paused(is_paused, minute);
            }
            Event::Kill => {
                drop(store);
                store = Arc::new(lab.start());
                model.kill(minute);
            }
            Event::Stop | Event::LoseMaps => {
                store.close().await.unwrap();
                model.book(&PORTS, minute);
                if matches!(event, Event::LoseMaps) {
                    lab.kernel = FakeKernel::new();
                }
                store = Arc::new(lab.start());
            }
            change => change_keys(&lab, &store, &mut model, change).await,
        }
        // Not after each event, or nothing would ever wait for its sample.
        if is_looked_at {
            check(&lab, &store, &mut model).await;
        }
    }
}

/// Events of keys and ports, each of which books first what its ports carried.
async fn change_keys(lab: &Lab, store: &Arc<Store>, model: &mut Model, event: Event) {
    let minute = Minute::of(lab.clock.now());
    let (Event::Delete(which) | Event::ResetTraffic(which) | Event::ResetHistory(which) | Event::SetCycle(which, _)) =
        event
    else {
        return change_ports(store, model, &event, minute).await;
    };
    let Some(id) = model.keys.get(which).map(|key| key.key.id) else {
        return;
    };
    let ports: Vec<u16> = model.keys[which].key.port.into_iter().collect();
    model.book(&ports, minute);
    match event {
        Event::Delete(_) => {
            store.delete_key(id).await.unwrap();
            model.deleted.extend(model.keys.remove(which).seen);
        }
        Event::ResetTraffic(_) => {
            store.reset_traffic(id).await.unwrap();
            model.keys[which].shown = Counter::default();
        }
        Event::ResetHistory(_) => {
            store.reset_history(id).await.unwrap();
            model.keys[which].epoch += 1;
        }
        Event::SetCycle(_, day) if model.keys[which].cycle.is_none() => {
            let cycle = BillingCycle {
                rule: CycleRule::monthly(day).unwrap(),
                zone: lab.calendar.zone(),
            };
            store.set_cycle(id, Some(cycle)).await.unwrap();
            model.keys[which].cycle = Some(cycle);
            model.keys[which].cycle_set_in = Some(minute);
        }
        // Booked for nothing: the model alone has done it.
        _ => store.book().await.map(|()| model.book(&PORTS, minute)).unwrap(),
    }
}

async fn change_ports(store: &Arc<Store>, model: &mut Model, event: &Event, minute: Minute) {
    match event {
        Event::Create => {
            let Ok(key) = store
                .create_key(NewKey {
                    name: "key".into(),
                    ..NewKey::default()
                })
                .await
            else {
                return;
            };
            model.keys.push(ModelKey {
                key,
                shown: Counter::default(),
                epoch: 0,
                seen: Vec::new(),
                cycle: None,
                cycle_set_in: None,
            });
        }
        Event::ResetPorts => {
            store.reset_ports().await.unwrap();
            model.book(&PORTS, minute);
            model.keys.iter_mut().for_each(|key| key.key.port = None);
        }
        Event::AssignPorts => {
            store.assign_ports().await.unwrap();
            for key in &mut model.keys {
                key.key.port = store.snapshot().find(key.key.id.0).unwrap().key.port;
            }
        }
        other => unreachable!("{other:?} is no event of ports"),
    }
}

/// The counters are the truth of it all: what they show has to be somewhere.
#[tokio::test]
async fn the_ledger_as_a_whole_is_what_the_counters_show() {
    let lab = Lab::new();
    let store = Arc::new(lab.start());
    lab.kernel.pass(10_001, 3);
    let key = store
        .create_key(NewKey {
            name: "key".into(),
            ..NewKey::default()
        })
        .await
        .unwrap();
    lab.kernel.pass(10_001, 40);
    store.reset_history(key.id).await.unwrap();
    lab.kernel.pass(10_001, 500);
    store.delete_key(key.id).await.unwrap();
    lab.kernel.pass(10_001, 6_000);
    store.close().await.unwrap();
    let ledger = rusqlite::Connection::open(lab.folder.path().join("ledger.db")).unwrap();
    let sum = |table: &str| -> i64 {
        let sql = format!("SELECT ifnull(sum(rx_bytes), 0) FROM {table}");
        ledger.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(
        (sum("day_rows"), sum("month_rows"), sum("port_totals")),
        (540, 540, 6_003)
    );
    assert_eq!(
        sum("day_rows") + sum("port_totals"),
        lab.kernel.read(10_001).rx_bytes as i64
    );
}
