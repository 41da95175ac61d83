//! Keeps the core at the wanted state.
//!
//! Wanted state is committed before it is applied. A key operation changes the running core at once and answers when the
//! core has it; the configuration file follows within a second, for the core's next start. Two tasks do the rest: the
//! [`keeper`](Keeper) owns the core's process and the file, the [`watcher`](Watcher) sees whether the running core still has
//! what is wanted and brings it there. What cannot be applied is shown as drift until it can.

mod applier;
mod cut;
mod drift;
mod file;
mod keeper;
mod state;
mod told;
mod wanted;
mod watcher;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, MutexGuard, Notify, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::config::XrayConfig;
use crate::cut_off::CutOff;
use crate::store::{Key, Store};
use crate::xray::api::{ApiError, CoreApi};
use crate::xray::core::CoreMode;
use crate::xray::document::Document;
use crate::xray::wanted::{Wanted, WantedInbound};

use applier::Applier;
use keeper::Command;
use state::State;

pub use applier::{Applied, KeyChange, Pass, Refusal};
pub use drift::Synchronization;
pub use file::{ConfigurationFile, FileError};
pub use keeper::{Keeper, KeeperError};
pub use state::XrayFacts;
pub use wanted::XraySettings;
pub use watcher::Watcher;

/// How long an answer waits for the file to follow the wanted state.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// How many calls may wait for the keeper.
const QUEUE_CAPACITY: usize = 64;

/// What callers ask; cheap to clone.
#[derive(Clone)]
pub struct Reconciler {
    shared: Arc<Shared>,
}

/// What the tasks and their callers share.
struct Shared {
    store: Arc<Store>,
    /// The configuration's; see [`Reconciler::settings`].
    configured: ArcSwap<XraySettings>,
    file: ConfigurationFile,
    /// Whoever has it changes keys and the core; nobody else does meanwhile.
    applier: Mutex<Applier>,
    commands: mpsc::Sender<Command>,
    /// How many changes the file has to follow, and how many it has followed or failed to.
    writes_asked: AtomicU64,
    writes_done: watch::Sender<u64>,
    /// Wakes the watcher: the core may lack something.
    look_again: Notify,
    state: State,
}

/// Why everything could not be brought to the wanted state.
#[derive(Debug, thiserror::Error)]
pub enum SynchronizeError {
    /// The configuration file could not be read or written, or the core refuses it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The core could not be started.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The core does not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The core does not take some keys; one sentence for each.
    #[error("the core refuses {}", .0.join("; "))]
    Refused(Vec<String>),
}

/// What a synchronization has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Synchronized {
    /// Inbounds that were added, removed or replaced.
    pub applied_count: usize,
    /// Whether the configuration file was written anew.
    pub is_file_written: bool,
}

impl Reconciler {
    /// The reconciler and its two tasks, which have to be run. `api` is absent where nobody runs a core.
    pub fn new(
        store: Arc<Store>,
        settings: XraySettings,
        file: ConfigurationFile,
        core: crate::xray::core::Core,
        api: Option<CoreApi>,
        cut_off: Arc<CutOff>,
    ) -> (Self, Keeper, Watcher) {
        let (commands, queue) = mpsc::channel(QUEUE_CAPACITY);
        let state = State::new(core.facts());
        let shared = Arc::new(Shared {
            applier: Mutex::new(Applier::new(settings.core.clone(), api, cut_off, Arc::clone(&store))),
            store,
            configured: ArcSwap::from_pointee(settings),
            file,
            commands,
            writes_asked: AtomicU64::new(0),
            writes_done: watch::Sender::new(0),
            look_again: Notify::new(),
            state,
        });
        let keeper = Keeper::new(Arc::clone(&shared), core, queue);
        let watcher = Watcher::new(Arc::clone(&shared));
        (Self { shared }, keeper, watcher)
    }

