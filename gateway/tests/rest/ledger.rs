//! The stand-in's ledger.
//!
//! Every key has moved something on three days in two months, made from its port; keys and days are listed in the order
//! that the .proto file promises, in pages of two rows, so that nobody gets by without asking for the next one. Ranges
//! are compared as text, which is right for these days and months. A reset hides a key's rows but not its part of what
//! all keys moved together; a clean-up forgets days.

use std::collections::{BTreeMap, BTreeSet};

use portmeter_proto::reason::Reason;
use portmeter_proto::v1::history_service_server::HistoryService;
use portmeter_proto::v1::*;
use prost_types::Timestamp;
use tonic::codegen::tokio_stream::Pending;
use tonic::{Request, Response, Status};

use super::{Agent, NOW, State};

/// The day of [`NOW`].
const TODAY: &str = "2025-08-05";

/// The days on which something was moved.
const DAYS: [&str; 3] = ["2025-07-31", "2025-08-04", TODAY];

/// Rows in a page, whatever is asked for.
const PAGE_ROWS: usize = 2;

/// What has been done to the ledger.
#[derive(Default)]
pub(super) struct Ledger {
    reset_ids: BTreeSet<String>,
    days_to_keep: Option<u32>,
    rules: BTreeMap<String, CycleRule>,
}

impl Agent {
    /// How many days the last clean-up kept.
    pub(crate) fn days_to_keep(&self) -> Option<u32> {
        self.state().ledger.days_to_keep
    }

    /// The billing cycle of a key.
    pub(crate) fn cycle_rule(&self, key_id: &str) -> Option<CycleRule> {
        self.state().ledger.rules.get(key_id).cloned()
    }
}

impl State {
    /// What a key moved on one day.
    fn on_a_day(key: &Key) -> Tally {
        let port = u64::from(key.port.unwrap_or(0));
        Tally {
            rx_bytes: port * 1_000,
            tx_bytes: port * 7,
            rx_packets: port,
            tx_packets: port / 2,
            connections_opened: port / 1_000,
            max_connections: port - 10_000,
            sessions: 2,
            last_activity: Some(NOW),
        }
    }

    /// What a key moved on so many days, none of it since a reset.
    fn tally(&self, key: &Key, n_days: usize) -> Tally {
        if n_days == 0 || self.ledger.reset_ids.contains(&key.id) {
            return Tally::default();
        }
        repeated(&Self::on_a_day(key), n_days as u64)
    }

    fn kept_days(&self) -> impl Iterator<Item = &'static str> {
        let kept = self.ledger.days_to_keep;
        DAYS.into_iter().filter(move |day| {
            kept.is_none_or(|kept| *day > "2025-08-04" || (kept > 1 && *day > "2025-07-31") || kept > 5)
        })
    }

    /// The periods of a range, each with the number of its days.
    fn periods(&self, granularity: i32, first: &str, last: &str) -> Vec<(String, usize)> {
        let mut periods = BTreeMap::new();
        match Granularity::try_from(granularity).unwrap() {
            Granularity::Day => periods.extend(self.kept_days().map(|day| (day.to_owned(), 1))),
            Granularity::Month => {
                for day in DAYS {
                    *periods.entry(day[..7].to_owned()).or_default() += 1;
                }
            }
            granularity => panic!("no route asks for {granularity:?}"),
        }
        let is_in_range = |start: &String| start.as_str() >= first && (last.is_empty() || start.as_str() <= last);
        periods.retain(|start, _| is_in_range(start));
        periods.into_iter().collect()
    }

    fn activity(&self, key: &Key) -> KeyActivity {
        let is_reset = self.ledger.reset_ids.contains(&key.id);
        let days: Vec<&str> = self.kept_days().filter(|_| !is_reset).collect();
        KeyActivity {
            active_days: days.len() as u32,
            first_active_day: days.first().copied().unwrap_or_default().to_owned(),
        }
    }

    fn history(&self, key: &Key) -> KeyHistory {
        KeyHistory {
            key: Some(key.clone()),
            total: Some(self.tally(key, DAYS.len())),
            is_connected: !self.ledger.reset_ids.contains(&key.id),
            activity: None,
        }
    }
}

/// So many days of the same.
fn repeated(tally: &Tally, n_days: u64) -> Tally {
    Tally {
        rx_bytes: tally.rx_bytes * n_days,
        tx_bytes: tally.tx_bytes * n_days,
        rx_packets: tally.rx_packets * n_days,
        tx_packets: tally.tx_packets * n_days,
        connections_opened: tally.connections_opened * n_days,
        sessions: tally.sessions * n_days,
        ..*tally
    }
}

