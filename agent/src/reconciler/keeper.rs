//! Keeps the core's process running and its configuration file at the wanted state; the only one who does either.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::file::FileError;
use super::{Shared, SynchronizeError, told};
use crate::outage::{Outage, Turn};
use crate::xray::core::{Core, CoreError, Places, Started};

/// The file is written at most this often on behalf of key operations: the core reads it when it starts, and until then a
/// burst of them is one change.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// The core's process could not be brought to what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeeperError {
    /// Nobody runs a core.
    #[error("xray.mode is none")]
    NotManaged,
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
    /// The core says, or what is in its way.
    #[error("{0}")]
    Core(String),
}

impl From<CoreError> for KeeperError {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::ModeNone => Self::NotManaged,
            error => Self::Core(error.to_string()),
        }
    }
}

type Answer<T> = oneshot::Sender<Result<T, SynchronizeError>>;

/// What the keeper is asked.
pub(super) enum Command {
    /// The file has to follow a change, soon.
    Follow,
    /// Bring the file to the wanted state now; whether it was written.
    Write(Answer<bool>),
    /// See to it that the core runs.
    Start(Answer<()>),
    /// Bring the file to the wanted state and restart the core with it.
    Restart(Answer<()>),
}

/// The task.
pub struct Keeper {
    shared: Arc<Shared>,
    core: Core,
    queue: mpsc::Receiver<Command>,
    written_at: Option<Instant>,
    /// When the file is to follow what was changed.
    next_write: Option<Instant>,
    /// Whether the core has ended by itself and was not started since.
    has_ended: bool,
    /// What was told of the file and of the core's start.
    file_outage: Outage,
    start_outage: Outage,
}

