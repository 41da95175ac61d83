//! The one door to SQLite: wanted state (keys and their ports) and the ledger.
//!
//! One thread owns the only connection that writes; callers hand it closures over a bounded channel and wait for
//! the answer, so that every change is one transaction under one name and none is ever dropped because the
//! database was busy. What most answers need is published as an immutable [`Snapshot`] after each commit; periods are
//! read from the database beside the writer. Both are put together with what was sampled since, see
//! [`crate::ledger::Samples`].
//!
//! WAL with synchronous=FULL: what a call has answered survives a power cut.

mod activity;
mod backup;
mod bookings;
mod cleanup;
mod columns;
mod commits;
mod copy;
mod cycles;
mod documents;
mod domains;
mod event_log;
mod events;
mod export;
mod faults;
mod figures;
mod history;
mod identities;
mod import;
mod imported;
mod inspect;
mod kept;
mod key_events;
mod keys;
mod ledger;
mod open;
mod outside;
mod readers;
mod remembered;
mod requests;
mod restore;
mod schema;
mod series;
mod settings;
mod snapshot;
mod writer;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::calendar::{BillingCycle, Calendar};
use crate::counters::CounterReader;
use crate::ledger::{Clock, Samples, SystemClock};
use crate::settings::Stored;
use crate::store::readers::Readers;
use crate::store::remembered::Remembered;
use crate::store::writer::{Surroundings, Writer};
use crate::xray::reality::Identity;

pub use activity::Activity;
pub use backup::{Backup, BackupError, BackupFacts, back_up};
pub use bookings::{BookedKey, BookedMinute, Bookings, PartStart};
pub use cleanup::FirstKept;
pub use copy::CopyProgress;
pub use cycles::CycleUsage;
pub use documents::{RestoreOutcome, RestoredClient, RestoredConfiguration};
pub use domains::{DOMAINS_PER_DAY_MAX, DomainRow, OTHER, Visits};
pub use event_log::{Event, EventFilter, EventHour, EventStatistics};
pub use events::{EventKind, EventSeverity, NewEvent};
pub use export::{ExportError, LedgerExport};
#[cfg(feature = "faults")]
pub use faults::{Fault, arm};
pub use figures::CommitFigures;
pub use history::{KeyHistory, KeyHistoryWith, Page, PageStart, State};
pub use import::{ImportFailure, preview_import};
pub use inspect::{LedgerFacts, inspect, inspect_own};
pub use keys::lowest_free_port;
pub use ledger::LifeOrigin;
pub use open::OpenError;
pub use outside::ReadError;
pub use restore::{RestoreError, Restored, check_backup, restore};
pub use series::{Granularity, MinuteTotal, Range, Together};
pub use snapshot::{Entry, Figures, History, HistoryId, Key, KeyId, Snapshot};
pub use writer::{Creation, KeyUpdate, NewKey};

/// How many calls may wait for the writer; further callers wait for a place.
const QUEUE_CAPACITY: usize = 256;