/// What several keys moved together.
fn together<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    tallies.fold(Tally::default(), |sum, tally| Tally {
        rx_bytes: sum.rx_bytes + tally.rx_bytes,
        tx_bytes: sum.tx_bytes + tally.tx_bytes,
        rx_packets: sum.rx_packets + tally.rx_packets,
        tx_packets: sum.tx_packets + tally.tx_packets,
        connections_opened: sum.connections_opened + tally.connections_opened,
        max_connections: sum.max_connections.max(tally.max_connections),
        sessions: sum.sessions + tally.sessions,
        last_activity: tally.last_activity,
    })
}

/// A page of `rows` and the token of the next one.
fn page(rows: Vec<Period>, token: &str) -> (Vec<Period>, String) {
    let start: usize = if token.is_empty() { 0 } else { token.parse().unwrap() };
    let next = start + PAGE_ROWS;
    let next_token = if next < rows.len() {
        next.to_string()
    } else {
        String::new()
    };
    (rows.into_iter().skip(start).take(PAGE_ROWS).collect(), next_token)
}

fn seconds_before_now(seconds: u32) -> Timestamp {
    Timestamp {
        seconds: NOW.seconds - i64::from(seconds),
        nanos: 0,
    }
}

#[tonic::async_trait]
impl HistoryService for Agent {
    async fn get_history(&self, request: Request<GetHistoryRequest>) -> Result<Response<GetHistoryResponse>, Status> {
        let request = request.into_inner();
        let state = self.call()?;
        let key = &state.keys[state.position(&request.key_id)?];
        let month = request
            .month
            .map(|month| if month.is_empty() { TODAY[..7].to_owned() } else { month });
        let row = |(start, n_days): (String, usize)| Period {
            start,
            key_id: key.id.clone(),
            tally: Some(state.tally(key, n_days)),
            active_keys: 0,
        };
        let is_shown = request.include_days && !state.ledger.reset_ids.contains(&key.id);
        let days = state.periods(Granularity::Day.into(), "", "").into_iter().map(row);
        let is_asked = |day: &Period| is_shown && month.as_ref().is_none_or(|month| day.start.starts_with(month));
        let whole = |month: &String| {
            let months = state.periods(Granularity::Month.into(), month, month);
            row(months.into_iter().next().unwrap_or((month.clone(), 0)))
        };
        Ok(Response::new(GetHistoryResponse {
            history: Some(state.history(key)),
            read_at: Some(NOW),
            today: TODAY.into(),
            days: days.filter(is_asked).collect(),
            month: month.as_ref().map(whole),
        }))
    }

    async fn list_histories(
        &self,
        request: Request<ListHistoriesRequest>,
    ) -> Result<Response<ListHistoriesResponse>, Status> {
        let state = self.call()?;
        let include_activity = request.get_ref().include_activity;
        let history = |key: &Key| KeyHistory {
            activity: include_activity.then(|| state.activity(key)),
            ..state.history(key)
        };
        Ok(Response::new(ListHistoriesResponse {
            histories: state.keys.iter().map(history).collect(),
            read_at: Some(NOW),
            today: TODAY.into(),
        }))
    }

    async fn list_periods(
        &self,
        request: Request<ListPeriodsRequest>,
    ) -> Result<Response<ListPeriodsResponse>, Status> {
        let request = request.into_inner();
        let state = self.call()?;
        let periods = state.periods(request.granularity, &request.first, &request.last);
        let key = match request.key_id.as_str() {
            "" => None,
            key_id => Some(&state.keys[state.position(key_id)?]),
        };
        let row = |(start, n_days): (String, usize)| match key {
            Some(key) => Period {
                start,
                key_id: key.id.clone(),
                tally: Some(state.tally(key, n_days)),
                active_keys: 0,
            },
            None => {
                let tallies: Vec<Tally> = state
                    .keys
                    .iter()
                    .map(|key| repeated(&State::on_a_day(key), n_days as u64))
                    .collect();
                Period {
                    start,
                    key_id: String::new(),
                    tally: Some(together(tallies.iter())),
                    active_keys: state.keys.len() as u64,
                }
            }
        };
        let is_hidden = key.is_some_and(|key| state.ledger.reset_ids.contains(&key.id));
        let rows = periods.into_iter().filter(|_| !is_hidden).map(row).collect();
        let (periods, next_page_token) = page(rows, &request.page_token);
        Ok(Response::new(ListPeriodsResponse {
            periods,
            next_page_token,
        }))
    }

    async fn list_key_periods(
        &self,
        request: Request<ListKeyPeriodsRequest>,
    ) -> Result<Response<ListKeyPeriodsResponse>, Status> {
        let request = request.into_inner();
        let state = self.call()?;
        let mut rows = Vec::new();
        for (start, n_days) in state.periods(request.granularity, &request.first, &request.last) {
            let shown = state
                .keys
                .iter()
                .filter(|key| !state.ledger.reset_ids.contains(&key.id));
            rows.extend(shown.map(|key| Period {
                start: start.clone(),
                key_id: key.id.clone(),
                tally: Some(state.tally(key, n_days)),
                active_keys: 0,
            }));
        }
        let (periods, next_page_token) = page(rows, &request.page_token);
        Ok(Response::new(ListKeyPeriodsResponse {
            periods,
            next_page_token,
        }))
    }

