//! Tells the service manager how the agent is, and that it is alive: only while it samples and its ledger's writer answers.
//! A process that is there and does neither is ended by the service manager and started again; the kernel counts on
//! meanwhile.
//!
//! That bookings fail, or the core is gone, is no reason: a new process would fare no better, and says so as well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portmeter_daemon::service_manager::ServiceManager;
use tokio_util::sync::CancellationToken;

use crate::config::Live;
use crate::outage::{Outage, Turn};
use crate::reconciler::Reconciler;
use crate::services::Rates;
use crate::state::AgentState;
use crate::store::Store;
use crate::xray::core::{CoreMode, CoreState};

/// How often the status is looked at where no watchdog says how often.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// A sample is taken each second; one that is this old was the sampler's last.
const SAMPLE_AGE_MAX: Duration = Duration::from_secs(15);

/// What shows that the agent lives, and whom that is told.
pub struct Watchdog {
    /// Who is told.
    pub manager: ServiceManager,
    /// Whose writer has to answer.
    pub store: Arc<Store>,
    /// What the sampler fills.
    pub rates: Arc<Rates>,
    /// Where is counted, and whether bookings go through.
    pub state: Arc<AgentState>,
    /// The core.
    pub reconciler: Reconciler,
    /// The ports.
    pub live: Live,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pulse {
    /// `None` before the first sample.
    sample_age: Option<Duration>,
    does_store_answer: bool,
}

impl Watchdog {
    /// Looks three times as often as the service manager, which has to be there, wants to hear of it, until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let interval = self.manager.watchdog_limit().map_or(STATUS_INTERVAL, |limit| limit / 3);
        let (started, mut told, mut silence) = (Instant::now(), String::new(), Outage::default());
        loop {
            let pulse = self.feel(interval).await;
            let trouble = trouble(pulse, started.elapsed());
            match (silence.turn(trouble.is_some(), Instant::now()), &trouble) {
                (Some(Turn::Begins), Some(what)) => {
                    tracing::error!("{what}; unless that ends, the service manager starts the agent again");
                }
                (Some(Turn::Ends), _) => tracing::info!("the agent is alive again"),
                _ => {}
            }
            if trouble.is_none() {
                self.manager.alive();
            }
            let status = trouble.unwrap_or_else(|| self.status());
            if status != told {
                self.manager.status(&status);
                told = status;
            }
            let pause = tokio::time::sleep(interval);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn feel(&self, patience: Duration) -> Pulse {
        let answer = tokio::time::timeout(patience, self.store.answer()).await;
        Pulse {
            sample_age: self.rates.sampled_at().map(|at| at.elapsed()),
            does_store_answer: answer.is_ok(),
        }
    }

    /// How the agent is, in one line for people.
    pub fn status(&self) -> String {
        let problems = self.state.problems();
        if let Some(first) = problems.first() {
            return format!("not ready: {first}");
        }
        let interfaces: Vec<String> = self.state.attached().into_iter().map(|one| one.target.name).collect();
        let snapshot = self.store.snapshot();
        let core = self.reconciler.facts().core;
        let core = match (core.mode, core.state) {
            (CoreMode::None, _) => "",
            (_, CoreState::Running) => "; Xray runs",
            (_, CoreState::Starting) => "; Xray starts",
            (_, CoreState::Down | CoreState::Unknown) => "; Xray does not run",
        };
        let paused = match snapshot.settings.is_collecting() {
            true => "",
            false => "; the collector is paused",
        };
        format!(
            "counting {} ports on {}; {} keys{core}{paused}",
            self.live.now().capture.ports.count(),
            interfaces.join(", "),
            snapshot.entries.len()
        )
    }
}

/// Why the agent is not alive; `None` where it is.
fn trouble(pulse: Pulse, running_for: Duration) -> Option<String> {
    let sample_age = pulse.sample_age.unwrap_or(running_for);
    if sample_age > SAMPLE_AGE_MAX {
        return Some(format!("no sample was taken for {} s", sample_age.as_secs()));
    }
    (!pulse.does_store_answer).then(|| "the ledger's writer does not answer".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_agent_lives_while_it_samples_and_its_writer_answers() {
        let pulse = |sample_age: Option<u32>, does_store_answer| Pulse {
            sample_age: sample_age.map(|seconds| seconds * SECOND),
            does_store_answer,
        };
        assert_eq!(trouble(pulse(Some(1), true), 100 * SECOND), None);
        assert_eq!(trouble(pulse(None, true), SECOND), None, "it has just started");
        let old = trouble(pulse(Some(16), true), 100 * SECOND).unwrap();
        assert_eq!(old, "no sample was taken for 16 s");
        assert!(trouble(pulse(None, true), 16 * SECOND).is_some());
        let silent = trouble(pulse(Some(1), false), 100 * SECOND).unwrap();
        assert!(silent.contains("writer does not answer"), "{silent}");
    }
}
