//! What systemd, or whoever plays its part, is told of this process (`sd_notify(3)`): that it is ready, how it is, that it
//! reads its configuration again, that it stops, and that it is alive.
//!
//! Without a service manager nothing is told, so callers need not ask whether there is one.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// Names the service manager's socket.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// Whoever started this process and wants to hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceManager {
    is_there: bool,
}

impl ServiceManager {
    /// The one that the environment names, or none.
    pub fn find() -> Self {
        let socket = std::env::var_os(SOCKET_VARIABLE);
        Self {
            is_there: socket.is_some_and(|socket| !socket.is_empty()),
        }
    }

    /// Whether there is one.
    pub fn is_there(self) -> bool {
        self.is_there
    }

    /// Everything is served from now on; what was read again is in force.
    pub fn ready(self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// How it is, in one line, for people who ask the service manager.
    pub fn status(self, text: &str) {
        // A second line would be another message.
        let line = text.replace(['\n', '\r'], " ");
        self.tell(&[NotifyState::Status(&line)]);
    }

    /// The configuration is read again, or the process begins anew; [`Self::ready`] follows.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read"),
        }
    }

    /// It stops because it was told to, or cannot go on.
    pub fn stopping(self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// It works. Told more seldom than [`Self::watchdog_limit`], it is ended and started again.
    pub fn alive(self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// How long the service manager waits for [`Self::alive`]; `None` where it does not.
    pub fn watchdog_limit(self) -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|limit| self.is_there && !limit.is_zero())
    }

    fn tell(self, what: &[NotifyState<'_>]) {
        if !self.is_there {
            return;
        }
        match sd_notify::notify(what) {
            Ok(()) => {}
            // It does not read just now. What is said regularly is said again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => tracing::warn!(%error, "the service manager cannot be told how this is"),
        }
    }
}
