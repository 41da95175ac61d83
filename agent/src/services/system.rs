//! The host's resources, and the services of this installation: how they are, and restarting one of them.
//!
//! What can be restarted is the agent, the core and the front end, each through the mode it runs in, and nothing else: units
//! and addresses come from the configuration alone.

use std::sync::Arc;
use std::time::Duration;

use portmeter_proto::reason::Reason;

use super::{ServiceError, XrayService};
use crate::config::{Live, PanelConfig};
use crate::host::{self, Answer, Disk, FrontEndUrl, Memory, Processors};
use crate::restart::{Restart, own_unit};
use crate::store::{EventSeverity, NewEvent, Store};
use crate::xray::core::unit::{self, SystemctlError, UnitState, systemctl};
use crate::xray::core::{CoreFacts, CoreMode, CoreState, Unit};

/// How long systemd may take to say how a unit is.
const PATIENCE: Duration = Duration::from_secs(5);

/// The host and the services.
#[derive(Clone)]
pub struct SystemService {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    xray: XrayService,
    core_unit: Option<Unit>,
    live: Live,
    processors: Arc<Processors>,
    restart: Arc<Restart>,
}

/// What is configured of the front end.
struct FrontEnd {
    url: Option<FrontEndUrl>,
    unit: Option<Unit>,
}

/// The host's resources at this moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resources {
    /// Of all processors together, 0 to 100, over the last seconds.
    pub cpu_percent: f64,
    /// How many processors there are.
    pub cpu_count: u32,
    /// Memory.
    pub memory: Memory,
    /// The root file system's disk.
    pub disk: Disk,
}

/// A service of this installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedName {
    /// This agent.
    Agent,
    /// The core.
    Xray,
    /// The panel's front end.
    FrontEnd,
}

/// Every service, in the order they are listed.
const ALL: [ManagedName; 3] = [ManagedName::Agent, ManagedName::Xray, ManagedName::FrontEnd];

impl ManagedName {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Xray => "xray",
            Self::FrontEnd => "frontend",
        }
    }

    /// The action of the event that tells of its restart, in the words that panels know.
    fn restart_action(self) -> &'static str {
        match self {
            Self::Agent => "restart_ui",
            Self::Xray => "restart_xray",
            Self::FrontEnd => "restart_nextjs",
        }
    }
}

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedState {
    /// It runs, and answers where that can be tried.
    Active,
    /// It does not run.
    Inactive,
    /// It does not run and should, or does not answer as it should.
    Failed,
    /// It cannot be told.
    Unknown,
}

/// A service and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// Which.
    pub name: ManagedName,
    /// How it is.
    pub state: ManagedState,
    /// What systemd calls it; `None` where systemd does not run it.
    pub unit: Option<String>,
    /// Where it is reached, where that is known.
    pub url: Option<String>,
    /// The HTTP status of a front end that answers.
    pub http_status: Option<u16>,
}

impl SystemService {
    /// The service over the host that this agent runs on.
    pub fn new(
        store: Arc<Store>,
        xray: XrayService,
        live: Live,
        processors: Arc<Processors>,
        restart: Arc<Restart>,
    ) -> Self {
        let is_unit = xray.facts().0.core.mode == CoreMode::Systemd;
        let core_unit = live.now().xray.service.parse().ok().filter(|_| is_unit);
        Self {
            inner: Arc::new(Inner {
                store,
                xray,
                core_unit,
                live,
                processors,
                restart,
            }),
        }
    }

    /// The host's resources.
    pub async fn resources(&self) -> Result<Resources, ServiceError> {
        let untold = |what: &str| ServiceError::new(Reason::Internal, format!("The host's {what} cannot be told"));
        let usage = self
            .inner
            .processors
            .usage()
            .await
            .ok_or_else(|| untold("processors"))?;
        let disk = host::disk().map_err(|error| ServiceError::internal("The root file system cannot be asked", &error));
        Ok(Resources {
            cpu_percent: usage.percent,
            cpu_count: usage.count,
            memory: host::memory().ok_or_else(|| untold("memory"))?,
            disk: disk?,
        })
    }

    /// Every service and how it is. A front end that is not configured is not there.
    pub async fn list(&self) -> Vec<Managed> {
        let front_end = self.front_end();
        let (agent, front_end) = tokio::join!(own_unit(), front_end.look());
        let xray = Managed {
            name: ManagedName::Xray,
            state: core_state(&self.inner.xray.facts().0.core),
            unit: self.inner.core_unit.as_ref().map(ToString::to_string),
            url: None,
            http_status: None,
        };
        let agent = Managed {
            name: ManagedName::Agent,
            // It is answering.
            state: ManagedState::Active,
            unit: agent.map(|unit| unit.to_string()),
            url: None,
            http_status: None,
        };
        [agent, xray].into_iter().chain(front_end).collect()
    }