/// What has happened.
enum Event {
    Told(Command),
    Due,
    Ended(String),
    StartDue,
    Stop,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, core: Core, queue: mpsc::Receiver<Command>) -> Self {
        Self {
            shared,
            core,
            queue,
            written_at: None,
            next_write: None,
            has_ended: false,
            file_outage: Outage::default(),
            start_outage: Outage::default(),
        }
    }

    /// Before anybody is served: the file is what is wanted, and the core runs with it. A core that does not come up is
    /// told in the log and tried again; counting goes on without it.
    pub async fn begin(&mut self) {
        if let Err(error) = self.write("start").await {
            tracing::error!(%error, "the core's configuration file is not what is wanted");
        }
        // What failed is in the log and in the facts.
        let _ = self.start().await;
    }

    /// Runs until `shutdown`; the file then is what is wanted, and the core is stopped where `stop_core` says so then.
    pub async fn run(mut self, shutdown: CancellationToken, stop_core: impl FnOnce() -> bool) {
        loop {
            match self.next(&shutdown).await {
                Event::Told(command) => self.obey(command).await,
                Event::Due => drop(self.write("auto").await),
                Event::StartDue => drop(self.start().await),
                Event::Ended(reason) => {
                    tracing::error!(reason, "the core has ended");
                    self.has_ended = true;
                    self.shared.store.note_event(told::ended(&reason)).await;
                    self.shared.state.set_core(self.core.facts());
                }
                Event::Stop => break,
            }
        }
        if self.shared.writes_asked.load(Ordering::Relaxed) > *self.shared.writes_done.borrow() {
            drop(self.write("stop").await);
        }
        if stop_core()
            && let Err(error) = self.core.stop().await
        {
            tracing::warn!(%error, "the core could not be stopped");
        }
    }

    async fn next(&mut self, shutdown: &CancellationToken) -> Event {
        let far = Instant::now() + Duration::from_secs(3600);
        let next_start = self.core.next_start();
        tokio::select! {
            () = shutdown.cancelled() => Event::Stop,
            command = self.queue.recv() => command.map_or(Event::Stop, Event::Told),
            () = sleep_until(self.next_write.unwrap_or(far)), if self.next_write.is_some() => Event::Due,
            () = sleep_until(next_start.unwrap_or(far)), if next_start.is_some() => Event::StartDue,
            exit = self.core.wait_for_exit() => Event::Ended(exit.reason),
        }
    }

    async fn obey(&mut self, command: Command) {
        // Whoever asked may have gone away; what was asked is done all the same.
        match command {
            Command::Follow => {
                let earliest = self.written_at.map_or_else(Instant::now, |at| at + WRITE_INTERVAL);
                self.next_write.get_or_insert(earliest);
            }
            Command::Write(answer) => drop(answer.send(self.write("sync").await.map_err(Into::into))),
            Command::Start(answer) => drop(answer.send(self.start().await.map_err(Into::into))),
            Command::Restart(answer) => drop(answer.send(self.restart().await)),
        }
    }

    async fn write(&mut self, label: &'static str) -> Result<bool, FileError> {
        let asked = self.shared.writes_asked.load(Ordering::Relaxed);
        self.next_write = None;
        let restored = self.shared.store.snapshot().restored_document.clone();
        let written = self
            .shared
            .file
            .bring_to(&self.shared.wanted(), restored.as_deref(), label)
            .await;
        self.written_at = Some(Instant::now());
        if let (Ok(_), Some(restored)) = (&written, restored)
            && let Err(error) = self.shared.store.forget_restored_document(restored).await
        {
            tracing::warn!(%error, "a restored configuration will be taken over once more");
        }
        if let Err(error) = &written {
            tracing::error!(%error, "the core's configuration file does not follow the keys");
        }
        self.tell_of_file(&written).await;
        let error = written.as_ref().err().map(ToString::to_string);
        self.shared.state.set_file_error(error);
        self.shared.writes_done.send_replace(asked);
        written
    }

    /// Sees to it that the core runs, with the file as it is wanted where it has to be started.
    async fn start(&mut self) -> Result<(), KeeperError> {
        if self.core.next_start().is_some_and(|at| at <= Instant::now()) {
            // It has ended: what was changed since the file was last written has to be in it. What hinders the file is
            // in the log; the core may come up with the one that is there, and is brought to the rest over its API.
            drop(self.write("start").await);
        }
        let started = self.core.ensure_started(&self.places()).await;
        self.shared.state.set_core(self.core.facts());
        self.tell_of_start(&started).await;
        match started {
            Ok(how @ (Started::New | Started::Adopted)) => {
                tracing::info!(?how, process_id = self.core.facts().process_id, "the core runs");
                self.shared.look_again.notify_one();
                Ok(())
            }
            Ok(Started::AlreadyRunning | Started::NotOurs) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "the core does not run");
                Err(error.into())
            }
        }
    }

    async fn tell_of_file(&mut self, written: &Result<bool, FileError>) {
        let turn = self.file_outage.turn(written.is_err(), std::time::Instant::now());
        match (turn, written) {
            (Some(Turn::Begins), Err(error)) => self.shared.store.note_event(told::file_fails(error)).await,
            (Some(Turn::Ends), _) => self.shared.store.note_event(told::file_follows()).await,
            _ => {}
        }
    }

    async fn tell_of_start(&mut self, started: &Result<Started, CoreError>) {
        let turn = self.start_outage.turn(started.is_err(), std::time::Instant::now());
        let event = match started {
            // That it had not come up before is over with this.
            Ok(Started::New) => told::started(std::mem::take(&mut self.has_ended) || turn == Some(Turn::Ends)),
            Ok(Started::Adopted) => told::adopted(),
            Ok(Started::AlreadyRunning | Started::NotOurs) => return,
            Err(error) if turn == Some(Turn::Begins) => told::not_started(error),
            Err(_) => return,
        };
        self.shared.store.note_event(event).await;
    }

    async fn restart(&mut self) -> Result<(), SynchronizeError> {
        if matches!(self.core, Core::None) {
            return Err(KeeperError::NotManaged.into());
        }
        self.write("restart").await?;
        let places = self.places();
        let restarted = self.core.restart(&places, "asked for").await;
        self.shared.state.set_core(self.core.facts());
        self.shared.look_again.notify_one();
        Ok(restarted.map_err(KeeperError::from)?)
    }

    fn places(&self) -> Places {
        Places::from(&self.shared.wanted())
    }
}
