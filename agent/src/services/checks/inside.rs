//! What only the agent can tell of itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::net::TcpStream;

use super::catalogue::Inside;
use super::{Status, Verdict};
use crate::config::{Config, ConfigError, Live};
use crate::instance::{DATA_ENTRIES, RUN_ROOT};
use crate::kernel::PIN_ROOT;
use crate::reconciler::{Reconciler, Synchronization, XrayFacts};
use crate::restart::Restart;
use crate::services::PortService;
use crate::state::AgentState;
use crate::store::Store;
use crate::xray::core::{CoreMode, CoreState};

/// Samples are a second apart; one that is this old is the sampler's last.
const SAMPLE_AGE_MAX: TimeDelta = TimeDelta::seconds(15);

/// How long the core's API may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// The parts of the agent that are looked at.
pub struct Subjects {
    /// The configuration that it runs with.
    pub config: Live,
    /// The store.
    pub store: Arc<Store>,
    /// The agent's health.
    pub state: Arc<AgentState>,
    /// What keeps the core.
    pub reconciler: Reconciler,
    /// The table of ports.
    pub ports: PortService,
    /// What reads the configuration again.
    pub restart: Arc<Restart>,
}

impl Subjects {
    pub(super) async fn look(&self, inside: Inside) -> Verdict {
        match inside {
            Inside::Configuration => self.configuration().await,
            Inside::Ports => ports(&self.ports.check().issues),
            Inside::Storage => self.storage(),
            Inside::Sampling => self.sampling(),
            Inside::Xray => self.xray().await,
            Inside::XrayKeys => {
                let facts = self.reconciler.facts();
                xray_keys(&facts, &self.reconciler.compare().await)
            }
        }
    }

    /// Paths that sentences may hold, and what they are called instead.
    pub(super) fn places(&self) -> Vec<(PathBuf, &'static str)> {
        let config = self.config.now();
        let (agent, xray) = (&config.agent, &config.xray);
        let files = DATA_ENTRIES
            .iter()
            .map(|name| (agent.data_dir.join(name), "<a file of the data folder>"));
        let mut places = vec![
            (config.xray_configuration(), "<the core's configuration>"),
            (agent.data_dir.clone(), "<the data folder>"),
            (PIN_ROOT.into(), "<the pins>"),
            (RUN_ROOT.into(), "<the run folder>"),
        ];
        places.extend(files);
        places.extend(
            config
                .http
                .api_key_file
                .clone()
                .map(|path| (path, "<the API key's file>")),
        );
        if xray.binary.components().count() > 1 {
            places.push((xray.binary.clone(), "<the core's program>"));
        }
        places
    }

    async fn configuration(&self) -> Verdict {
        let restart = Arc::clone(&self.restart);
        let Ok(loaded) = tokio::task::spawn_blocking(move || restart.load()).await else {
            return Verdict::new(Status::Error, "it could not be read again");
        };
        configuration(loaded, &self.config.now())
    }

    fn storage(&self) -> Verdict {
        let snapshot = self.store.snapshot();
        let booked = snapshot.booked_at.format("%F %T UTC");
        match self.state.is_ledger_writable() {
            true => Verdict::new(Status::Passed, format!("the ledger was last written at {booked}")),
            false => Verdict::new(
                Status::Failed,
                format!("the last booking failed, and nothing is written since {booked}; the log says why"),
            ),
        }
    }

    fn sampling(&self) -> Verdict {
        let from = self.store.now() - SAMPLE_AGE_MAX;
        match self.store.samples().recent(from).last() {
            Some(last) => Verdict::new(
                Status::Passed,
                format!("the last sample was taken at {}", last.at.format("%F %T UTC")),
            ),
            None => {
                let seconds = SAMPLE_AGE_MAX.num_seconds();
                Verdict::new(Status::Failed, format!("no sample was taken for {seconds} s"))
            }
        }
    }

    async fn xray(&self) -> Verdict {
        let facts = self.reconciler.facts();
        let is_reachable = match facts.core.state {
            CoreState::Running => {
                let connected =
                    tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(self.config.now().xray.api_listen)).await;
                connected.is_ok_and(|connected| connected.is_ok())
            }
            _ => false,
        };
        xray(&facts, is_reachable)
    }
}