    /// Restarts the service of this name. Of the agent this only begins it: it goes on once the answer has been sent.
    pub async fn restart(&self, name: &str) -> Result<(), ServiceError> {
        let Some(name) = ALL.into_iter().find(|one| one.word() == name) else {
            let names = ALL.map(ManagedName::word).join(", ");
            let sentence = format!("There is no service of this name; there are {names}");
            return Err(ServiceError::new(Reason::ServiceNotFound, sentence));
        };
        let restarted = match name {
            ManagedName::Agent => self.restart_agent().await,
            ManagedName::Xray => self.inner.xray.restart_core().await,
            ManagedName::FrontEnd => self.front_end().restart().await,
        };
        match restarted {
            Ok(()) if name == ManagedName::Agent => Ok(()),
            Ok(()) => self.tell(name, None).await,
            Err(error) => {
                if let Err(untold) = self.tell(name, Some(&error)).await {
                    tracing::warn!(error = %untold, "a restart that failed is not among the events");
                }
                Err(error)
            }
        }
    }

    /// The front end as it is configured now.
    fn front_end(&self) -> FrontEnd {
        FrontEnd::of(&self.inner.live.now().panel)
    }

    /// Under systemd that is systemd's affair; where it runs by itself, or systemd will not, the process begins anew.
    async fn restart_agent(&self) -> Result<(), ServiceError> {
        let inner = &self.inner;
        let refused = |error: &dyn std::error::Error| {
            tracing::error!(%error, "the agent is not restarted: it would not come up again");
            let sentence = "The agent would not come up again as it is configured now; its log says why";
            ServiceError::new(Reason::ServiceFailed, sentence)
        };
        let unit = own_unit().await;
        let restart = Arc::clone(&inner.restart);
        let needs_rights = unit.is_none();
        // Files are read.
        let checked = tokio::task::spawn_blocking(move || match needs_rights {
            true => restart
                .check()
                .map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>),
            false => restart.load().map(drop).map_err(Into::into),
        });
        let checked = checked.await.map_err(|error| refused(&error))?;
        checked.map_err(|error| refused(&*error))?;
        // Told before it happens: afterwards this agent can tell nothing.
        self.tell(ManagedName::Agent, None).await?;
        if let Some(unit) = unit {
            let asked = systemctl(&["restart", "--no-block", "--no-ask-password"], &unit).await;
            let Err(error) = asked else { return Ok(()) };
            tracing::warn!(%error, %unit, "systemd does not restart the agent, which begins anew by itself");
            inner.restart.check().map_err(|error| refused(&error))?;
        }
        match inner.restart.begin() {
            true => Ok(()),
            false => Err(ServiceError::new(Reason::Unavailable, "The agent is stopping")),
        }
    }

    async fn tell(&self, name: ManagedName, error: Option<&ServiceError>) -> Result<(), ServiceError> {
        let service = name.word();
        let message = match error {
            None => format!("{service} was restarted"),
            Some(error) => format!("{service} could not be restarted: {error}"),
        };
        let event = NewEvent {
            severity: match error {
                None => EventSeverity::Warning,
                Some(_) => EventSeverity::Error,
            },
            service,
            action: name.restart_action(),
            message,
            ..NewEvent::default()
        };
        Ok(self.inner.store.append_event(event).await?)
    }
}

impl FrontEnd {
    /// `panel` has been checked.
    fn of(panel: &PanelConfig) -> Self {
        Self {
            url: panel.url.as_ref().and_then(|url| url.parse().ok()),
            unit: panel.service.as_ref().and_then(|service| service.parse().ok()),
        }
    }

    /// How it is; `None` where there is none.
    async fn look(&self) -> Option<Managed> {
        if self.url.is_none() && self.unit.is_none() {
            return None;
        }
        let ask = async {
            match &self.url {
                Some(url) => Some(url.ask().await),
                None => None,
            }
        };
        let look = async {
            match &self.unit {
                Some(unit) => tokio::time::timeout(PATIENCE, unit::look(unit)).await.ok()?.ok(),
                None => None,
            }
        };
        let (answer, state) = tokio::join!(ask, look);
        Some(Managed {
            name: ManagedName::FrontEnd,
            state: front_end_state(answer, state.as_ref()),
            unit: self.unit.as_ref().map(ToString::to_string),
            url: self.url.as_ref().map(ToString::to_string),
            http_status: match answer {
                Some(Answer::Status(status)) => Some(status),
                _ => None,
            },
        })
    }

