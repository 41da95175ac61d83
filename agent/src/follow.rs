//! Keeps the programs on the right interfaces: reads the network, decides, attaches, and again at every change.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::config::Live;
use crate::kernel::{Attached, Kernel};
use crate::network::plan::{Plan, Target, plan};
use crate::network::rtnetlink::{NetworkReader, NetworkWatcher};
use crate::state::AgentState;
use crate::store::{EventKind, EventSeverity, NewEvent, Store};

/// How long to wait before a failed attachment is tried again although the network did not change.
const RETRY_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// How many interfaces are attached to anew before the network is read again. The kernel takes about 25 ms for each, as
/// it waits for every CPU to leave the old chain of programs; an address that changes meanwhile must not wait for
/// hundreds of new interfaces.
const NEW_AT_ONCE: usize = 8;

/// What is needed to make the kernel side follow the network.
pub struct Follower {
    /// The kernel side.
    pub kernel: Arc<Mutex<Kernel>>,
    /// Where the interfaces are read.
    pub reader: NetworkReader,
    /// What is wanted.
    pub live: Live,
    /// Where the outcome is noted.
    pub state: Arc<AgentState>,
    /// Where failures are told.
    pub store: Arc<Store>,
}

impl Follower {
    /// Makes the programs run where they should, now. Gives what the plan warned of; what could not be attached is
    /// in the state.
    pub async fn apply(&self) -> std::io::Result<Plan> {
        // In one go: links of an earlier start that are not taken up at once would be detached meanwhile.
        self.apply_in_steps_of(usize::MAX).await
    }

    /// The same, with the network read again after so many new attachments.
    async fn apply_in_steps_of(&self, limit: usize) -> std::io::Result<Plan> {
        let (mut tried, mut failures) = (BTreeSet::new(), Vec::new());
        loop {
            let network = self.reader.read().await?;
            let plan = plan(&network, &self.live.now().capture.interfaces);
            let attached: BTreeSet<u32> = self.state.attached().iter().map(|one| one.target.index).collect();
            let step = Step::towards(&plan.targets, &attached, &tried, limit);
            tried.extend(step.targets.iter().map(|target| target.index));
            let is_last = step.is_last;
            let (attached, failed) = self.attach(network.addresses, step.targets).await?;
            failures.extend(failed);
            self.state.set_attached(attached.into_iter(), failures.clone());
            if is_last {
                return Ok(plan);
            }
        }
    }

    /// Tells the programs this host's addresses and makes them run on exactly `targets`; gives where they run then,
    /// and what failed.
    async fn attach(
        &self,
        addresses: BTreeSet<IpAddr>,
        targets: Vec<Target>,
    ) -> std::io::Result<(Vec<Attached>, Vec<String>)> {
        let kernel = Arc::clone(&self.kernel);
        let done = tokio::task::spawn_blocking(move || {
            let mut kernel = kernel.lock().expect("nothing panics while it holds this lock");
            // Addresses first: an interface that counts before its address is known would call its own packets
            // forwarded.
            let addresses = kernel.set_addresses(&addresses);
            let mut failures: Vec<String> = addresses.err().iter().map(ToString::to_string).collect();
            failures.extend(kernel.attach_to(&targets).iter().map(ToString::to_string));
            (kernel.attached().cloned().collect(), failures)
        });
        done.await.map_err(std::io::Error::other)
    }

    /// Applies at every change of the network and of the configuration until `shutdown`.
    pub async fn run(self, mut watcher: NetworkWatcher, shutdown: CancellationToken) {
        let (mut told, mut told_failures) = (Vec::new(), Vec::new());
        let mut is_settled = self.state.problems().is_empty();
        let mut changes = self.live.follow();
        loop {
            let changed = async {
                let network = async {
                    if watcher.changed().await.is_none() {
                        tracing::error!("rtnetlink is gone; interfaces are no longer followed until a restart");
                        std::future::pending::<()>().await;
                    }
                };
                let news = async {
                    tokio::select! { () = network => {}, _ = changes.changed() => {} }
                };
                if is_settled {
                    news.await;
                } else {
                    // Whichever comes first: news, or the time to try again.
                    let _ = tokio::time::timeout(RETRY_INTERVAL, news).await;
                }
            };
            if shutdown.run_until_cancelled(changed).await.is_none() {
                return;
            }
            let applied = self.apply_in_steps_of(NEW_AT_ONCE).await;
            is_settled = applied.is_ok() && self.state.problems().is_empty();
            match applied {
                Ok(plan) => warn_once(&mut told, self.state.problems().into_iter().chain(plan.warnings)),
                Err(error) => tracing::error!(%error, "the network's interfaces could not be read; trying again"),
            }
            for event in failure_events(&mut told_failures, self.state.attach_failures()) {
                self.store.note_event(event).await;
            }
        }
    }
}