    async fn reset_history(
        &self,
        request: Request<ResetHistoryRequest>,
    ) -> Result<Response<ResetHistoryResponse>, Status> {
        let mut state = self.call()?;
        let position = state.position(&request.get_ref().key_id)?;
        let key = state.keys[position].clone();
        state.ledger.reset_ids.insert(key.id.clone());
        Ok(Response::new(ResetHistoryResponse { key: Some(key) }))
    }

    async fn clean_up_days(
        &self,
        request: Request<CleanUpDaysRequest>,
    ) -> Result<Response<CleanUpDaysResponse>, Status> {
        self.call()?.ledger.days_to_keep = Some(request.get_ref().days_to_keep);
        Ok(Response::new(CleanUpDaysResponse { removed_rows: 0 }))
    }

    /// Points that rise one by one, from 1.
    async fn list_series(&self, request: Request<ListSeriesRequest>) -> Result<Response<ListSeriesResponse>, Status> {
        let request = request.into_inner();
        let state = self.call()?;
        if !request.key_id.is_empty() {
            state.position(&request.key_id)?;
            if request.metric() == Metric::OnlineKeys {
                return Err(Reason::InvalidArgument.status("online keys are of all keys together"));
            }
        }
        let count = request.period_seconds / request.granularity_seconds;
        let point = |number: u32| SeriesPoint {
            start: Some(seconds_before_now((count - number) * request.granularity_seconds)),
            value: u64::from(number) + 1,
        };
        Ok(Response::new(ListSeriesResponse {
            points: (0..count).map(point).collect(),
        }))
    }

    /// The newest key has moved or held most.
    async fn list_top(&self, request: Request<ListTopRequest>) -> Result<Response<ListTopResponse>, Status> {
        let request = request.into_inner();
        let state = self.call()?;
        let limit = if request.limit == 0 { 10 } else { request.limit as usize };
        let value = |key: &Key| u64::from(key.port.unwrap_or(0));
        let keys = state.keys.iter().rev();
        let top = keys.clone().take(limit).map(|key| TopKey {
            key: Some(key.clone()),
            value: value(key),
        });
        Ok(Response::new(ListTopResponse {
            top: top.collect(),
            total: keys.map(value).sum(),
        }))
    }

    async fn list_cycles(&self, request: Request<ListCyclesRequest>) -> Result<Response<ListCyclesResponse>, Status> {
        let request = request.into_inner();
        let state = self.call()?;
        let key = &state.keys[state.position(&request.key_id)?];
        let cycle = |number: u32| Cycle {
            start: Some(seconds_before_now((number + 1) * 86_400)),
            end: Some(seconds_before_now(number * 86_400)),
            usage: Some(State::on_a_day(key)),
        };
        Ok(Response::new(ListCyclesResponse {
            key: Some(key.clone()),
            rule: state.ledger.rules.get(&key.id).cloned(),
            cycles: (0..request.limit.min(20)).map(cycle).collect(),
        }))
    }

    async fn update_cycle(
        &self,
        request: Request<UpdateCycleRequest>,
    ) -> Result<Response<UpdateCycleResponse>, Status> {
        let UpdateCycleRequest { key_id, rule } = request.into_inner();
        let mut state = self.call()?;
        let key = state.keys[state.position(&key_id)?].clone();
        state.ledger.rules.remove(&key.id);
        let filled_in = rule.map(|mut rule| {
            if rule.time_zone.is_empty() {
                rule.time_zone = "UTC".into();
            }
            if rule.first_date.is_empty() {
                rule.first_date = TODAY.into();
            }
            rule
        });
        if let Some(rule) = &filled_in {
            state.ledger.rules.insert(key.id.clone(), rule.clone());
        }
        Ok(Response::new(UpdateCycleResponse {
            key: Some(key),
            rule: filled_in,
        }))
    }

    type WatchBookingsStream = Pending<Result<WatchBookingsResponse, Status>>;

    async fn watch_bookings(
        &self,
        _: Request<WatchBookingsRequest>,
    ) -> Result<Response<Self::WatchBookingsStream>, Status> {
        Err(Status::unimplemented("no route asks for this"))
    }

    async fn get_booking_snapshot(
        &self,
        _: Request<GetBookingSnapshotRequest>,
    ) -> Result<Response<GetBookingSnapshotResponse>, Status> {
        Err(Status::unimplemented("no route asks for this"))
    }
}
