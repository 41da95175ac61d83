//! Sees whether the running core has what is wanted, and brings it there.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::applier::Applier;
use super::told;
use crate::outage::{Outage, Turn};
use crate::store::NewEvent;

/// How often the core is asked for how long it has been running: a restart is noticed within this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// The core tells its time of running in whole seconds, and takes some time to.
const RESTART_TOLERANCE: Duration = Duration::from_millis(1500);

/// How often everything is compared although nothing seems to have changed: others may use the core's API too.
const FULL_INTERVAL: Duration = Duration::from_secs(60);

/// How long the core's API is silent before that is told: a restart takes some seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// How long keys and clients differ before that is told, and how often is looked.
const DRIFT_LIMIT: Duration = Duration::from_secs(30);
const DRIFT_INTERVAL: Duration = Duration::from_secs(5);

/// The task.
pub struct Watcher {
    shared: Arc<Shared>,
    /// When the core began to run by what it last said; `None` while it did not answer.
    running_since: Option<Instant>,
    compared_at: Option<Instant>,
    /// When an old short id stops being accepted.
    expiry: Option<DateTime<Utc>>,
    drift_checked_at: Option<Instant>,
    /// What was told of the core's API, of keys that it refuses, and of drift.
    silence: Outage,
    refusal: Outage,
    drift: Outage,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            running_since: None,
            compared_at: None,
            expiry: None,
            drift_checked_at: None,
            silence: Outage::lasting(SILENCE_LIMIT),
            refusal: Outage::default(),
            drift: Outage::lasting(DRIFT_LIMIT),
        }
    }

    /// Runs until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.shared.look_again.notified() => true,
                _ = ticks.tick() => false,
            };
            self.look(is_asked).await;
            self.check_drift().await;
        }
    }

    async fn look(&mut self, is_asked: bool) {
        let shared = Arc::clone(&self.shared);
        let mut applier = shared.lock_applier().await;
        if applier.live().is_none() {
            // Nobody runs a core; the file has to follow all the same.
            self.follow_expiry();
            return;
        }
        let before = self.running_since.take();
        let uptime_seconds = applier.uptime_seconds().await;
        let silence = self.silence.turn(uptime_seconds.is_none(), std::time::Instant::now());
        self.tell(silence, told::silent, told::answers).await;
        let Some(uptime_seconds) = uptime_seconds else {
            if before.is_some() {
                tracing::warn!("the core's API does not answer");
            }
            return;
        };
        let since = Instant::now().checked_sub(Duration::from_secs(uptime_seconds.into()));
        let since = since.unwrap_or_else(Instant::now);
        self.running_since = Some(since);
        let is_new = before.is_none_or(|before| since > before + RESTART_TOLERANCE);
        let is_due = self.compared_at.is_none_or(|at| at.elapsed() >= FULL_INTERVAL);
        if is_asked | is_new | is_due | self.follow_expiry() {
            self.bring(&mut applier).await;
        }
    }

    async fn bring(&mut self, applier: &mut Applier) {
        let pass = applier.bring_to(&self.shared.wanted()).await;
        self.shared.state.set_live(applier.live());
        match pass {
            Ok(pass) => {
                self.compared_at = Some(Instant::now());
                if pass.applied_count > 0 {
                    tracing::info!(applied = pass.applied_count, "the core was brought to the wanted state");
                }
                for sentence in &pass.refused {
                    tracing::error!("{sentence}");
                }
                let refusal = self.refusal.turn(!pass.refused.is_empty(), std::time::Instant::now());
                let refuses = || told::refuses(pass.refused.len());
                self.tell(refusal, refuses, told::refuses_no_more).await;
                let refused = (!pass.refused.is_empty()).then(|| pass.refused.join("; "));
                self.shared.state.set_apply_error(refused);
            }
            Err(error) => {
                self.running_since = None;
                self.shared.state.set_apply_error(Some(error.to_string()));
            }
        }
    }

    /// Tells when keys and clients have differed for a while. What an operation has changed is no drift yet.
    async fn check_drift(&mut self) {
        if self.drift_checked_at.is_some_and(|at| at.elapsed() < DRIFT_INTERVAL) {
            return;
        }
        self.drift_checked_at = Some(Instant::now());
        let count = self.shared.compare().drift_count();
        let turn = self.drift.turn(count > 0, std::time::Instant::now());
        self.tell(turn, || told::drifts(count), told::drifts_no_more).await;
    }

    async fn tell(&self, turn: Option<Turn>, begins: impl FnOnce() -> NewEvent, ends: impl FnOnce() -> NewEvent) {
        let event = match turn {
            Some(Turn::Begins) => begins(),
            Some(Turn::Ends) => ends(),
            None => return,
        };
        self.shared.store.note_event(event).await;
    }

    /// Whether an old short id has stopped being accepted since the last look; the file then follows.
    fn follow_expiry(&mut self) -> bool {
        let now = self.shared.store.now();
        let is_over = self.expiry.is_some_and(|expiry| expiry <= now);
        self.expiry = self.shared.next_expiry();
        if is_over {
            self.shared.ask_write();
        }
        is_over
    }
}
