//! Ends what connections a port has, and tells when it cannot.

use std::sync::Arc;

use super::told;
use crate::cut_off::{CutOff, Outcome};
use crate::store::Store;

/// Cuts off everybody who is connected at a port whose inbound is gone. Where that fails the log and an event say
/// why: the change itself stands.
pub(super) async fn cut(cut_off: &Arc<CutOff>, store: &Store, port: u16) {
    let cut_off = Arc::clone(cut_off);
    match tokio::task::spawn_blocking(move || cut_off.cut_off(port)).await {
        Ok(Ok(Outcome::Ended(cut))) if cut.left > 0 => {
            tracing::warn!(
                port,
                ended = cut.ended,
                left = cut.left,
                "some connections are not yet ended"
            );
            store.note_event(told::not_yet_cut_off(port, cut.left)).await;
        }
        Ok(Ok(outcome)) => tracing::debug!(port, ?outcome, "connections were cut off"),
        Ok(Err(error)) => {
            tracing::error!(port, %error, "the connections of a key that was cut off go on");
            store.note_event(told::not_cut_off(port, &error.to_string())).await;
        }
        Err(error) => {
            tracing::error!(port, %error, "cutting connections off ended early");
            store.note_event(told::not_cut_off(port, "the work ended early")).await;
        }
    }
}
