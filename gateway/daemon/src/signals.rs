//! What a process is told by signals: to stop, and to read its configuration again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The status of a process that was told twice to stop: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// Cancelled by SIGTERM or SIGINT; a second one ends the process at once.
pub fn shutdown_on_signal() -> io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = shutdown.clone();
    tokio::spawn(async move {
        let mut next = async || tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} };
        next().await;
        token.cancel();
        next().await;
        // What a kill leaves is sound, so somebody who insists is obeyed.
        std::process::exit(INTERRUPTED);
    });
    Ok(shutdown)
}

/// SIGHUP: the configuration is to be read again. From the moment this is there none ends the process any more.
#[derive(Debug)]
pub struct HangUps(Signal);

impl HangUps {
    /// Listens from now on.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one. Several that come close together may be one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // The runtime ends.
            std::future::pending::<()>().await;
        }
    }
}