/// Why the store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No key has this id or uuid.
    #[error("no such key")]
    KeyNotFound,
    /// There is a key for every port.
    #[error("there are as many keys as ports ({0})")]
    KeyLimitReached(usize),
    /// Another key has the name, which was to be unique.
    #[error("there is a key named {0}")]
    KeyNameTaken(String),
    /// The request id was used in the last 24 hours, for another name.
    #[error("the request id was used for something else")]
    RequestIdReused,
    /// The key that a request of this id has made is no longer there.
    #[error("the key that the request made has been deleted")]
    CreatedKeyDeleted,
    /// Every free port is held by another program.
    #[error("every free port is held by another program")]
    NoAvailablePort,
    /// The sockets of this host could not be listed, so no port can be called free.
    #[error("cannot tell which ports are in use")]
    PortProbe(#[source] std::io::Error),
    /// SQLite failed; nothing was changed.
    #[error("the ledger could not be written")]
    Database(#[from] rusqlite::Error),
    /// The bookings after this position are no longer kept; the oldest position to go on from comes with it.
    #[error("bookings after {0} are no longer kept")]
    BookingsExpired(u64),
    /// A position that this ledger has not reached.
    #[error("there is no booking {0} yet")]
    NoSuchBooking(u64),
    /// The writer is gone: the agent is stopping.
    #[error("the store is closed")]
    Closed,
}

/// Tells which ports other programs hold, so that none of them is given to a key.
pub trait PortProbe: Send {
    /// Every local port with a listening TCP socket or a bound UDP socket.
    fn held_ports(&mut self) -> std::io::Result<std::collections::BTreeSet<u16>>;
}

/// A call to the writer; `Break` is the last one.
type Job = Box<dyn FnOnce(&mut Writer) -> ControlFlow<()> + Send>;

/// The open store.
pub struct Store {
    ledger_id: Uuid,
    jobs: mpsc::Sender<Job>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    samples: Arc<Samples>,
    reader: Arc<dyn CounterReader>,
    readers: Arc<Readers>,
    remembered: Remembered,
    calendar: Calendar,
    clock: Arc<dyn Clock>,
    committed: watch::Receiver<u64>,
    last_event: watch::Receiver<u64>,
    commit_figures: Arc<CommitFigures>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A store that has been opened and checked, but not yet put to work on counters.
pub struct OpenStore {
    path: PathBuf,
    connection: rusqlite::Connection,
    ledger_id: Uuid,
    keys: Vec<Key>,
    calendar: Calendar,
    clock: Arc<dyn Clock>,
    event_count_max: u64,
}

impl OpenStore {
    /// Opens `<folder>/ledger.db`, makes or migrates it, checks it. Refuses a newer schema, a damaged or foreign
    /// file, and touches none of them.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(open::FILE_NAME);
        let (connection, ledger_id) = open::open(&path)?;
        let keys = keys::all(&connection)?;
        Ok(Self {
            path,
            connection,
            ledger_id,
            keys,
            calendar: Calendar::new(chrono_tz::Tz::UTC),
            clock: Arc::new(SystemClock),
            event_count_max: u64::MAX,
        })
    }

    /// Days and months are this calendar's from now on; UTC's unless this is called.
    pub fn with_calendar(mut self, calendar: Calendar) -> Self {
        self.calendar = calendar;
        self
    }

    /// Takes the time from here; the system's clock unless this is called.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps about this many events, the newest; all of them unless this is called.
    pub fn with_event_count_max(mut self, count: u64) -> Self {
        self.event_count_max = count;
        self
    }

    /// Names this ledger; map lives carry it.
    pub fn ledger_id(&self) -> Uuid {
        self.ledger_id
    }

    /// Ports that keys have, whether still configured or not.
    pub fn assigned_ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.keys.iter().filter_map(|key| key.port)
    }

    /// Ports on which the core is to listen.
    pub fn ports_of_enabled_keys(&self) -> impl Iterator<Item = u16> + '_ {
        self.keys.iter().filter(|key| key.is_active).filter_map(|key| key.port)
    }

    /// Takes up `reader`'s map life, books what it holds, and starts the writer.
    pub fn start(
        self,
        reader: Arc<dyn CounterReader>,
        origin: &LifeOrigin,
        ports: Vec<u16>,
        probe: Box<dyn PortProbe>,
    ) -> Result<Store, StoreError> {
        let commit_figures = Arc::new(CommitFigures::default());
        let with = Surroundings {
            reader: Arc::clone(&reader),
            figures: Arc::clone(&commit_figures),
            ports,
            probe,
            calendar: self.calendar,
            clock: Arc::clone(&self.clock),
            event_count_max: self.event_count_max,
        };
        let (mut writer, shared) = Writer::begin(self.connection, with, origin, self.ledger_id)?;
        writer.book_by_clock()?;

        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE_CAPACITY);
        let thread = std::thread::Builder::new()
            .name("ledger-writer".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    if job(&mut writer).is_break() {
                        break;
                    }
                }
            })
            .expect("the system gives a thread at start");
        Ok(Store {
            ledger_id: self.ledger_id,
            jobs,
            snapshot: shared.snapshot,
            samples: shared.samples,
            committed: shared.committed,
            last_event: shared.last_event,
            commit_figures,
            reader,
            readers: Arc::new(Readers::new(&self.path)),
            remembered: Remembered::default(),
            calendar: self.calendar,
            clock: self.clock,
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Store {
    /// Names this ledger.
    pub fn ledger_id(&self) -> Uuid {
        self.ledger_id
    }

    /// The state after the last commit.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Makes a key with the lowest free port; its own figures begin at zero at this moment.
    pub async fn create_key(&self, new: NewKey) -> Result<Key, StoreError> {
        match self.create_key_once(new).await? {
            Creation::Made(key) | Creation::Repeated(key) => Ok(key),
        }
    }

    /// The same, and whether the key is new: what a request of the same id has made before is given again.
    pub async fn create_key_once(&self, new: NewKey) -> Result<Creation, StoreError> {
        self.call(move |writer| writer.create_key(new)).await
    }

    /// Takes a creation back: the key was never there, and its request can be made again.
    pub async fn take_key_back(&self, id: KeyId) -> Result<Key, StoreError> {
        self.call(move |writer| writer.take_key_back(id)).await
    }

    /// Renames, enables or disables a key, or gives it an alias.
    pub async fn update_key(&self, id: KeyId, update: KeyUpdate) -> Result<Key, StoreError> {
        self.call(move |writer| writer.update_key(id, update)).await
    }

    /// Gives a key another uuid and another subscription token.
    pub async fn regenerate_key(&self, id: KeyId) -> Result<Key, StoreError> {
        self.call(move |writer| writer.regenerate_key(id)).await
    }

    /// Takes a change of a key back: its uuid, name, alias, state and subscription token are these again.
    pub async fn put_key_back(&self, key: Key) -> Result<Key, StoreError> {
        self.call(move |writer| writer.put_key_back(key)).await
    }

    /// Makes `identity` the key's own, or the server's, and tells `event`. Nothing of a key's own is nothing that differs
    /// from the server's.
    pub async fn set_identity(
        &self,
        owner: Option<KeyId>,
        identity: Identity,
        event: NewEvent,
    ) -> Result<(), StoreError> {
        self.call(move |writer| writer.set_identity(owner, identity, &event))
            .await
    }

    /// Makes what a backup of the core's configuration says the wanted state, in one transaction.
    pub async fn restore_configuration(&self, restored: RestoredConfiguration) -> Result<RestoreOutcome, StoreError> {
        self.call(move |writer| writer.restore_configuration(restored)).await
    }

    /// Forgets the restored document: it stands in the file now. One that came since stays.
    pub async fn forget_restored_document(&self, written: Arc<str>) -> Result<(), StoreError> {
        self.call(move |writer| writer.forget_restored_document(&written)).await
    }

    /// Appends an event of its own.
    pub async fn append_event(&self, event: NewEvent) -> Result<(), StoreError> {
        self.call(move |writer| writer.append_event(&event)).await
    }

    /// Appends an event of something that has happened, whatever becomes of telling it: what fails goes to the log.
    pub async fn note_event(&self, event: NewEvent) {
        let action = event.action;
        if let Err(error) = self.append_event(event).await {
            tracing::error!(%error, action, "an event could not be noted");
        }
    }

    /// Comes back when the writer has done everything that it was asked before: a writer that hangs does not.
    pub async fn answer(&self) -> Result<(), StoreError> {
        self.call(|_| Ok(())).await
    }

    /// Keeps about this many events from now on, the newest.
    pub async fn set_event_count_max(&self, count: u64) -> Result<(), StoreError> {
        self.call(move |writer| {
            writer.set_event_count_max(count);
            Ok(())
        })
        .await
    }

    /// Books the key's last bytes, then removes it with its port assignment and its own history.
    pub async fn delete_key(&self, id: KeyId) -> Result<Key, StoreError> {
        self.call(move |writer| writer.delete_key(id)).await
    }

    /// Books what is there, then makes this moment the zero of the key's current figures.
    pub async fn reset_traffic(&self, id: KeyId) -> Result<Key, StoreError> {
        self.call(move |writer| writer.reset_traffic(id)).await
    }

    /// Books what is there, then hides everything up to this moment from the key's totals, days and months.
    pub async fn reset_history(&self, id: KeyId) -> Result<Key, StoreError> {
        self.call(move |writer| writer.reset_history(id)).await
    }

    /// Books what is there, then sets the key's billing cycle, or ends it.
    pub async fn set_cycle(&self, id: KeyId, cycle: Option<BillingCycle>) -> Result<Key, StoreError> {
        self.call(move |writer| writer.set_cycle(id, cycle)).await
    }

    /// What was sampled and is not booked; the sampler adds to it.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// How the commits went that book.
    pub fn commit_figures(&self) -> &CommitFigures {
        &self.commit_figures
    }

    /// The calendar of days and months.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// The store's clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Clears every port assignment after booking; gives how many there were.
    pub async fn reset_ports(&self) -> Result<usize, StoreError> {
        self.call(Writer::reset_ports).await
    }

    /// Gives every enabled key without a port the lowest free one; gives how many got one.
    pub async fn assign_ports(&self) -> Result<usize, StoreError> {
        self.call(Writer::assign_ports).await
    }

    /// Stores settings and appends `events`, in one transaction; see [`crate::settings`]. Where that pauses the collector or
    /// has it go on, everything counted until now is booked in the same one.
    pub async fn save_settings(&self, stored: Stored, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.call(move |writer| writer.save_settings(stored, &events)).await
    }

    /// Reads every counter, books what is new and appends the event that `event` makes of the bytes that were booked, in
    /// one transaction; paused or not. Gives these bytes.
    pub async fn run_collector(&self, event: impl FnOnce(u64) -> NewEvent + Send + 'static) -> Result<u64, StoreError> {
        self.call(move |writer| writer.run_collector(event)).await
    }

    /// The same as [`Self::book`] while the collector runs; nothing while it is paused.
    pub async fn book_by_clock(&self) -> Result<(), StoreError> {
        self.call(Writer::book_by_clock).await
    }

    /// Reads every counter and books what is new, in one transaction.
    pub async fn book(&self) -> Result<(), StoreError> {
        self.call(Writer::book_all).await
    }

    /// Books what a past life of the maps holds beyond its checkpoints, which its counters must not change any more.
    /// Asked again, it books nothing twice.
    pub async fn book_past_life(&self, reader: Arc<dyn CounterReader>, origin: LifeOrigin) -> Result<(), StoreError> {
        let own_id = self.ledger_id;
        self.call(move |writer| writer.book_past_life(&*reader, &origin, own_id))
            .await
    }

    /// Books a last time, lets go of the database and waits until it is closed. Later calls answer
    /// [`StoreError::Closed`].
    pub async fn close(&self) -> Result<(), StoreError> {
        self.readers.close();
        let booked = self.send(|writer| (writer.book_all(), ControlFlow::Break(()))).await;
        let thread = self
            .thread
            .lock()
            .expect("nothing panics while it holds this lock")
            .take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(|| thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the ledger's writer thread panicked");
            }
        }
        booked
    }

    async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(|writer| (job(writer), ControlFlow::Continue(()))).await
    }

    async fn send<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writer) -> (Result<T, StoreError>, ControlFlow<()>) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |writer: &mut Writer| {
            let (result, flow) = job(writer);
            // The caller may have gone away; the change is made all the same.
            let _ = answer.send(result);
            flow
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}
