//! The configuration that is in force, which a reload replaces.

use std::sync::Arc;

use tokio::sync::watch;

use super::Config;

/// The configuration in force; a clone is the same one. Who reads a setting that may change asks for it each time, or waits
/// for the next configuration.
#[derive(Debug, Clone)]
pub struct Live(watch::Sender<Arc<Config>>);

impl Live {
    /// What the agent starts with.
    pub fn new(config: Config) -> Self {
        Self(watch::Sender::new(Arc::new(config)))
    }

    /// What is in force at this moment.
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.borrow())
    }

    /// What tells of the next ones.
    pub fn follow(&self) -> watch::Receiver<Arc<Config>> {
        self.0.subscribe()
    }

    /// Puts another one in force.
    pub fn replace(&self, config: Config) {
        self.0.send_replace(Arc::new(config));
    }
}