    /// Begins a change of keys: nobody else changes any until it is dropped.
    pub async fn operation(&self) -> Operation<'_> {
        Operation {
            shared: &self.shared,
            applier: self.shared.lock_applier().await,
        }
    }

    /// Compares keys, file and core, after the file has followed what was changed before. Changes nothing.
    pub async fn compare(&self) -> Synchronization {
        self.shared.settle().await;
        self.shared.compare()
    }

    /// How many keys and clients stand alone at this moment, for who asks often.
    pub fn drift_count(&self) -> usize {
        self.shared.known(drift::count)
    }

    /// The configuration file as it stands, after it has followed what was changed before; `None` where there is none.
    pub async fn document(&self) -> Result<Option<Document>, FileError> {
        self.shared.settle().await;
        self.shared.file.read().await
    }

    /// Who runs the core, and how it is.
    pub fn facts(&self) -> XrayFacts {
        self.shared.state.facts()
    }

    /// Whether somebody runs a core for this agent.
    pub fn is_managed(&self) -> bool {
        self.facts().core.mode != CoreMode::None
    }

    /// What the configuration says of the core, and what is set over it.
    pub fn settings(&self) -> XraySettings {
        let configured = self.shared.configured.load();
        configured.with(&self.shared.store.snapshot().settings)
    }

    /// Puts in force what a configuration says of inbounds. What the core or its file refuses is taken back.
    pub async fn configure(&self, config: &XrayConfig) -> Result<Applied, SynchronizeError> {
        let mut operation = self.operation().await;
        let before = self.shared.configured.load_full();
        self.shared.configured.store(Arc::new(before.changed(config)));
        let applied = operation.apply_settings().await;
        if applied.is_err() {
            self.shared.configured.store(before);
            if let Err(error) = operation.apply_settings().await {
                tracing::error!(%error, "the configuration of before is not in force in the core yet");
            }
        }
        applied
    }

    /// The configuration file and its backups.
    pub fn file(&self) -> &ConfigurationFile {
        &self.shared.file
    }

    /// A key's inbound as it is, or would be were the key enabled; `None` without a port.
    pub fn wanted_inbound(&self, key: &Key) -> Option<WantedInbound> {
        let snapshot = self.shared.store.snapshot();
        let settings = self.shared.configured.load().with(&snapshot.settings);
        wanted::wanted_inbound(key, &snapshot, &settings, self.shared.store.now())
    }

    /// Everything that is wanted of the core at this moment.
    pub fn wanted(&self) -> Wanted {
        self.shared.wanted()
    }
}

/// A change of keys under way.
pub struct Operation<'a> {
    shared: &'a Arc<Shared>,
    applier: MutexGuard<'a, Applier>,
}

