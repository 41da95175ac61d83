//! Keeps the programs on the right interfaces: reads the network, decides, attaches, and again at every change.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::config::Interfaces;
use crate::kernel::Kernel;
use crate::network::plan::{Plan, plan};
use crate::network::rtnetlink::{NetworkReader, NetworkWatcher};
use crate::state::AgentState;

/// How long to wait before a failed attachment is tried again although the network did not change.
const RETRY_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// What is needed to make the kernel side follow the network.
pub struct Follower {
    /// The kernel side.
    pub kernel: Arc<Mutex<Kernel>>,
    /// Where the interfaces are read.
    pub reader: NetworkReader,
    /// What is wanted.
    pub interfaces: Interfaces,
    /// Where the outcome is noted.
    pub state: Arc<AgentState>,
}

impl Follower {
    /// Makes the programs run where they should, now. Gives what the plan warned of; what could not be attached is
    /// in the state.
    pub async fn apply(&self) -> std::io::Result<Plan> {
        let network = self.reader.read().await?;
        let plan = plan(&network, &self.interfaces);
        let (kernel, targets) = (Arc::clone(&self.kernel), plan.targets.clone());
        let applied = tokio::task::spawn_blocking(move || {
            let mut kernel = kernel.lock().expect("nothing panics while it holds this lock");
            // Addresses first: an interface that counts before its address is known would call its own packets
            // forwarded.
            let addresses = kernel.set_addresses(&network.addresses);
            let mut failures: Vec<String> = addresses.err().iter().map(ToString::to_string).collect();
            failures.extend(kernel.attach_to(&targets).iter().map(ToString::to_string));
            (kernel.attached().cloned().collect::<Vec<_>>(), failures)
        });
        let (attached, failures) = applied.await.map_err(std::io::Error::other)?;
        self.state.set_attached(attached.into_iter(), failures);
        Ok(plan)
    }

    /// Applies at every change of the network until `shutdown`.
    pub async fn run(self, mut watcher: NetworkWatcher, shutdown: CancellationToken) {
        let mut told = Vec::new();
        let mut is_settled = self.state.problems().is_empty();
        loop {
            let changed = async {
                let news = async {
                    if watcher.changed().await.is_none() {
                        tracing::error!("rtnetlink is gone; interfaces are no longer followed until a restart");
                        std::future::pending::<()>().await;
                    }
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
            let applied = self.apply().await;
            is_settled = applied.is_ok() && self.state.problems().is_empty();
            match applied {
                Ok(plan) => warn_once(&mut told, self.state.problems().into_iter().chain(plan.warnings)),
                Err(error) => tracing::error!(%error, "the network's interfaces could not be read; trying again"),
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
