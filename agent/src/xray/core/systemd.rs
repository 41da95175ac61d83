//! A core that systemd runs, asked for through `systemctl`: started once and restarted on request. Whether it comes back
//! when it ends is the unit's affair, and who stops the unit wants it stopped.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::binary::find;
use super::command::run;
use super::process::{Identity, Process};
use super::reach;
use super::text::reason;
use super::{CoreError, CoreFacts, CoreMode, CoreState, Exit, Started};

/// A restart takes as long as the unit takes to stop: 90 s where nothing else is said, and then it is killed.
const DEADLINE: Duration = Duration::from_secs(120);

/// What is asked of a unit. When the core started is asked of its process.
const PROPERTIES: &str = "ActiveState,MainPID,NRestarts";

/// The name of a unit that may be given to `systemctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit(String);

/// The text is no name of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`xray.service` is \"{0}\"; use the name of a systemd service, for example \"xray.service\"")]
pub struct InvalidUnit(String);

impl std::str::FromStr for Unit {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b":_.@-".contains(&byte);
        let name = text.strip_suffix(".service").unwrap_or_default();
        let is_name = !name.is_empty() && name.bytes().all(is_of_name);
        if is_name {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidUnit(reason(text)))
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct UnitState {
    active: String,
    process_id: Option<u32>,
    restart_count: u64,
}

impl UnitState {
    fn is_running(&self) -> bool {
        ["active", "reloading"].contains(&self.active.as_str())
    }
}

/// Reads the answer of `systemctl show`.
fn parse(text: &str) -> UnitState {
    let mut state = UnitState::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "ActiveState" => state.active = value.trim().to_owned(),
            // 0 stands for none.
            "MainPID" => state.process_id = value.trim().parse().ok().filter(|id| *id != 0),
            "NRestarts" => state.restart_count = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    state
}

/// What `systemctl` is called with.
fn arguments(words: &[&str], unit: &Unit) -> Vec<OsString> {
    let end = ["--", &unit.0];
    words.iter().chain(&end).map(OsString::from).collect()
}

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
            self.systemctl(&["start"]).await?;
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
        self.systemctl(&["restart"]).await?;
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
        self.state = parse(&self.systemctl(&["show", "-p", PROPERTIES]).await?);
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

    async fn systemctl(&self, words: &[&str]) -> Result<String, CoreError> {
        let program = find(Path::new("systemctl")).map_err(|_| {
            CoreError::Systemd("there is no systemctl here: set `xray.mode` to \"supervised\" or \"none\"".to_owned())
        })?;
        let output = run(&program, arguments(words, &self.unit), Path::new("/"), DEADLINE).await;
        let output = output.map_err(|error| CoreError::Systemd(error.to_string()))?;
        if output.status.success() {
            return Ok(output.text);
        }
        let said = reason(&output.text);
        Err(CoreError::Systemd(format!(
            "systemctl {} {} has failed: {said}",
            words[0], self.unit
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_name_of_a_service_and_no_option() {
        for name in ["xray.service", "xray@main.service", "a:b_c.d-1.service"] {
            assert_eq!(name.parse::<Unit>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "xray",
            ".service",
            "xray.socket",
            "x y.service",
            "x;y.service",
            "../x.service",
            "ü.service",
        ] {
            let error = name.parse::<Unit>().unwrap_err().to_string();
            assert!(error.starts_with("`xray.service` is \""), "{error}");
        }
    }

    #[test]
    fn the_unit_stands_behind_all_options() {
        let unit: Unit = "-x.service".parse().unwrap();
        assert_eq!(arguments(&["restart"], &unit), ["restart", "--", "-x.service"]);
        assert_eq!(
            arguments(&["show", "-p", PROPERTIES], &unit),
            ["show", "-p", "ActiveState,MainPID,NRestarts", "--", "-x.service"]
        );
    }

    #[test]
    fn reads_what_systemd_says() {
        let state = parse("MainPID=812\nNRestarts=3\nActiveState=active\nOther=a=b\n");
        assert_eq!(
            state,
            UnitState {
                active: "active".to_owned(),
                process_id: Some(812),
                restart_count: 3
            }
        );
        assert!(state.is_running());
        let state = parse("MainPID=0\nNRestarts=[not set]\nActiveState=failed\n");
        assert_eq!(
            (state.process_id, state.restart_count, state.is_running()),
            (None, 0, false)
        );
        assert!(!parse("").is_running());
        assert!(!parse("ActiveState=activating").is_running());
    }
}