impl Operation<'_> {
    /// Brings the core to what the store has of one key. On a refusal the core has nothing of the key's, and the caller
    /// takes the change back.
    pub async fn apply(&mut self, change: KeyChange) -> Result<Applied, Refusal> {
        let applied = self.applier.change(&change).await;
        let applied = match (applied, &change.wanted) {
            (Err(Refusal::Mismatch(_) | Refusal::NoHandler(_)), Some(inbound)) => self.restart_for(inbound).await,
            (applied, _) => applied,
        };
        self.shared.state.set_live(self.applier.live());
        self.shared.ask_write();
        if applied == Ok(Applied::Later) {
            self.shared.look_again.notify_one();
        }
        applied
    }

    /// The way that is left when the core cannot be told over its API: its own reading of the file.
    async fn restart_for(&mut self, inbound: &WantedInbound) -> Result<Applied, Refusal> {
        tracing::warn!(uuid = %inbound.uuid, "the core does not take a key over its API; it is restarted");
        let restarted = self.shared.command(Command::Restart).await;
        restarted.map_err(|error| Refusal::Core(error.to_string()))?;
        self.shared.store.note_event(told::restarted_for_key()).await;
        let change = KeyChange {
            gone: None,
            wanted: Some(inbound.clone()),
        };
        let has_it = self.applier.has(inbound).await?;
        if has_it {
            return Ok(Applied::Live);
        }
        self.applier.change(&change).await
    }

    /// Brings file and core to the wanted state, all of it.
    pub async fn synchronize(&mut self) -> Result<Synchronized, SynchronizeError> {
        let is_file_written = self.shared.command(Command::Write).await?;
        self.shared.command(Command::Start).await?;
        let pass = self.bring_to_wanted().await?;
        if !pass.refused.is_empty() {
            return Err(SynchronizeError::Refused(pass.refused));
        }
        Ok(Synchronized {
            applied_count: pass.applied_count,
            is_file_written,
        })
    }

    /// Brings file and core to changed settings. What is refused is an error, and the caller takes it back; a core that is
    /// absent has them when it is back.
    pub async fn apply_settings(&mut self) -> Result<Applied, SynchronizeError> {
        match self.synchronize().await {
            Ok(_) if self.applier.live().is_some() => Ok(Applied::Live),
            Ok(_) => Ok(Applied::Later),
            Err(error @ (SynchronizeError::File(_) | SynchronizeError::Refused(_))) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "changed settings wait for the core");
                self.shared.ask_write();
                self.shared.look_again.notify_one();
                Ok(Applied::Later)
            }
        }
    }

    /// Restarts the core with the wanted configuration; every connection of every key drops.
    pub async fn restart_core(&mut self) -> Result<(), SynchronizeError> {
        self.shared.command(Command::Restart).await?;
        self.bring_to_wanted().await?;
        Ok(())
    }

    async fn bring_to_wanted(&mut self) -> Result<Pass, ApiError> {
        let pass = self.applier.bring_to(&self.shared.wanted()).await;
        self.shared.state.set_live(self.applier.live());
        pass
    }
}

impl Shared {
    /// The right to change the core, for the version that runs.
    async fn lock_applier(&self) -> MutexGuard<'_, Applier> {
        let mut applier = self.applier.lock().await;
        applier.meet(self.state.facts().core.version.as_deref());
        let settings = self.configured.load().with(&self.store.snapshot().settings);
        applier.tell(settings.core);
        applier
    }

    fn wanted(&self) -> Wanted {
        let snapshot = self.store.snapshot();
        let settings = self.configured.load().with(&snapshot.settings);
        wanted::wanted(&snapshot, &settings, self.store.now())
    }

    fn next_expiry(&self) -> Option<DateTime<Utc>> {
        wanted::next_expiry(&self.store.snapshot(), self.store.now())
    }

    /// The file has to follow.
    fn ask_write(&self) {
        self.writes_asked.fetch_add(1, Ordering::Relaxed);
        // A full queue has writes in it already.
        let _ = self.commands.try_send(Command::Follow);
    }

    /// Waits until the file has followed every change before this moment, or has failed to.
    async fn settle(&self) {
        let asked = self.writes_asked.load(Ordering::Relaxed);
        let mut done = self.writes_done.subscribe();
        let followed = done.wait_for(|done| *done >= asked);
        let _ = tokio::time::timeout(SETTLE_LIMIT, followed).await;
    }

    /// Has the keeper do something and waits for it.
    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, SynchronizeError>>) -> Command,
    ) -> Result<T, SynchronizeError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(command(answer)).await;
        sent.map_err(|_| KeeperError::Stopping)?;
        answered.await.map_err(|_| KeeperError::Stopping)?
    }

    fn compare(&self) -> Synchronization {
        self.known(drift::compare)
    }

    /// What `judge` makes of who knows which clients.
    fn known<T>(&self, judge: impl FnOnce(&drift::Known<'_>) -> T) -> T {
        let snapshot = self.store.snapshot();
        let active = snapshot.entries.iter().filter(|entry| entry.key.is_active);
        let keys: Vec<Uuid> = active.map(|entry| entry.key.uuid).collect();
        let live = self.state.live();
        judge(&drift::Known {
            keys: &keys,
            file: &self.file.client_uuids(),
            core: live.as_deref(),
        })
    }
}
