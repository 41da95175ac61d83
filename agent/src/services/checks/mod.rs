//! The agent's self-checks: what the doctor sees from within the agent, and what only the agent knows.
//!
//! They look and change nothing. One run is under way at a time: who asks meanwhile is given its result. A run goes on when
//! whoever asked for it has gone, and none can take for ever.

mod catalogue;
mod inside;
mod shown;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use portmeter_proto::reason::Reason;
use tokio::sync::{Semaphore, watch};

use super::ServiceError;
use crate::doctor::{self, Report, Vantage};
use crate::xray::core::CoreMode;
use catalogue::{CATALOGUE, Kind, Source};

pub use inside::Subjects;

/// How long the doctor's examination may take: it reads the whole ledger once.
const EXAMINATION_LIMIT: Duration = Duration::from_secs(120);

/// How long any other check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(15);

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Not since the agent was started.
    NotRun,
    /// All is well.
    Passed,
    /// All is well for now; something deserves a look.
    Warning,
    /// Something is wrong.
    Failed,
    /// It could not be done.
    Error,
}

/// A check and its last result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What it looks at, one sentence.
    pub description: &'static str,
    /// How it went.
    pub status: Status,
    /// What it found, a sentence a line, without paths; empty before its first run.
    pub output: String,
    /// When it last ran.
    pub last_run_at: Option<DateTime<Utc>>,
}

/// Every check with its last result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckList {
    /// The checks.
    pub checks: Vec<Check>,
    /// Whether a run is under way.
    pub is_running: bool,
    /// When one last ended.
    pub last_run_at: Option<DateTime<Utc>>,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    status: Status,
    /// A sentence each.
    lines: Vec<String>,
}

impl Verdict {
    fn new(status: Status, line: impl Into<String>) -> Self {
        Self {
            status,
            lines: vec![line.into()],
        }
    }
}

/// The checks. A clone is the same.
#[derive(Clone)]
pub struct CheckService {
    inner: Arc<Inner>,
}

struct Inner {
    subjects: Subjects,
    state: Mutex<State>,
    /// An examination that does not come back keeps the only place, so that there is never a second one.
    examination: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    results: BTreeMap<&'static str, Check>,
    last_run_at: Option<DateTime<Utc>>,
}

struct Running {
    names: Vec<&'static str>,
    /// What ran, once it has.
    done: watch::Receiver<Option<Arc<Vec<Check>>>>,
}

impl CheckService {
    /// The checks of these parts of the agent.
    pub fn new(subjects: Subjects) -> Self {
        Self {
            inner: Arc::new(Inner {
                subjects,
                state: Mutex::default(),
                examination: Arc::new(Semaphore::new(1)),
            }),
        }
    }

    /// Every check with its last result.
    pub fn list(&self) -> CheckList {
        let state = self.inner.lock();
        let check = |kind: &Kind| state.results.get(kind.name).cloned().unwrap_or_else(|| kind.not_run());
        CheckList {
            checks: CATALOGUE.iter().map(check).collect(),
            is_running: state.running.is_some(),
            last_run_at: state.last_run_at,
        }
    }

    /// Runs the checks of these names, or all of them, and gives their results. A run under way that has them is as good.
    pub async fn run(&self, names: &[String]) -> Result<Vec<Check>, ServiceError> {
        let kinds = catalogue::select(names).map_err(|name| {
            ServiceError::new(
                Reason::CheckNotFound,
                format!("No check is named {}", shown::quoted(name)),
            )
        })?;
        loop {
            let (mut done, has_all) = self.join(&kinds);
            let ran = done.wait_for(Option::is_some).await.map(|done| done.clone());
            if !has_all {
                continue;
            }
            let ran = ran.ok().flatten().ok_or_else(|| {
                tracing::error!("a run of the self-checks has ended without a result");
                ServiceError::new(Reason::Internal, "The checks could not be run; the log says more")
            })?;
            let is_wanted = |check: &&Check| kinds.iter().any(|kind| kind.name == check.name);
            return Ok(ran.iter().filter(is_wanted).cloned().collect());
        }
    }

