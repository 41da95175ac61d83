//! Ends what connections a port has, and says so when it cannot.

use std::sync::Arc;

use crate::cut_off::{CutOff, Outcome};

/// Cuts off everybody who is connected at a port whose inbound is gone. Where that fails the log says why: the change
/// itself stands.
pub(super) async fn cut(cut_off: &Arc<CutOff>, port: u16) {
    let cut_off = Arc::clone(cut_off);
    match tokio::task::spawn_blocking(move || cut_off.cut_off(port)).await {
        Ok(Ok(Outcome::Ended(cut))) if cut.left > 0 => {
            tracing::warn!(
                port,
                ended = cut.ended,
                left = cut.left,
                "some connections are not yet ended"
            );
        }
        Ok(Ok(outcome)) => tracing::debug!(port, ?outcome, "connections were cut off"),
        Ok(Err(error)) => tracing::error!(port, %error, "the connections of a key that was cut off go on"),
        Err(error) => tracing::error!(port, %error, "cutting connections off ended early"),
    }
}
