//! One life of a ledger, in a process of its own: traffic passes all the time, keys come and go, bookings are made, and
//! somewhere in between its mishap comes about.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use portmeter::counters::{Counter, CounterReader};
use portmeter::store::{Fault, KeyId, LifeOrigin, NewKey, OpenStore, PortProbe, Store, StoreError, arm};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use super::counters::{Counters, PORTS};

/// The variable that makes a process a life: its plan, and where.
pub(crate) const PLAN: &str = "PORTMETER_FAULT_PLAN";

/// What a life with a full disk prints, before how many changes failed.
pub(crate) const FAILURES: &str = "failed for want of room: ";

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mishap {
    /// `kill -9` at the `passes`-th time that a point is reached.
    KilledAt { point: &'static str, passes: u32 },
    /// The disk is slow there; samples go on meanwhile.
    SlowDisk { point: &'static str, passes: u32 },
    /// Files cannot grow for a while (RLIMIT_FSIZE, which the kernel enforces as it does a full disk).
    FullDisk,
    /// Another program has the database locked for a while.
    Locked,
    /// Nothing: an ordinary stop.
    Stopped,
    /// Killed, and then the maps are lost.
    LostMaps,
    /// Killed, and then the machine boots: other maps, another boot.
    Booted,
    /// Killed, and then another ledger books these maps for a life.
    AnotherLedger,
}

impl Mishap {
    /// Whether the life ends by being killed.
    pub(crate) fn kills(self) -> bool {
        !matches!(
            self,
            Self::SlowDisk { .. } | Self::FullDisk | Self::Locked | Self::Stopped
        )
    }
}

/// What one life does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) mishap: Mishap,
}

/// A plan and where it is carried out.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) seed: u64,
    /// What is armed before anything else.
    pub(crate) kill: Option<(String, u32)>,
    pub(crate) delay: Option<(String, u32)>,
    pub(crate) fills_disk: bool,
    pub(crate) locks: bool,
    pub(crate) folder: PathBuf,
    pub(crate) counters: PathBuf,
    pub(crate) boot_id: Uuid,
}

/// Lives an order until its end or a kill.
pub(crate) fn live(order: &str) -> ExitCode {
    let order: Order = serde_json::from_str(order).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(lived(&order));
    ExitCode::SUCCESS
}

struct NothingHeld;

impl PortProbe for NothingHeld {
    fn held_ports(&mut self) -> std::io::Result<BTreeSet<u16>> {
        Ok(BTreeSet::new())
    }
}

/// As the agent takes a ledger up: the counters' life may be another ledger's until the first booking has been made.
pub(crate) fn take_up(folder: &Path, counters: &Arc<Counters>, boot_id: Uuid) -> Store {
    let open = OpenStore::open(folder).unwrap();
    let own_id = open.ledger_id();
    let origin = LifeOrigin {
        ledger_id: counters.ledger_id().unwrap_or(own_id),
        boot_id,
    };
    let reader: Arc<dyn CounterReader> = Arc::clone(counters) as _;
    let store = open
        .start(reader, &origin, PORTS.to_vec(), Box::new(NothingHeld))
        .unwrap();
    counters.set_ledger_id(own_id);
    store
}

async fn lived(order: &Order) {
    if let Some((point, passes)) = &order.kill {
        arm(point, *passes, Fault::Kill);
    }
    if let Some((point, passes)) = &order.delay {
        arm(point, *passes, Fault::Delay(Duration::from_millis(100)));
    }
    let counters = Arc::new(Counters::open(&order.counters));
    let store = Arc::new(take_up(&order.folder, &counters, order.boot_id));
    let is_over = Arc::new(AtomicBool::new(false));
    let traffic = std::thread::spawn({
        let (counters, store, is_over) = (Arc::clone(&counters), Arc::clone(&store), Arc::clone(&is_over));
        let random = StdRng::seed_from_u64(order.seed ^ 1);
        move || pass_traffic(&counters, &store, random, &is_over)
    });
    let mut random = StdRng::seed_from_u64(order.seed);
    for step in 0..8 {
        // A failed booking is made up for by the next; a failed change has changed nothing.
        if step == 3 && order.fills_disk {
            with_full_disk(order, &store, &mut random).await;
        } else if step == 3 && order.locks {
            with_lock(order, &store, &mut random).await;
        } else if let Err(error) = one_change(&store, &mut random).await {
            assert!(is_expected(&error), "{error:?}");
        }
    }
    is_over.store(true, Ordering::Relaxed);
    traffic.join().unwrap();
    store.close().await.unwrap();
}