    /// The run that is under way, or a new one of these; and whether it has all of them.
    fn join(&self, kinds: &[&'static Kind]) -> (watch::Receiver<Option<Arc<Vec<Check>>>>, bool) {
        let mut state = self.inner.lock();
        if let Some(running) = &state.running {
            let has_all = kinds.iter().all(|kind| running.names.contains(&kind.name));
            return (running.done.clone(), has_all);
        }
        let (sender, done) = watch::channel(None);
        state.running = Some(Running {
            names: kinds.iter().map(|kind| kind.name).collect(),
            done: done.clone(),
        });
        let run = Run(Arc::clone(&self.inner));
        let kinds = kinds.to_vec();
        tokio::spawn(async move {
            let ran = run.0.run(&kinds).await;
            run.0.keep(&ran);
            // Nobody else could begin one before it is off the list, nor be told of one that is still on it.
            drop(run);
            sender.send_replace(Some(Arc::new(ran)));
        });
        (done, true)
    }
}

/// A run under way: over when this is dropped, also when it has panicked.
struct Run(Arc<Inner>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.lock().running = None;
    }
}

impl Inner {
    async fn run(&self, kinds: &[&'static Kind]) -> Vec<Check> {
        let needs_doctor = kinds.iter().any(|kind| matches!(kind.source, Source::Doctor(_)));
        let report = match needs_doctor {
            true => self.examine().await,
            false => Err("not asked for"),
        };
        let mut ran = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let verdict = match kind.source {
                Source::Doctor(subjects) => match &report {
                    Ok(report) => catalogue::verdict(report, subjects),
                    Err(why) => Verdict::new(Status::Error, *why),
                },
                Source::Inside(inside) => {
                    let looked = tokio::time::timeout(CHECK_LIMIT, self.subjects.look(inside)).await;
                    looked.unwrap_or_else(|_| {
                        let seconds = CHECK_LIMIT.as_secs();
                        Verdict::new(Status::Error, format!("it has not ended within {seconds} s"))
                    })
                }
            };
            ran.push(self.check(kind, &verdict));
        }
        ran
    }

    /// The doctor's examination, on a thread that may wait for the disk and the kernel.
    async fn examine(&self) -> Result<Report, &'static str> {
        let place = Arc::clone(&self.examination).try_acquire_owned();
        let place =
            place.map_err(|_| "the last examination has not come back: a disk or the kernel does not answer")?;
        let config = self.subjects.config.now();
        let core = self.subjects.reconciler.facts().core;
        let vantage = Vantage::Agent {
            runs_core: core.mode == CoreMode::Supervised,
            core_process: core.process_id,
        };
        let runtime = tokio::runtime::Handle::current();
        let examined = tokio::task::spawn_blocking(move || {
            let report = runtime.block_on(doctor::examine(&config, vantage));
            drop(place);
            report
        });
        match tokio::time::timeout(EXAMINATION_LIMIT, examined).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => {
                tracing::error!(%error, "the examination has failed");
                Err("the examination has failed; the log says more")
            }
            Err(_) => Err("the examination takes too long"),
        }
    }

    fn check(&self, kind: &'static Kind, verdict: &Verdict) -> Check {
        let lines = verdict.lines.iter();
        let lines: Vec<String> = lines.map(|line| shown::line(line, &self.subjects.places())).collect();
        Check {
            status: verdict.status,
            output: lines.join("\n"),
            last_run_at: Some(Utc::now()),
            ..kind.not_run()
        }
    }

    fn keep(&self, ran: &[Check]) {
        let mut state = self.lock();
        state
            .results
            .extend(ran.iter().map(|check| (check.name, check.clone())));
        state.last_run_at = Some(Utc::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}