/// What a start would read now, beside what this agent runs with.
fn configuration(loaded: Result<Config, ConfigError>, running: &Config) -> Verdict {
    match loaded {
        Err(error) => Verdict::new(Status::Failed, format!("the next start would be refused: {error}")),
        Ok(loaded) if loaded == *running => Verdict::new(Status::Passed, "the settings are good"),
        Ok(_) => Verdict::new(
            Status::Warning,
            "the settings are good and have been changed since they were read; a reload (SIGHUP) applies what can change \
             while the agent runs, a restart applies all",
        ),
    }
}

fn ports(issues: &[String]) -> Verdict {
    match issues {
        [] => Verdict::new(Status::Passed, "every enabled key has a port of the configured ones"),
        issues => Verdict {
            status: Status::Failed,
            lines: issues.to_vec(),
        },
    }
}

fn xray(facts: &XrayFacts, is_reachable: bool) -> Verdict {
    let core = &facts.core;
    let why = core.last_error.as_deref().unwrap_or("it was stopped");
    match core.state {
        _ if core.mode == CoreMode::None => Verdict::new(Status::Passed, "nobody runs a core here (xray.mode is none)"),
        CoreState::Running if is_reachable => {
            Verdict::new(Status::Passed, "the core runs and its API accepts connections")
        }
        CoreState::Running => Verdict::new(Status::Failed, "the core runs and its API accepts no connection"),
        CoreState::Starting => Verdict::new(Status::Warning, "the core is coming up"),
        CoreState::Down | CoreState::Unknown => Verdict::new(Status::Failed, format!("the core does not run: {why}")),
    }
}

fn xray_keys(facts: &XrayFacts, compared: &Synchronization) -> Verdict {
    let mut lines: Vec<String> = [&facts.file_error, &facts.apply_error]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    match compared.drift_count() {
        0 => {}
        1 => lines.push("1 key differs between the store, the configuration file and the core".to_owned()),
        count => lines.push(format!(
            "{count} keys differ between the store, the configuration file and the core"
        )),
    }
    match lines.is_empty() {
        true => Verdict::new(Status::Passed, "the configuration file and the core have every key"),
        false => Verdict {
            status: Status::Failed,
            lines,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xray::core::CoreFacts;

    fn facts(mode: CoreMode, state: CoreState, last_error: Option<&str>) -> XrayFacts {
        XrayFacts {
            core: CoreFacts {
                mode,
                state,
                version: None,
                process_id: None,
                started_at: None,
                restart_count: 0,
                last_error: last_error.map(ToOwned::to_owned),
            },
            file_error: None,
            apply_error: None,
        }
    }

    #[test]
    fn a_core_that_is_to_run_runs_and_answers() {
        let status = |mode, state, is_reachable| xray(&facts(mode, state, None), is_reachable).status;
        use CoreMode::{Supervised, Systemd};
        assert_eq!(status(Supervised, CoreState::Running, true), Status::Passed);
        assert_eq!(status(Systemd, CoreState::Running, false), Status::Failed);
        assert_eq!(status(Supervised, CoreState::Starting, false), Status::Warning);
        assert_eq!(status(CoreMode::None, CoreState::Unknown, false), Status::Passed);
        let down = xray(&facts(Supervised, CoreState::Down, Some("killed")), false);
        assert_eq!(down, Verdict::new(Status::Failed, "the core does not run: killed"));
    }

    #[test]
    fn what_hinders_the_file_or_the_core_is_told() {
        let well = facts(CoreMode::Supervised, CoreState::Running, None);
        assert_eq!(xray_keys(&well, &Synchronization::default()).status, Status::Passed);
        let refused = XrayFacts {
            file_error: Some("the file is refused".to_owned()),
            ..well
        };
        let verdict = xray_keys(&refused, &Synchronization::default());
        assert_eq!(verdict, Verdict::new(Status::Failed, "the file is refused"));
    }

    #[test]
    fn a_changed_configuration_is_worth_a_word_and_a_bad_one_fails() {
        let running = Config::default();
        let mut changed = running.clone();
        changed.ledger.commit_interval_seconds = 7;
        let status = |loaded| configuration(loaded, &running).status;
        assert_eq!(status(Ok(running.clone())), Status::Passed);
        assert_eq!(status(Ok(changed)), Status::Warning);
        assert_eq!(status(Err(ConfigError::Wrong(Vec::new()))), Status::Failed);
    }

    #[test]
    fn every_issue_of_the_port_table_is_told() {
        assert_eq!(ports(&[]).status, Status::Passed);
        let issues = ["a".to_owned(), "b".to_owned()];
        let verdict = ports(&issues);
        assert_eq!(
            (verdict.status, verdict.lines.as_slice()),
            (Status::Failed, issues.as_slice())
        );
    }
}
