//! SIGHUP: the configuration is read again. What can change while the agent runs does, what cannot is named, and a
//! configuration that cannot be used changes nothing.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use portmeter_daemon::configuration::{Change, ConfigError, compare};
use portmeter_daemon::service_manager::ServiceManager;
use portmeter_daemon::signals::HangUps;
use portmeter_gateway::LiveConfig;
use portmeter_listener::FailedKeys;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Interfaces, Live};
use crate::network::plan::plan;
use crate::network::rtnetlink::NetworkReader;
use crate::reconciler::Reconciler;
use crate::restart::Restart;
use crate::store::{EventKind, EventSeverity, NewEvent, Store};
use crate::telemetry::Telemetry;

/// The sections that the core is told of.
const XRAY: &str = "xray.";

/// Which interfaces are counted on.
const INTERFACES: &str = "capture.interfaces";

/// What a reload reads, and what it changes.
pub(super) struct Reloader {
    /// Reads the configuration as a start would.
    pub(super) restart: Arc<Restart>,
    pub(super) live: Live,
    pub(super) store: Arc<Store>,
    pub(super) reconciler: Reconciler,
    pub(super) network: NetworkReader,
    /// Wrong keys over gRPC.
    pub(super) failed_keys: Arc<FailedKeys>,
    /// The gateway in this process, where there is one.
    pub(super) gateway: Option<LiveConfig>,
    pub(super) telemetry: Telemetry,
    pub(super) manager: ServiceManager,
}

impl Reloader {
    /// Reads the configuration at each SIGHUP until `shutdown`.
    pub(super) async fn run(self, mut hang_ups: HangUps, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(hang_ups.next()).await.is_some() {
            self.manager.reloading();
            let event = match self.reload().await {
                Ok(outcome) => read_anew(&outcome),
                Err(error) => refused(&error),
            };
            self.store.note_event(event).await;
            self.manager.ready();
        }
    }

    async fn reload(&self) -> Result<Outcome> {
        let restart = Arc::clone(&self.restart);
        let read = tokio::task::spawn_blocking(move || restart.load()).await;
        let read = read.context("reading the configuration has failed")?;
        let read = read.inspect_err(tell_problems)?;
        let running = self.live.now();
        let mut change = compare(&*running, &read).context("the configuration cannot be compared")?;
        let mut refused = Vec::new();
        if change.applied.iter().any(|path| path == INTERFACES)
            && let Err(error) = self.check_interfaces(&change.next.capture.interfaces).await
        {
            change.next.capture.interfaces = running.capture.interfaces.clone();
            refused.extend(take_back(&mut change, INTERFACES, &error));
        }
        if change.applied.iter().any(|path| path.starts_with(XRAY))
            && let Err(error) = self.reconciler.configure(&change.next.xray).await
        {
            change.next.xray = running.xray.clone();
            refused.extend(take_back(&mut change, XRAY, &error.into()));
        }
        let outcome = Outcome {
            applied: change.applied.join(", "),
            waiting: change.waiting.join(", "),
            refused,
        };
        self.put_in_force(change.next).await;
        tracing::info!(
            applied = outcome.applied,
            needs_restart = outcome.waiting,
            "the configuration is read anew"
        );
        for problem in &outcome.refused {
            tracing::error!(
                problem,
                "a part of the configuration cannot be used; the earlier one stays in force"
            );
        }
        Ok(outcome)
    }

    /// A mistyped name must not end all counting.
    async fn check_interfaces(&self, interfaces: &Interfaces) -> Result<()> {
        let network = self.network.read().await;
        let network = network.context("the network's interfaces cannot be read")?;
        match plan(&network, interfaces).targets.is_empty() {
            true => bail!("there is none of these interfaces"),
            false => Ok(()),
        }
    }

    async fn put_in_force(&self, next: Config) {
        if let Some(gateway) = &self.gateway {
            gateway.follow(&next.http);
        }
        self.failed_keys.set_per_minute(next.http.failed_keys_per_minute);
        self.telemetry.follow(&next.log.level, &self.store.snapshot().settings);
        if let Err(error) = self.store.set_event_count_max(next.events.count_max).await {
            tracing::warn!(%error, "as many events are kept as before");
        }
        self.live.replace(next);
    }
}

