//! The core as a process that this agent starts or adopts, watches, and leaves running when it goes.

mod starting;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::conflict::Places;
use super::ending::describe;
use super::log::{self, Follower};
use super::process::Process;
use super::record;
use super::{CoreError, CoreFacts, CoreMode, CoreState, Exit, Started};

/// A signal in the first second of its life can be lost on the core, so it is sent again after this time.
const TERMINATE_AGAIN: Duration = Duration::from_secs(1);

/// How long it may take to end after that, until it is killed.
const KILL: Duration = Duration::from_secs(4);

/// A core under this agent's care.
pub struct Supervised {
    binary: PathBuf,
    configuration: PathBuf,
    folder: PathBuf,
    low_ports: bool,
    running: Option<Running>,
    /// It was stopped on purpose, failed, or was never started: when to try again.
    next_start: Option<Instant>,
    last_error: Option<String>,
    backoff: Backoff,
    start_count: u64,
    follower: Option<Follower>,
}

/// A core that runs, as far as is known.
struct Running {
    process: Process,
    since: Instant,
    is_up: bool,
    version: Option<String>,
    /// Where the API was when it was started, if that was noted.
    api: Option<SocketAddr>,
    /// How long the log was before its first line.
    log_length: u64,
}

impl Supervised {
    /// A core with this binary and this configuration; with the right to low ports, where this process has it to give.
    pub fn new(binary: &Path, configuration: &Path, low_ports: bool) -> Self {
        let configuration = std::path::absolute(configuration).unwrap_or_else(|_| configuration.to_owned());
        let folder = configuration.parent().unwrap_or(Path::new("/")).to_owned();
        Self {
            binary: binary.to_owned(),
            configuration,
            folder,
            low_ports,
            running: None,
            next_start: None,
            last_error: None,
            backoff: Backoff::default(),
            start_count: 0,
            follower: None,
        }
    }

    /// Starts the core, or goes on with the one that runs already.
    pub async fn ensure_started(&mut self, places: &Places) -> Result<Started, CoreError> {
        if let Some(running) = &self.running {
            if running.is_up && !running.process.has_ended() {
                return Ok(Started::AlreadyRunning);
            }
            if running.process.has_ended() {
                self.collect();
            }
        }
        let result = self.adopt_or_start(places).await;
        self.note(result)
    }

    /// Stops the core and starts it anew.
    pub async fn restart(&mut self, places: &Places, reason: &str) -> Result<(), CoreError> {
        tracing::info!(reason, "the core is restarted");
        self.backoff.reset();
        let result = self.stop_and_start(places).await;
        self.note(result)
    }

    /// Waits until the core ends by itself; for ever where none runs.
    pub async fn wait_for_exit(&mut self) -> Exit {
        match &self.running {
            Some(running) if running.process.ended().await.is_ok() => {}
            _ => std::future::pending().await,
        }
        self.collect()
    }

    /// When the core is to be started again, where it has failed.
    pub const fn next_start(&self) -> Option<Instant> {
        self.next_start
    }

    /// Ends the core: politely, and after five seconds for certain.
    pub async fn stop(&mut self) -> Result<(), CoreError> {
        if self.running.is_none() {
            self.find().await?;
        }
        self.end().await?;
        self.next_start = None;
        self.last_error = None;
        Ok(())
    }

    /// What is known of it.
    pub fn facts(&self) -> CoreFacts {
        let running = self.running.as_ref().filter(|running| !running.process.has_ended());
        CoreFacts {
            mode: CoreMode::Supervised,
            state: match running {
                Some(running) if running.is_up => CoreState::Running,
                Some(_) => CoreState::Starting,
                None => CoreState::Down,
            },
            version: running.and_then(|running| running.version.clone()),
            process_id: running.map(|running| running.process.identity().process_id),
            started_at: running.and_then(|running| running.process.started_at()),
            restart_count: self.start_count.saturating_sub(1),
            last_error: self.last_error.clone(),
        }
    }

    async fn adopt_or_start(&mut self, places: &Places) -> Result<Started, CoreError> {
        if self.running.is_none() {
            self.find().await?;
        }
        let Some(running) = &self.running else {
            return self.start(places).await.map(|()| Started::New);
        };
        let process_id = running.process.identity().process_id;
        let is_elsewhere = running.api.is_some_and(|api| api != places.api);
        let problem = if is_elsewhere {
            "its API is at another address".to_owned()
        } else {
            match self.wait_until_up(places.api).await {
                Ok(()) => {
                    tracing::info!(process_id, "goes on with the core that runs already");
                    self.note_record(places.api).await;
                    return Ok(Started::Adopted);
                }
                Err(error) => error.to_string(),
            }
        };
        tracing::warn!(process_id, problem, "the core that runs already is replaced");
        self.stop_and_start(places).await.map(|()| Started::New)
    }

    async fn stop_and_start(&mut self, places: &Places) -> Result<(), CoreError> {
        if self.running.is_none() {
            self.find().await?;
        }
        self.end().await?;
        self.start(places).await
    }

    /// Ends the process, if there is one, and forgets it.
    async fn end(&mut self) -> Result<(), CoreError> {
        if let Some(running) = &mut self.running {
            end(&running.process)
                .await
                .map_err(failed("the core cannot be stopped"))?;
            running.process.reap();
        }
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        self.running = None;
        if let Err(error) = record::remove(&self.folder) {
            tracing::warn!(%error, "the record of the core cannot be removed");
        }
    }

    /// The process has ended by itself.
    fn collect(&mut self) -> Exit {
        let mut reason = "it has ended".to_owned();
        if let Some(running) = &mut self.running {
            reason = describe(running.process.status(), &log::since(&self.folder, running.log_length));
            self.next_start = Some(Instant::now() + self.backoff.after(running.since.elapsed()));
        }
        tracing::warn!(reason, "the core has ended");
        self.last_error = Some(reason.clone());
        self.forget();
        Exit { reason }
    }

    /// Keeps why it does not run, and when to try again.
    fn note<T>(&mut self, result: Result<T, CoreError>) -> Result<T, CoreError> {
        match &result {
            Ok(_) => (self.next_start, self.last_error) = (None, None),
            Err(error) => {
                self.next_start = Some(Instant::now() + self.backoff.after(Duration::ZERO));
                self.last_error = Some(error.to_string());
            }
        }
        result
    }
}

/// Asks a process to end, asks again, and kills it. Never by SIGHUP, and never by its id alone.
async fn end(process: &Process) -> io::Result<()> {
    for (signal, patience) in [(Signal::TERM, TERMINATE_AGAIN), (Signal::TERM, KILL)] {
        process.signal(signal)?;
        if let Ok(result) = timeout(patience, process.ended()).await {
            return result;
        }
    }
    process.signal(Signal::KILL)?;
    process.ended().await
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> CoreError + Copy {
    move |source| CoreError::Io { what, source }
}