fn is_expected(error: &StoreError) -> bool {
    matches!(error, StoreError::KeyLimitReached(_) | StoreError::NoAvailablePort)
}

/// Traffic on every port, and the sampler's passes, until told.
fn pass_traffic(counters: &Counters, store: &Store, mut random: StdRng, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let bytes = random.random_range(40..100_000);
        let traffic = Counter {
            rx_bytes: bytes,
            rx_packets: 1,
            tx_bytes: 3 * bytes,
            tx_packets: 2,
            connections_opened: u64::from(bytes % 7 == 0),
        };
        counters.pass(random.random_range(0..PORTS.len()), traffic);
        if bytes % 16 == 0 {
            store.samples().sample(Utc::now(), counters, &|_| Some(0));
        }
        std::thread::yield_now();
    }
}

async fn one_change(store: &Arc<Store>, random: &mut StdRng) -> Result<(), StoreError> {
    let ids: Vec<KeyId> = store.snapshot().entries.iter().map(|entry| entry.key.id).collect();
    let which = (!ids.is_empty()).then(|| ids[random.random_range(0..ids.len())]);
    match (random.random_range(0..10), which) {
        (0..=3, _) => store.book().await,
        (4 | 5, _) | (_, None) => store
            .create_key(NewKey {
                name: "key".into(),
                ..NewKey::default()
            })
            .await
            .map(drop),
        (6, Some(id)) => store.delete_key(id).await.map(drop),
        (7, Some(id)) => store.reset_history(id).await.map(drop),
        (8, Some(id)) => store.reset_traffic(id).await.map(drop),
        (_, Some(_)) => {
            store.reset_ports().await?;
            store.assign_ports().await.map(drop)
        }
    }
}

/// Nothing grows for a while: bookings fail, and what they would have booked is booked afterwards.
async fn with_full_disk(order: &Order, store: &Arc<Store>, random: &mut StdRng) {
    // The kernel tells by a signal first, whose default is to end the process; caught, writes fail as on a full disk.
    let _caught = signal(SignalKind::from_raw(Signal::SIGXFSZ as i32)).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    let lengths = ["ledger.db", "ledger.db-wal"].map(|name| std::fs::metadata(order.folder.join(name)));
    let shortest = lengths
        .into_iter()
        .map(|metadata| metadata.map_or(0, |metadata| metadata.len()))
        .min();
    // The counters' file is smaller and goes on.
    setrlimit(Resource::RLIMIT_FSIZE, shortest.unwrap_or_default().max(1_024), hard).unwrap();
    let mut failures = 0;
    for _ in 0..4 {
        let changed = one_change(store, random).await;
        failures += u32::from(matches!(changed, Err(StoreError::Database(_))));
    }
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    println!("{FAILURES}{failures}");
}

/// Another connection holds the write lock; the writer waits for it and drops nothing.
async fn with_lock(order: &Order, store: &Arc<Store>, random: &mut StdRng) {
    let other = rusqlite::Connection::open(order.folder.join("ledger.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        other.execute_batch("ROLLBACK").unwrap();
    });
    if let Err(error) = one_change(store, random).await {
        assert!(is_expected(&error), "{error:?}");
    }
    release.join().unwrap();
}
