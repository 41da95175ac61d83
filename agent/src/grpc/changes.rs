//! Changes run to their end, whoever waits for them.
//!
//! A call's future is dropped when its caller goes away or its deadline passes. A change that was committed and not yet
//! applied would leave the store and the core apart, so whatever changes more than the store runs in a task of its own: the
//! caller may stop waiting, the change goes on. A stop waits for those under way.

use portmeter_proto::reason::Reason;
use tokio::sync::watch;
use tonic::Status;

use crate::services::ServiceError;

/// The changes under way. A clone counts the same ones.
#[derive(Clone, Default)]
pub struct Changes(watch::Sender<usize>);

/// A change under way.
struct UnderWay(watch::Sender<usize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Changes {
    /// Makes a change and waits for it. Once this was polled the change is made, even if nobody waits any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
    ) -> Result<T, Status> {
        self.0.send_modify(|count| *count += 1);
        let under_way = UnderWay(self.0.clone());
        let ended = tokio::spawn(async move {
            let _under_way = under_way;
            change.await
        });
        ended
            .await
            .map_err(|error| {
                tracing::error!(%error, "a change ended early");
                Reason::Internal.status("The change ended early; the log says more")
            })?
            .map_err(Status::from)
    }

    /// Waits until no change is under way.
    pub async fn finished(&self) {
        // It cannot fail: `self` is a sender.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_change_that_nobody_waits_for_is_made_all_the_same() {
        let (changes, half_way, go_on) = (Changes::default(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let is_done = Arc::new(AtomicBool::new(false));
        let change = {
            let (half_way, go_on, is_done) = (half_way.clone(), go_on.clone(), is_done.clone());
            async move {
                half_way.notify_one();
                go_on.notified().await;
                is_done.store(true, Ordering::SeqCst);
                Ok(())
            }
        };
        tokio::select! {
            _ = changes.run(change) => panic!("the change waits to be told"),
            () = half_way.notified() => {}
        }
        assert!(!is_done.load(Ordering::SeqCst));
        go_on.notify_one();
        changes.finished().await;
        assert!(is_done.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_this_call_alone() {
        let changes = Changes::default();
        let panicking = async { panic!("on purpose") };
        let status = changes.run::<()>(panicking).await.unwrap_err();
        assert_eq!(Reason::of(&status), Reason::Internal);
        assert_eq!(changes.run(async { Ok(5) }).await.unwrap(), 5);
    }
}