    async fn restart(&self) -> Result<(), ServiceError> {
        let unmanaged = |sentence: &str| ServiceError::new(Reason::ServiceNotManaged, sentence);
        let Some(unit) = &self.unit else {
            return Err(unmanaged(
                "No systemd unit is configured for the front end (panel.service)",
            ));
        };
        match systemctl(&["restart", "--no-ask-password"], unit).await {
            Ok(_) => Ok(()),
            Err(SystemctlError::NotHere) => Err(unmanaged("There is no systemd here to restart the front end")),
            Err(SystemctlError::Failed(sentence)) => {
                tracing::error!(%unit, sentence, "the front end could not be restarted");
                let sentence = format!("{unit} could not be restarted; the log says why");
                Err(ServiceError::new(Reason::ServiceFailed, sentence))
            }
        }
    }
}

/// What is known of the core, as a service's state.
fn core_state(facts: &CoreFacts) -> ManagedState {
    match facts.state {
        CoreState::Running => ManagedState::Active,
        CoreState::Down if facts.last_error.is_some() => ManagedState::Failed,
        CoreState::Starting | CoreState::Down => ManagedState::Inactive,
        CoreState::Unknown => ManagedState::Unknown,
    }
}

/// An answer says most: who answers runs, whatever systemd says. Who runs and does not answer has failed.
fn front_end_state(answer: Option<Answer>, unit: Option<&UnitState>) -> ManagedState {
    let by_unit = unit.map(|unit| match unit.active.as_str() {
        "active" | "reloading" => ManagedState::Active,
        "failed" => ManagedState::Failed,
        "inactive" | "activating" | "deactivating" | "maintenance" => ManagedState::Inactive,
        _ => ManagedState::Unknown,
    });
    match (answer, by_unit) {
        (Some(Answer::Status(500..)), _) => ManagedState::Failed,
        (Some(Answer::Status(_)), _) => ManagedState::Active,
        (Some(_), Some(ManagedState::Active)) => ManagedState::Failed,
        (Some(Answer::Nobody), None | Some(ManagedState::Unknown)) => ManagedState::Inactive,
        (Some(Answer::TooSlow), None) => ManagedState::Unknown,
        (_, Some(state)) => state,
        (None, None) => ManagedState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(active: &str) -> UnitState {
        UnitState {
            active: active.to_owned(),
            ..UnitState::default()
        }
    }

    #[test]
    fn a_front_end_is_what_it_answers_and_then_what_systemd_says() {
        use ManagedState::{Active, Failed, Inactive, Unknown};
        for (answer, active, expected) in [
            (Some(Answer::Status(200)), None, Active),
            (Some(Answer::Status(404)), Some("failed"), Active),
            (Some(Answer::Status(502)), Some("active"), Failed),
            (Some(Answer::Nobody), None, Inactive),
            (Some(Answer::Nobody), Some("active"), Failed),
            (Some(Answer::Nobody), Some("failed"), Failed),
            (Some(Answer::Nobody), Some("inactive"), Inactive),
            (Some(Answer::Nobody), Some("activating"), Inactive),
            (Some(Answer::TooSlow), None, Unknown),
            (Some(Answer::TooSlow), Some("active"), Failed),
            (None, Some("active"), Active),
            (None, Some("reloading"), Active),
            (None, Some("something"), Unknown),
            (None, None, Unknown),
        ] {
            let state = front_end_state(answer, active.map(unit).as_ref());
            assert_eq!(state, expected, "{answer:?} {active:?}");
        }
    }

    #[test]
    fn a_core_that_should_run_and_does_not_has_failed() {
        let state = |state, last_error: Option<&str>| {
            core_state(&CoreFacts {
                mode: CoreMode::Supervised,
                state,
                version: None,
                process_id: None,
                started_at: None,
                restart_count: 0,
                last_error: last_error.map(ToOwned::to_owned),
            })
        };
        assert_eq!(state(CoreState::Running, None), ManagedState::Active);
        assert_eq!(state(CoreState::Down, Some("killed")), ManagedState::Failed);
        assert_eq!(state(CoreState::Down, None), ManagedState::Inactive);
        assert_eq!(state(CoreState::Starting, Some("killed")), ManagedState::Inactive);
        assert_eq!(state(CoreState::Unknown, None), ManagedState::Unknown);
    }

    #[tokio::test]
    async fn without_a_unit_nobody_can_restart_the_front_end() {
        let front_end = FrontEnd { url: None, unit: None };
        let error = front_end.restart().await.unwrap_err();
        assert_eq!(error.reason, Reason::ServiceNotManaged);
        assert_eq!(front_end.look().await, None);
    }
}