/// Says each thing once for as long as it lasts, and once when it is over.
fn warn_once(told: &mut Vec<String>, warnings: impl Iterator<Item = String>) {
    let warnings: Vec<String> = warnings.collect();
    for warning in warnings.iter().filter(|warning| !told.contains(warning)) {
        tracing::warn!("{warning}");
    }
    for warning in told.iter().filter(|warning| !warnings.contains(warning)) {
        tracing::info!("no longer so: {warning}");
    }
    *told = warnings;
}

/// What is told of interfaces that cannot be counted: each failure once for as long as it lasts, and once when it is over.
fn failure_events(told: &mut Vec<String>, failures: Vec<String>) -> Vec<NewEvent> {
    let event = |severity, message| NewEvent {
        kind: EventKind::Collector,
        severity,
        action: "attach",
        message,
        actor: "agent",
        ..NewEvent::default()
    };
    let new = failures.iter().filter(|failure| !told.contains(failure));
    let new = new.map(|failure| event(EventSeverity::Error, failure.clone()));
    let over = told.iter().filter(|failure| !failures.contains(failure));
    let over = over.map(|failure| event(EventSeverity::Info, format!("no longer so: {failure}")));
    let events = new.chain(over).collect();
    *told = failures;
    events
}

/// What is attached to next, on the way to a plan's targets.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    targets: Vec<Target>,
    is_last: bool,
}

impl Step {
    /// Everything that is attached and stays so, and at most `limit` of those that are not and were not tried before.
    fn towards(targets: &[Target], attached: &BTreeSet<u32>, tried: &BTreeSet<u32>, limit: usize) -> Self {
        let is_attached = |target: &&Target| attached.contains(&target.index);
        let is_new = |target: &&Target| !attached.contains(&target.index) && !tried.contains(&target.index);
        let new: Vec<&Target> = targets.iter().filter(is_new).collect();
        let kept = targets.iter().filter(is_attached);
        Self {
            targets: kept.chain(new.iter().copied().take(limit)).cloned().collect(),
            is_last: new.len() <= limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The indexes that the next step attaches to, and whether it is the last.
    fn step(targets: &[u32], attached: &[u32], tried: &[u32], limit: usize) -> (Vec<u32>, bool) {
        let target = |index: &u32| Target {
            index: *index,
            name: format!("eth{index}"),
            has_link_header: true,
            is_loopback: false,
        };
        let targets: Vec<Target> = targets.iter().map(target).collect();
        let set = |indexes: &[u32]| indexes.iter().copied().collect();
        let step = Step::towards(&targets, &set(attached), &set(tried), limit);
        (step.targets.iter().map(|target| target.index).collect(), step.is_last)
    }

    #[test]
    fn a_failure_is_told_once_for_as_long_as_it_lasts() {
        let mut told = Vec::new();
        let mut after = |failures: &[&str]| -> Vec<(EventSeverity, String)> {
            let failures = failures.iter().map(ToString::to_string).collect();
            let events = failure_events(&mut told, failures).into_iter();
            events.map(|event| (event.severity, event.message)).collect()
        };
        assert_eq!(after(&["a"]), [(EventSeverity::Error, "a".to_owned())]);
        assert_eq!(after(&["a"]), []);
        let expected = [
            (EventSeverity::Error, "b".to_owned()),
            (EventSeverity::Info, "no longer so: a".to_owned()),
        ];
        assert_eq!(after(&["b"]), expected);
        assert_eq!(after(&[]), [(EventSeverity::Info, "no longer so: b".to_owned())]);
    }

    #[test]
    fn a_step_takes_so_many_new_interfaces() {
        assert_eq!(step(&[1, 2, 3, 4], &[1], &[], 2), (vec![1, 2, 3], false));
        assert_eq!(step(&[1, 2, 3, 4], &[1, 2, 3], &[2, 3], 2), (vec![1, 2, 3, 4], true));
        assert_eq!(step(&[1, 2, 3, 4], &[], &[], usize::MAX), (vec![1, 2, 3, 4], true));
    }

    #[test]
    fn what_failed_is_not_tried_again_in_the_same_round() {
        assert_eq!(step(&[1, 2, 3], &[1], &[2], 1), (vec![1, 3], true));
        assert_eq!(step(&[1, 2], &[1], &[2], 1), (vec![1], true));
    }

    #[test]
    fn what_is_wanted_no_longer_goes_with_the_first_step() {
        assert_eq!(step(&[2, 3], &[1, 2], &[], 8), (vec![2, 3], true));
        assert_eq!(step(&[], &[1, 2], &[], 8), (vec![], true));
    }
}
