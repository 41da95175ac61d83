//! How often each route was asked, how it answered, and how long that took.
//!
//! A request is known by its row of the route table, so its figures are found by an index and kept in atomic numbers:
//! neither a lock nor an allocation, and no label that a caller could choose. What no row answers is one row of its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use http::StatusCode;
use portmeter_metrics::{Durations, Family, Page, Recorder, Timed, Value};

use crate::gateway::Gateway;
use crate::routes::{RouteLine, route_lines};

/// What is told of REST requests.
pub const REQUEST_FAMILIES: [&Family; 2] = [&DURATION, &REQUESTS];

const DURATION: Family = Family::durations(
    "portmeter_rest_request_duration",
    "Time from a REST request's head to its answer, which is then sent",
)
.by(&["method", "route"])
.noting("`route` is the path of the route table, `unmatched` for every path and method that is not in it. A route has rows from its first request on.");
const REQUESTS: Family = Family::counter("portmeter_rest_requests", "REST requests that have ended")
    .by(&["method", "route", "status"])
    .noting("`status` is `2xx`, `3xx`, `4xx` or `5xx`; `none` where the caller went away, or time was up, before there was an answer.");

/// What stands for the path of requests that no route answers.
const UNMATCHED: &str = "unmatched";

/// How a request ends, as `status` names it.
const OUTCOMES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];

/// The figures of every route. A clone is one more pointer to the same.
#[derive(Clone)]
pub struct RequestFigures(Arc<[RouteFigures]>);

/// One row of the table, or of what no row answers.
struct RouteFigures {
    method: &'static str,
    path: &'static str,
    durations: Durations,
    /// By the order of [`OUTCOMES`].
    outcomes: [AtomicU64; OUTCOMES.len()],
}

impl Default for RequestFigures {
    fn default() -> Self {
        let row = |method, path| RouteFigures {
            method,
            path,
            durations: Durations::default(),
            outcomes: Default::default(),
        };
        let routes = route_lines().into_iter().map(|line| row(line.method, line.path));
        Self(routes.chain([row(RouteLine::ANY, UNMATCHED)]).collect())
    }
}

impl RequestFigures {
    /// Writes [`REQUEST_FAMILIES`].
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        // Read once, so that both families speak of the same requests.
        let asked = self.0.iter().map(|route| (route, route.durations.read()));
        let asked: Vec<_> = asked.filter(|(_, recorded)| recorded.count() > 0).collect();
        let mut rows = page.family(&DURATION)?;
        for (route, recorded) in &asked {
            rows.durations([Value::Text(route.method), Value::Text(route.path)], recorded)?;
        }
        let mut rows = page.family(&REQUESTS)?;
        for (route, _) in &asked {
            for (outcome, count) in OUTCOMES.into_iter().zip(&route.outcomes) {
                let labels = [route.method, route.path, outcome].map(Value::Text);
                rows.row(labels, count.load(Ordering::Relaxed))?;
            }
        }
        Ok(())
    }

    /// The row of what no route answers.
    pub(crate) fn unmatched(&self) -> usize {
        self.0.len() - 1
    }

    fn note(&self, route: usize, status: Option<StatusCode>, took: Duration) {
        let route = &self.0[route];
        // The outcome first: whoever sees the duration finds it counted.
        route.outcomes[outcome(status)].fetch_add(1, Ordering::Relaxed);
        route.durations.record(took);
    }
}

impl fmt::Debug for RequestFigures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RequestFigures({} rows)", self.0.len())
    }
}

/// The position in [`OUTCOMES`].
fn outcome(status: Option<StatusCode>) -> usize {
    match status.map(|status| status.as_u16()) {
        Some(..300) => 0,
        Some(300..400) => 1,
        Some(400..500) => 2,
        Some(500..) => 3,
        None => 4,
    }
}

/// A handler whose requests are noted in row `route`.
#[derive(Clone)]
pub(crate) struct Measured<H> {
    pub(crate) route: usize,
    pub(crate) handler: H,
}

impl<T, H: Handler<T, Gateway>> Handler<T, Gateway> for Measured<H> {
    type Future = Timed<H::Future, Note>;

    fn call(self, request: Request, gateway: Gateway) -> Self::Future {
        let began_at = Instant::now();
        let note = Note {
            route: self.route,
            gateway: gateway.clone(),
        };
        Timed::new(self.handler.call(request, gateway), note, began_at)
    }
}

/// Where the end of one request is noted.
pub(crate) struct Note {
    route: usize,
    gateway: Gateway,
}

impl Recorder<Response> for Note {
    fn ended(self, answer: Option<&Response>, took: Duration) {
        let status = answer.map(Response::status);
        self.gateway.requests().note(self.route, status, took);
    }
}

#[cfg(test)]
mod tests {
    use portmeter_metrics::{Figures, Format, text};

    use super::*;

    struct Alone(RequestFigures);

    impl Figures for Alone {
        fn write(&self, page: &mut Page<'_>) -> fmt::Result {
            self.0.write(page)
        }
    }

    fn rows(figures: &RequestFigures, begin: &str) -> Vec<String> {
        let text = text(Alone(figures.clone()), Format::Prometheus, 0).unwrap();
        let rows = text.lines().filter(|line| line.starts_with(begin));
        rows.map(str::to_owned).collect()
    }

    #[test]
    fn a_route_shows_itself_once_it_was_asked() {
        let figures = RequestFigures::default();
        assert!(rows(&figures, "portmeter_").is_empty());
        let first = &route_lines()[0];
        figures.note(0, Some(StatusCode::OK), Duration::from_millis(2));
        figures.note(0, Some(StatusCode::NOT_FOUND), Duration::from_millis(2));
        figures.note(figures.unmatched(), None, Duration::from_secs(60));
        let row = |status: &str, count: u32| {
            let (method, path) = (first.method, first.path);
            format!("portmeter_rest_requests_total{{method=\"{method}\",route=\"{path}\",status=\"{status}\"}} {count}")
        };
        let shown = rows(&figures, "portmeter_rest_requests_total");
        assert_eq!(
            shown[..5],
            [
                row("2xx", 1),
                row("3xx", 0),
                row("4xx", 1),
                row("5xx", 0),
                row("none", 0)
            ]
        );
        let last = "portmeter_rest_requests_total{method=\"ANY\",route=\"unmatched\",status=\"none\"} 1";
        assert_eq!((shown.len(), shown[9].as_str()), (10, last));
        assert_eq!(rows(&figures, "portmeter_rest_request_duration_seconds_count").len(), 2);
    }

    #[test]
    fn every_status_is_one_outcome() {
        let named = |status: u16| OUTCOMES[outcome(StatusCode::from_u16(status).ok())];
        for (status, expected) in [
            (200, "2xx"),
            (204, "2xx"),
            (304, "3xx"),
            (400, "4xx"),
            (499, "4xx"),
            (500, "5xx"),
            (999, "5xx"),
        ] {
            assert_eq!(named(status), expected);
        }
        assert_eq!(OUTCOMES[outcome(None)], "none");
    }
}
