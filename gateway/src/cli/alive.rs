//! Tells the service manager that the gateway works, and only while it does: while its own router answers.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use portmeter_daemon::service_manager::ServiceManager;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// The route that answers as long as anything does.
const ALIVE: &str = "/livez";

/// Tells it three times as often as the service manager wants to hear it, until `shutdown`. Nothing where it does not.
pub(super) async fn tell(manager: ServiceManager, router: Router, shutdown: CancellationToken) {
    let Some(limit) = manager.watchdog_limit() else {
        return;
    };
    let interval = limit / 3;
    while shutdown
        .run_until_cancelled(tokio::time::sleep(interval))
        .await
        .is_some()
    {
        match answers(router.clone(), interval).await {
            true => manager.alive(),
            false => tracing::error!("the gateway does not answer itself; the service manager is told nothing"),
        }
    }
}

async fn answers(router: Router, patience: Duration) -> bool {
    let Ok(request) = Request::get(ALIVE).body(Body::empty()) else {
        return false;
    };
    let answered = tokio::time::timeout(patience, router.oneshot(request)).await;
    answered.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success()))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_router_that_hangs_does_not_answer() {
        let second = Duration::from_secs(1);
        let good = Router::new().route(ALIVE, get(|| async { "ok" }));
        assert!(answers(good, second).await);
        let hanging = Router::new().route(ALIVE, get(std::future::pending::<&str>));
        assert!(!answers(hanging, second).await);
        assert!(!answers(Router::new(), second).await);
    }
}
