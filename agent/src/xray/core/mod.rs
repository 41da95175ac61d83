//! Who runs the core: this agent, systemd, or nobody.
//!
//! One owner, the reconciler's task, holds the [`Core`] and asks it to run. A supervised core is a process of its own
//! that outlives the agent: the next agent finds it and goes on with it, and a second one is never started, since two
//! would share the clients' connections by chance. What the core is told lies elsewhere; here are its process and its
//! files.

mod backoff;
pub mod binary;
mod command;
mod conflict;
mod ending;
mod lines;
mod log;
mod process;
mod reach;
mod record;
mod spawn;
mod supervised;
mod systemd;
mod text;
pub mod unit;

use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::config::{Config, XrayMode};
use crate::rights::is_low_port;

pub use conflict::{Conflict, Held, Places, conflict, held};
pub use log::LOG_NAME;
pub use record::RECORD_NAME;
pub use supervised::Supervised;
pub use systemd::Systemd;
pub use unit::{InvalidUnit, Unit};

/// Why the core does not run.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// There is no binary to run.
    #[error(transparent)]
    Binary(#[from] binary::BinaryError),
    /// Somebody else is where it is to listen.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// It has nothing to run with.
    #[error("the core's configuration {} is not there", .0.display())]
    NoConfiguration(PathBuf),
    /// It was started and did not come up.
    #[error("the core has not come up: {0}")]
    NotUp(String),
    /// systemd could not do it.
    #[error("{0}")]
    Systemd(String),
    /// Nobody runs it.
    #[error("xray.mode is none")]
    ModeNone,
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// How a core came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It has been running all the time.
    AlreadyRunning,
    /// It was running when this agent found it; what it has been told may differ from what is wanted.
    Adopted,
    /// It has just started with the configuration file as it is.
    New,
    /// Nobody runs it.
    NotOurs,
}

/// The core has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// How, in one line.
    pub reason: String,
}

/// Who runs the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreMode {
    /// This agent.
    Supervised,
    /// systemd.
    Systemd,
    /// Nobody.
    None,
}

/// Whether it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreState {
    /// Its API has accepted connections, and it has not ended since.
    Running,
    /// It was started or found, and its API has not accepted a connection yet.
    Starting,
    /// It does not run.
    Down,
    /// That is not for us to know.
    Unknown,
}

/// What can be told of the core, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreFacts {
    /// Who runs it.
    pub mode: CoreMode,
    /// Whether it runs.
    pub state: CoreState,
    /// The first line of its `version`, where it is known.
    pub version: Option<String>,
    /// Its process.
    pub process_id: Option<u32>,
    /// When that started.
    pub started_at: Option<DateTime<Utc>>,
    /// How many times it was started again: supervised, since this agent started; systemd counts for itself.
    pub restart_count: u64,
    /// Why it does not run; `None` while it does, or where it was stopped on purpose.
    pub last_error: Option<String>,
}

/// The core, whoever runs it.
pub enum Core {
    /// This agent does.
    Supervised(Box<Supervised>),
    /// systemd does.
    Systemd(Systemd),
    /// Nobody does: files only.
    None,
}

impl Core {
    /// The core as it is configured. Nothing is started.
    pub fn new(config: &Config) -> Result<Self, InvalidUnit> {
        let xray = &config.xray;
        let is_there = binary::find(&xray.binary).is_ok();
        Ok(match mode(xray.mode, is_there) {
            CoreMode::Supervised => {
                let configuration = config.xray_configuration();
                let low_ports = config.capture.ports.iter().any(is_low_port);
                Self::Supervised(Box::new(Supervised::new(&xray.binary, &configuration, low_ports)))
            }
            CoreMode::Systemd => Self::Systemd(Systemd::new(xray.service.parse()?)),
            CoreMode::None => Self::None,
        })
    }

    /// Sees to it that it runs, and waits until its API accepts connections.
    pub async fn ensure_started(&mut self, places: &Places) -> Result<Started, CoreError> {
        match self {
            Self::Supervised(core) => core.ensure_started(places).await,
            Self::Systemd(core) => core.ensure_started(places.api).await,
            Self::None => Ok(Started::NotOurs),
        }
    }

    /// Sees whether somebody else is where it is to listen, unless it runs already. Changes nothing.
    pub async fn look_for_conflict(&mut self, places: &Places) -> Result<(), CoreError> {
        match self {
            Self::Supervised(core) => core.look_for_conflict(places).await,
            Self::Systemd(_) | Self::None => Ok(()),
        }
    }

    /// Stops it and starts it with its configuration as it is. Every connection ends.
    pub async fn restart(&mut self, places: &Places, reason: &str) -> Result<(), CoreError> {
        match self {
            Self::Supervised(core) => core.restart(places, reason).await,
            Self::Systemd(core) => core.restart(places.api, reason).await,
            Self::None => Err(CoreError::ModeNone),
        }
    }

    /// Waits until it ends by itself; for ever where nothing runs that could. May be given up and asked again.
    pub async fn wait_for_exit(&mut self) -> Exit {
        match self {
            Self::Supervised(core) => core.wait_for_exit().await,
            Self::Systemd(core) => core.wait_for_exit().await,
            Self::None => std::future::pending().await,
        }
    }

    /// When [`Core::ensure_started`] is to be called again, where it has ended or not come up.
    pub fn next_start(&self) -> Option<Instant> {
        match self {
            Self::Supervised(core) => core.next_start(),
            Self::Systemd(core) => core.next_start(),
            Self::None => None,
        }
    }

    /// Stops a supervised core; what others run goes on.
    pub async fn stop(&mut self) -> Result<(), CoreError> {
        match self {
            Self::Supervised(core) => core.stop().await,
            Self::Systemd(_) | Self::None => Ok(()),
        }
    }

    /// What can be told of it now, without asking anybody.
    pub fn facts(&self) -> CoreFacts {
        match self {
            Self::Supervised(core) => core.facts(),
            Self::Systemd(core) => core.facts(),
            Self::None => CoreFacts {
                mode: CoreMode::None,
                state: CoreState::Unknown,
                version: None,
                process_id: None,
                started_at: None,
                restart_count: 0,
                last_error: None,
            },
        }
    }
}

/// Who runs it, where nothing is said: this agent if there is something to run.
const fn mode(configured: Option<XrayMode>, is_binary_there: bool) -> CoreMode {
    match configured {
        Some(XrayMode::Supervised) => CoreMode::Supervised,
        Some(XrayMode::Systemd) => CoreMode::Systemd,
        Some(XrayMode::None) => CoreMode::None,
        None if is_binary_there => CoreMode::Supervised,
        None => CoreMode::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_said_the_binary_decides() {
        assert_eq!(mode(None, true), CoreMode::Supervised);
        assert_eq!(mode(None, false), CoreMode::None);
        assert_eq!(mode(Some(XrayMode::Supervised), false), CoreMode::Supervised);
        assert_eq!(mode(Some(XrayMode::Systemd), true), CoreMode::Systemd);
        assert_eq!(mode(Some(XrayMode::None), true), CoreMode::None);
    }

    #[tokio::test]
    async fn nobody_s_core_cannot_be_restarted() {
        let places = Places {
            api: "127.0.0.1:9436".parse().unwrap(),
            listen: None,
            ports: [].into(),
        };
        let mut core = Core::None;
        assert_eq!(core.ensure_started(&places).await.unwrap(), Started::NotOurs);
        let error = core.restart(&places, "test").await.unwrap_err();
        assert_eq!(error.to_string(), "xray.mode is none");
        assert_eq!(core.facts().state, CoreState::Unknown);
        core.stop().await.unwrap();
    }
}
