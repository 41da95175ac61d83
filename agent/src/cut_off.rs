//! Cuts a port off from those who are connected to it: ends their connections, or blocks them where the kernel cannot
//! end any.
//!
//! Whoever calls this has seen to it that no new ones come. A block holds what was connected at that moment and lasts
//! until the socket tables have it no longer: the server's side gives up when nothing is acknowledged any more, or when
//! it closes for reasons of its own. It lasts no longer than the agent either; who is still connected at the next start
//! has to be cut off again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::kernel::{Kernel, KernelError};
use crate::network::cut::{self, Cut, CutError, Ends};

/// How often it is looked whether blocked connections are gone, and whether interfaces have come.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);

/// How connections are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Their sockets are destroyed; where the kernel cannot do that, they are blocked.
    End,
    /// They are blocked.
    Block,
}

/// What has become of a port's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// They were ended.
    Ended(Cut),
    /// So many get nothing through any more.
    Blocked(usize),
}

/// Why a port is not cut off.
#[derive(Debug, thiserror::Error)]
pub enum CutOffError {
    /// Its connections cannot be ended.
    #[error(transparent)]
    End(#[from] CutError),
    /// The socket tables cannot be read.
    #[error("the connections of port {port} cannot be listed: {source}")]
    List {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// Its connections cannot be blocked.
    #[error("connections cannot be blocked: {0}")]
    Block(#[from] KernelError),
}

/// Cuts ports off, and remembers what is blocked.
pub struct CutOff {
    kernel: Arc<Mutex<Kernel>>,
    means: Means,
    blocked: Mutex<BTreeSet<Ends>>,
}

impl CutOff {
    /// Nothing is cut off yet.
    pub fn new(kernel: Arc<Mutex<Kernel>>, means: Means) -> Self {
        Self {
            kernel,
            means,
            blocked: Mutex::default(),
        }
    }

    /// Cuts off everybody who is connected at `port`. Blocks, and belongs on a blocking thread.
    pub fn cut_off(&self, port: u16) -> Result<Outcome, CutOffError> {
        match self.means {
            Means::Block => self.block(port),
            Means::End => match cut::destroy(port) {
                Ok(cut) => Ok(Outcome::Ended(cut)),
                Err(error) if should_block(&error) => {
                    tracing::warn!(port, %error, "its connections are blocked instead");
                    self.block(port)
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    /// How many connections are blocked.
    pub fn blocked(&self) -> usize {
        self.lock_blocked().len()
    }

    /// Lets go of the blocked connections that are gone, and blocks the others on interfaces that have come. Blocks, and
    /// belongs on a blocking thread.
    pub fn release(&self) -> Result<(), CutOffError> {
        let mut blocked = self.lock_blocked();
        if blocked.is_empty() {
            return Ok(());
        }
        let ports: BTreeSet<u16> = blocked.iter().map(|ends| ends.local.port()).collect();
        let mut open = BTreeMap::new();
        for port in ports {
            open.insert(port, listed(port)?);
        }
        let kept = kept(&blocked, &open);
        self.lock_kernel().block(&kept)?;
        *blocked = kept;
        Ok(())
    }

    /// Releases what is gone, every second until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut ticks = interval(RELEASE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let this = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || this.release()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "what is blocked stays as it is"),
                Err(error) => tracing::error!(%error, "blocked connections are no longer looked after"),
            }
        }
    }

    fn block(&self, port: u16) -> Result<Outcome, CutOffError> {
        let open = listed(port)?;
        let mut blocked = self.lock_blocked();
        let all = &*blocked | &open;
        let done = self.lock_kernel().block(&all);
        // Where it has failed in part, the next release tries again.
        *blocked = all;
        done?;
        Ok(Outcome::Blocked(open.len()))
    }

    fn lock_blocked(&self) -> MutexGuard<'_, BTreeSet<Ends>> {
        self.blocked.lock().expect("nothing panics while it holds this lock")
    }

    fn lock_kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().expect("nothing panics while it holds this lock")
    }
}

fn listed(port: u16) -> Result<BTreeSet<Ends>, CutOffError> {
    cut::open_connections(port).map_err(|source| CutOffError::List { port, source })
}

/// Whether blocking may do what ending could not.
fn should_block(error: &CutError) -> bool {
    match error {
        CutError::Unsupported | CutError::NotPermitted => true,
        CutError::Failed { .. } => false,
    }
}

/// The blocked connections that are still there, by what is open at each port.
fn kept(blocked: &BTreeSet<Ends>, open: &BTreeMap<u16, BTreeSet<Ends>>) -> BTreeSet<Ends> {
    let is_open = |ends: &&Ends| open.get(&ends.local.port()).is_some_and(|open| open.contains(ends));
    blocked.iter().filter(is_open).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(port: u16, remote_port: u16) -> Ends {
        Ends {
            local: ([192, 0, 2, 1], port).into(),
            remote: ([198, 51, 100, 7], remote_port).into(),
        }
    }

    #[test]
    fn a_block_lasts_as_long_as_its_connection() {
        let blocked = [ends(10_001, 1), ends(10_001, 2), ends(10_002, 1)].into();
        let open = BTreeMap::from([
            (10_001, [ends(10_001, 2), ends(10_001, 3)].into()),
            (10_002, BTreeSet::new()),
        ]);
        // The third at the first port has come later, and is nobody's who was cut off.
        assert_eq!(kept(&blocked, &open), [ends(10_001, 2)].into());
        assert!(kept(&BTreeSet::new(), &open).is_empty());
    }

    #[test]
    fn what_cannot_be_ended_is_blocked() {
        assert!(should_block(&CutError::Unsupported));
        assert!(should_block(&CutError::NotPermitted));
        let source = io::Error::from(io::ErrorKind::InvalidData);
        assert!(!should_block(&CutError::Failed { port: 1, source }));
    }
}
