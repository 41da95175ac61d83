//! A core that systemd runs, asked for through `systemctl`: started once and restarted on request. Whether it comes back
//! when it ends is the unit's affair, and who stops the unit wants it stopped.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::process::{Identity, Process};
use super::reach;
use super::unit::{self, Unit, UnitState, systemctl};
use super::{CoreError, CoreFacts, CoreMode, CoreState, Exit, Started};

/// The core as a unit of systemd.
pub struct Systemd {
    unit: Unit,
    state: UnitState,
    /// The core's process, watched like any other.
    process: Option<Process>,
    /// It has been seen running, or was asked to start.
    was_started: bool,
    last_error: Option<String>,
    backoff: Backoff,
    next_start: Option<Instant>,
}

impl Systemd {
    /// The core that this unit is.
    pub fn new(unit: Unit) -> Self {
        Self {
            unit,
            state: UnitState::default(),
            process: None,
            was_started: false,
            last_error: None,
            backoff: Backoff::default(),
            next_start: None,
        }
    }

    /// Starts the unit where it does not run; later on only looks whether it does.
    pub async fn ensure_started(&mut self, api: SocketAddr) -> Result<Started, CoreError> {
        let result = self.try_ensure_started(api).await;
        self.note(result)
    }

    async fn try_ensure_started(&mut self, api: SocketAddr) -> Result<Started, CoreError> {
        let before = self.process.as_ref().map(Process::identity);
        self.look().await?;
        let mut started = Started::Adopted;
        if !self.state.is_running() && !self.was_started {
            self.was_started = true;
            systemctl(&["start"], &self.unit).await?;
            self.look().await?;
            started = Started::New;
        }
        self.running_or_why()?;
        self.was_started = true;
        if before.is_some() && before == self.process.as_ref().map(Process::identity) {
            return Ok(Started::AlreadyRunning);
        }
        reach::wait(api).await.map_err(CoreError::NotUp)?;
        Ok(started)
    }

    /// Restarts the unit.
    pub async fn restart(&mut self, api: SocketAddr, why: &str) -> Result<(), CoreError> {
        tracing::info!(unit = %self.unit, reason = why, "the core is restarted by systemd");
        let result = self.try_restart(api).await;
        self.note(result)
    }

    async fn try_restart(&mut self, api: SocketAddr) -> Result<(), CoreError> {
        self.was_started = true;
        systemctl(&["restart"], &self.unit).await?;
        self.look().await?;
        self.running_or_why()?;
        reach::wait(api).await.map_err(CoreError::NotUp)
    }

    /// Waits until the unit's main process ends; for ever where none is known.
    pub async fn wait_for_exit(&mut self) -> Exit {
        match &self.process {
            Some(process) if process.ended().await.is_ok() => {}
            _ => std::future::pending().await,
        }
        self.process = None;
        self.state = UnitState {
            restart_count: self.state.restart_count,
            ..UnitState::default()
        };
        let reason = format!(
            "the core's process has ended: `systemctl status {}` says why",
            self.unit
        );
        self.last_error = Some(reason.clone());
        self.next_start = Some(Instant::now() + self.backoff.after(Duration::ZERO));
        Exit { reason }
    }

    /// When to look again, where it has ended or not come up.
    pub const fn next_start(&self) -> Option<Instant> {
        self.next_start
    }

    /// What was last heard of it.
    pub fn facts(&self) -> CoreFacts {
        CoreFacts {
            mode: CoreMode::Systemd,
            state: if self.state.is_running() {
                CoreState::Running
            } else {
                CoreState::Down
            },
            version: None,
            process_id: self.process.as_ref().map(|process| process.identity().process_id),
            started_at: self.process.as_ref().and_then(Process::started_at),
            restart_count: self.state.restart_count,
            last_error: self.last_error.clone(),
        }
    }

    /// Asks how the unit is, and watches its process.
    async fn look(&mut self) -> Result<(), CoreError> {
        self.state = unit::look(&self.unit).await?;
        let identity = self.state.process_id.and_then(Identity::of);
        if identity != self.process.as_ref().map(Process::identity) {
            // One that cannot be watched is asked for again.
            self.process = identity.and_then(|identity| Process::of_other(identity).ok().flatten());
        }
        Ok(())
    }

    fn running_or_why(&self) -> Result<(), CoreError> {
        if self.state.is_running() {
            return Ok(());
        }
        let (unit, active) = (&self.unit, &self.state.active);
        Err(CoreError::Systemd(format!(
            "{unit} is {active}: `systemctl status {unit}` says why"
        )))
    }

    /// Keeps why it does not run, and when to look again.
    fn note<T>(&mut self, result: Result<T, CoreError>) -> Result<T, CoreError> {
        self.last_error = result.as_ref().err().map(ToString::to_string);
        self.next_start = None;
        match &result {
            Ok(_) => self.backoff.reset(),
            Err(_) => self.next_start = Some(Instant::now() + self.backoff.after(Duration::ZERO)),
        }
        result
    }
}