/// What a reload has come to.
struct Outcome {
    /// The settings that changed, and those that wait for a restart.
    applied: String,
    waiting: String,
    /// Why some could not be taken over, one sentence each.
    refused: Vec<String>,
}

fn tell_problems(error: &ConfigError) {
    for problem in error.sentences() {
        tracing::error!(problem, "the configuration is wrong; the earlier one stays in force");
    }
}

/// Takes everything below `prefix` out of what was applied; what is told of it.
fn take_back(change: &mut Change<Config>, prefix: &str, error: &anyhow::Error) -> Option<String> {
    let (refused, applied) = change
        .applied
        .drain(..)
        .partition(|path: &String| path.starts_with(prefix));
    change.applied = applied;
    let refused: Vec<String> = refused;
    (!refused.is_empty()).then(|| format!("{}: {error:#}", refused.join(", ")))
}

fn read_anew(outcome: &Outcome) -> NewEvent {
    let mut parts = Vec::new();
    for (what, paths) in [("in force", &outcome.applied), ("after a restart", &outcome.waiting)] {
        if !paths.is_empty() {
            parts.push(format!("{what}: {paths}"));
        }
    }
    parts.extend(
        outcome
            .refused
            .iter()
            .map(|problem| format!("not taken over: {problem}")),
    );
    if parts.is_empty() {
        parts.push("nothing differs".to_owned());
    }
    NewEvent {
        kind: EventKind::Settings,
        severity: match outcome.refused.is_empty() {
            true => EventSeverity::Info,
            false => EventSeverity::Error,
        },
        action: "reloaded",
        message: format!("the configuration was read anew; {}", parts.join("; ")),
        details: vec![(
            "result",
            if outcome.refused.is_empty() { "ok" } else { "failed" }.to_owned(),
        )],
        ..NewEvent::default()
    }
}

/// The log names line and file; whoever may read events need not know where files lie.
fn refused(error: &anyhow::Error) -> NewEvent {
    let reason = match error.downcast_ref::<ConfigError>() {
        Some(error) => format!(
            "{} problems, which the log and `portmeter check-config` tell",
            error.sentences().len()
        ),
        None => error.to_string(),
    };
    NewEvent {
        kind: EventKind::Settings,
        severity: EventSeverity::Error,
        action: "reload_refused",
        message: format!("the configuration cannot be used, the earlier one stays in force: {reason}"),
        details: vec![("result", "failed".to_owned())],
        ..NewEvent::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(applied: &str, waiting: &str, refused: &[&str]) -> Outcome {
        Outcome {
            applied: applied.to_owned(),
            waiting: waiting.to_owned(),
            refused: refused.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn an_event_tells_what_is_in_force_and_what_waits() {
        let event = read_anew(&outcome("log.level", "http.listen", &[]));
        assert_eq!(
            event.message,
            "the configuration was read anew; in force: log.level; after a restart: http.listen"
        );
        assert_eq!(event.severity, EventSeverity::Info);
        assert!(read_anew(&outcome("", "", &[])).message.ends_with("nothing differs"));
        let event = read_anew(&outcome("", "", &["xray.dest: no"]));
        assert!(
            event.message.ends_with("not taken over: xray.dest: no"),
            "{}",
            event.message
        );
        assert_eq!(event.severity, EventSeverity::Error);
    }

    #[test]
    fn what_is_refused_is_not_called_applied() {
        let mut change = Change {
            next: Config::default(),
            applied: ["log.level", "xray.dest", "xray.flow"].map(ToOwned::to_owned).to_vec(),
            waiting: Vec::new(),
        };
        let told = take_back(&mut change, XRAY, &anyhow::anyhow!("no"));
        assert_eq!(told.as_deref(), Some("xray.dest, xray.flow: no"));
        assert_eq!(change.applied, ["log.level"]);
    }
}
