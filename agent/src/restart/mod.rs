//! How an agent begins anew when it is asked to: it stops as at SIGTERM, with the last booking and all calls answered, and
//! the same process goes on as a new one.
//!
//! Under systemd that is systemd's doing. Elsewhere the process executes its own program again, with its arguments and its
//! environment: locks and listeners are let go of before, what is pinned counts on, and the core stays. The rights that a
//! start gives up do not come back, so a restart that would need one of them is refused while the old agent still runs.

mod own_unit;
mod successor;

use std::sync::atomic::{AtomicBool, Ordering};

use portmeter_daemon::credentials;
use tokio_util::sync::CancellationToken;

use crate::api_key::{self, ApiKeyError};
use crate::config::{self, Config, ConfigError, Flags, XrayMode};
use crate::rights::{self, AccessError, ReduceError};
use crate::xray::core::binary::{self, BinaryError};

pub use own_unit::own_unit;
pub use successor::become_successor;

/// How an agent's run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// It is to begin anew.
    Restart,
}

/// Why a new agent would not come up in this one's place.
#[derive(Debug, thiserror::Error)]
pub enum NotAgain {
    /// The configuration as it is now would be refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The API key cannot be read any more.
    #[error(transparent)]
    ApiKey(#[from] ApiKeyError),
    /// A folder cannot be worked with any more.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The core that it is to run is not there.
    #[error(transparent)]
    Core(#[from] BinaryError),
    /// A listener has been moved to a low port, and the right to bind it was given up.
    #[error("a low port is configured to listen on, which takes a right that this agent has given up")]
    LowPort,
    /// The rights cannot be handed on.
    #[error(transparent)]
    HandOn(#[from] ReduceError),
}

/// The wish to begin anew, and what ends the agent for it.
pub struct Restart {
    flags: Flags,
    is_asked: AtomicBool,
    /// Told from outside: whoever wants the agent stopped does not want it to begin anew.
    stop: CancellationToken,
    shutdown: CancellationToken,
}

impl Restart {
    /// `stop` is what a signal cancels, `flags` what the command line has set.
    pub fn new(flags: Flags, stop: CancellationToken) -> Self {
        Self {
            flags,
            is_asked: AtomicBool::new(false),
            shutdown: stop.child_token(),
            stop,
        }
    }

    /// What the agent's parts run until.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Reads the configuration as a start would read it now.
    pub fn load(&self) -> Result<Config, ConfigError> {
        config::load(&self.flags, std::env::vars_os())
    }

    /// Sees whether a new agent would come up in this process, as far as that can be told beforehand. Reads files.
    pub fn check(&self) -> Result<(), NotAgain> {
        let config = self.load()?;
        let environment = std::env::var(api_key::VARIABLE).ok();
        let credential = credentials::find(credentials::API_KEY);
        api_key::given(
            environment.as_deref(),
            config.http.api_key_file.as_deref(),
            credential.as_deref(),
        )?;
        if !rights::may_listen(&config) {
            return Err(NotAgain::LowPort);
        }
        rights::check_folders(&config)?;
        if config.xray.mode == Some(XrayMode::Supervised) {
            binary::find(&config.xray.binary)?;
        }
        // Rights are each thread's own: what this one does with its own changes nothing for the others.
        let tried = std::thread::spawn(rights::hand_on).join();
        Ok(tried.unwrap_or_else(|_| Err(ReduceError::of_thread()))?)
    }

    /// Ends the agent, which begins anew once it has stopped; false where it is being stopped already.
    pub fn begin(&self) -> bool {
        if self.shutdown.is_cancelled() {
            return false;
        }
        self.is_asked.store(true, Ordering::Release);
        self.shutdown.cancel();
        true
    }

    /// How the run ends, as far as is known by now.
    pub fn ending(&self) -> Ending {
        match self.is_asked.load(Ordering::Acquire) && !self.stop.is_cancelled() {
            true => Ending::Restart,
            false => Ending::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restart() -> (Restart, CancellationToken) {
        let stop = CancellationToken::new();
        (Restart::new(Flags::default(), stop.clone()), stop)
    }

    #[test]
    fn an_agent_that_was_asked_begins_anew() {
        let (restart, _stop) = restart();
        assert_eq!(restart.ending(), Ending::Stopped);
        assert!(restart.begin());
        assert!(restart.shutdown().is_cancelled());
        assert_eq!(restart.ending(), Ending::Restart);
        assert!(!restart.begin(), "once is enough");
    }

    #[test]
    fn a_signal_wins() {
        let (told_before, stop) = restart();
        stop.cancel();
        assert!(!told_before.begin());
        assert_eq!(told_before.ending(), Ending::Stopped);
        let (told_after, stop) = restart();
        assert!(told_after.begin());
        stop.cancel();
        assert_eq!(told_after.ending(), Ending::Stopped);
    }

    #[test]
    fn a_configuration_that_would_be_refused_is_found_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portmeter.toml");
        let flags = Flags {
            config: Some(path.clone()),
            ..Flags::default()
        };
        let restart = Restart::new(flags, CancellationToken::new());
        assert!(matches!(restart.check(), Err(NotAgain::Config(_))), "no file");
        std::fs::write(&path, "[http]\nlisten = 5\n").unwrap();
        assert!(matches!(restart.check(), Err(NotAgain::Config(_))), "no address");
        std::fs::write(&path, "[http]\napi_key_file = \"/nowhere/key\"\n").unwrap();
        if std::env::var_os(api_key::VARIABLE).is_none() {
            assert!(matches!(restart.check(), Err(NotAgain::ApiKey(_))), "no key");
        }
    }
}
