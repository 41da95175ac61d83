//! A store over real SQLite and a kernel whose counters the test sets.
//!
//! The fakes stand for counters and the clock only: monotonic numbers by port within a map life, a time that is moved.
//! Everything that is promised about booking is tested on the real database file.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use portmeter::calendar::Calendar;
use portmeter::counters::{Counter, CounterReader, MapLifeId};
use portmeter::ledger::Clock;
use portmeter::settings::{Asked, COLLECTOR_ENABLED, Given, Value, decide, find};
use portmeter::store::{Key, LifeOrigin, NewKey, OpenStore, PortProbe, Store};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const PORTS: [u16; 4] = [10_001, 10_002, 10_003, 10_004];

/// Counters that the test moves.
pub(crate) struct FakeKernel {
    life: MapLifeId,
    ports: Vec<u16>,
    counters: Mutex<HashMap<u16, Counter>>,
    connections: Mutex<HashMap<u16, u64>>,
}

impl FakeKernel {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_ports(PORTS.to_vec())
    }

    /// Maps for these ports, ascending.
    pub(crate) fn with_ports(ports: Vec<u16>) -> Arc<Self> {
        Arc::new(Self {
            life: MapLifeId(Uuid::new_v4()),
            ports,
            counters: Mutex::default(),
            connections: Mutex::default(),
        })
    }

    /// From now on this many connections are open; opening them is not counted.
    pub(crate) fn hold(&self, port: u16, connections: u64) {
        self.connections.lock().unwrap().insert(port, connections);
    }

    /// A connection is opened and bytes pass: `bytes` in, twice as many out.
    pub(crate) fn pass(&self, port: u16, bytes: u64) {
        *self.counters.lock().unwrap().entry(port).or_default() += traffic(bytes);
    }
}

impl CounterReader for FakeKernel {
    fn map_life(&self) -> MapLifeId {
        self.life
    }

    fn ports(&self) -> &[u16] {
        &self.ports
    }

    fn read(&self, port: u16) -> Counter {
        self.counters.lock().unwrap().get(&port).copied().unwrap_or_default()
    }

    fn active_connections(&self, port: u16) -> Option<u64> {
        Some(self.connections.lock().unwrap().get(&port).copied().unwrap_or(0))
    }
}

pub(crate) fn traffic(bytes: u64) -> Counter {
    Counter {
        rx_bytes: bytes,
        rx_packets: 1,
        tx_bytes: 2 * bytes,
        tx_packets: 2,
        connections_opened: 1,
    }
}

/// Ports that other programs hold.
#[derive(Clone, Default)]
pub(crate) struct Held(pub(crate) Arc<Mutex<BTreeSet<u16>>>);

impl PortProbe for Held {
    fn held_ports(&mut self) -> std::io::Result<BTreeSet<u16>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// A data folder, the kernel's counters, and what a start needs.
pub(crate) struct Lab {
    pub(crate) folder: TempDir,
    pub(crate) kernel: Arc<FakeKernel>,
    pub(crate) boot_id: Uuid,
    /// The ledger that the maps name; set by the first start, as the agent does.
    pub(crate) ledger_id: Mutex<Option<Uuid>>,
    pub(crate) held: Held,
    pub(crate) clock: Arc<MovedClock>,
    pub(crate) calendar: Calendar,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::in_zone(chrono_tz::Tz::UTC)
    }

    /// A ledger whose days are this zone's.
    pub(crate) fn in_zone(zone: chrono_tz::Tz) -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            kernel: FakeKernel::new(),
            boot_id: Uuid::new_v4(),
            ledger_id: Mutex::default(),
            held: Held::default(),
            clock: Arc::new(MovedClock::at("2026-03-28T12:00:00Z")),
            calendar: Calendar::new(zone),
        }
    }

    pub(crate) fn start(&self) -> Store {
        self.start_in(self.folder.path())
    }

    pub(crate) fn start_in(&self, folder: &Path) -> Store {
        self.put_to_work(OpenStore::open(folder).unwrap())
    }

    /// A start that keeps about this many events.
    pub(crate) fn start_keeping(&self, event_count_max: u64) -> Store {
        let store = OpenStore::open(self.folder.path()).unwrap();
        self.put_to_work(store.with_event_count_max(event_count_max))
    }

    fn put_to_work(&self, store: OpenStore) -> Store {
        let store = store
            .with_calendar(self.calendar)
            .with_clock(Arc::clone(&self.clock) as _);
        let own_id = store.ledger_id();
        let origin = LifeOrigin {
            ledger_id: self.ledger_id.lock().unwrap().unwrap_or(own_id),
            boot_id: self.boot_id,
        };
        *self.ledger_id.lock().unwrap() = Some(own_id);
        let kernel: Arc<dyn CounterReader> = Arc::clone(&self.kernel) as _;
        store
            .start(kernel, &origin, self.kernel.ports.clone(), Box::new(self.held.clone()))
            .unwrap()
    }

    pub(crate) fn shown(&self, store: &Store, key: &Key) -> Counter {
        store
            .snapshot()
            .find(key.id.0)
            .expect("the key is there")
            .shown(&*self.kernel)
    }
}

pub(crate) async fn create(store: &Store, name: &str) -> Key {
    store
        .create_key(NewKey {
            name: name.to_owned(),
            ..NewKey::default()
        })
        .await
        .unwrap()
}

/// Pauses the collector, or has it go on.
pub(crate) async fn set_collecting(store: &Store, is_on: bool) {
    let mut asked = Asked::default();
    asked
        .leaf(find(COLLECTOR_ENABLED).unwrap(), Value::Switch(is_on))
        .unwrap();
    let before = Arc::clone(&store.snapshot().settings);
    let decided = decide(&before, &Given::default(), asked).unwrap();
    store.save_settings(decided.stored, Vec::new()).await.unwrap();
}

/// Writes keys into a ledger that nobody has open, one for each port, as if they had been made one by one; that takes
/// too long for thousands.
pub(crate) fn write_keys(folder: &Path, ports: &[u16]) {
    drop(OpenStore::open(folder).unwrap());
    let mut ledger = rusqlite::Connection::open(folder.join("ledger.db")).unwrap();
    let transaction = ledger.transaction().unwrap();
    for port in ports {
        let (id, uuid) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let key = "INSERT INTO keys (id, uuid, name, is_active, created_at_micros) VALUES (?1, ?2, ?3, 1, 0)";
        transaction.execute(key, (&id, &uuid, format!("key {port}"))).unwrap();
        for table in ["key_totals", "key_baselines"] {
            let sql = format!("INSERT INTO {table} (key_id) VALUES (?1)");
            transaction.execute(&sql, [&id]).unwrap();
        }
        transaction
            .execute("INSERT INTO port_assignments VALUES (?1, ?2, 0)", (port, &id))
            .unwrap();
        transaction
            .execute("INSERT INTO histories (key_id, began_at_micros) VALUES (?1, 0)", [&id])
            .unwrap();
    }
    transaction.commit().unwrap();
}

/// A clock that the test moves.
pub(crate) struct MovedClock(Mutex<DateTime<Utc>>);

impl MovedClock {
    pub(crate) fn at(time: &str) -> Self {
        Self(Mutex::new(time.parse().unwrap()))
    }

    pub(crate) fn set(&self, time: &str) {
        *self.0.lock().unwrap() = time.parse().unwrap();
    }

    /// Forward, or back.
    pub(crate) fn move_by(&self, time: TimeDelta) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for MovedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}
