//! SIGHUP: the configuration is read again, and what can change while the gateway runs does.

use std::env;

use portmeter_daemon::configuration::{Change, ConfigError, compare};
use portmeter_daemon::log::Log;
use portmeter_daemon::service_manager::ServiceManager;
use portmeter_daemon::signals::HangUps;
use tokio_util::sync::CancellationToken;

use super::Arguments;
use crate::config::GatewaySettings;
use crate::gateway::LiveConfig;

/// What a reload needs.
pub(super) struct Reloader {
    /// What was given on the command line goes on to win.
    pub(super) arguments: Arguments,
    /// What the gateway runs with.
    pub(super) running: GatewaySettings,
    pub(super) live: LiveConfig,
    pub(super) log: Log,
    pub(super) manager: ServiceManager,
}

impl Reloader {
    /// Reads the configuration at each SIGHUP until `shutdown`.
    pub(super) async fn run(mut self, mut hang_ups: HangUps, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(hang_ups.next()).await.is_some() {
            self.manager.reloading();
            let arguments = self.arguments.clone();
            let loaded = tokio::task::spawn_blocking(move || arguments.load(env::vars_os())).await;
            match loaded {
                Ok(loaded) => self.take_over(loaded),
                Err(error) => tracing::error!(%error, "reading the configuration has failed"),
            }
            self.manager.ready();
        }
    }

    fn take_over(&mut self, loaded: Result<GatewaySettings, ConfigError>) {
        let change = match loaded {
            Ok(loaded) => compare(&self.running, &loaded),
            Err(error) => {
                for problem in error.sentences() {
                    tracing::error!(problem, "the configuration is wrong; the earlier one stays in force");
                }
                return;
            }
        };
        match change {
            Ok(change) => self.apply(change),
            Err(error) => {
                tracing::error!(%error, "the configuration cannot be compared; the earlier one stays in force");
            }
        }
    }

    fn apply(&mut self, change: Change<GatewaySettings>) {
        self.live.follow(&change.next.http);
        self.log.set_level(&change.next.log.level);
        tracing::info!(
            applied = change.applied.join(", "),
            needs_restart = change.waiting.join(", "),
            "the configuration is read anew"
        );
        self.running = change.next;
    }
}
