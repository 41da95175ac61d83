//! `portmeter.v1.HistoryService`.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use portmeter_proto::v1::history_service_server::HistoryService as Rpc;
use portmeter_proto::v1::{
    CleanUpDaysRequest, CleanUpDaysResponse, GetBookingSnapshotRequest, GetBookingSnapshotResponse, GetHistoryRequest,
    GetHistoryResponse, ListCyclesRequest, ListCyclesResponse, ListHistoriesRequest, ListHistoriesResponse,
    ListKeyPeriodsRequest, ListKeyPeriodsResponse, ListPeriodsRequest, ListPeriodsResponse, ListSeriesRequest,
    ListSeriesResponse, ListTopRequest, ListTopResponse, ResetHistoryRequest, ResetHistoryResponse, UpdateCycleRequest,
    UpdateCycleResponse, WatchBookingsRequest, WatchBookingsResponse,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{convert, history};
use crate::calendar::Day;
use crate::ledger::Tally;
use crate::services::{HistoryService, PeriodQuery};
use crate::store::PartStart;

/// Keys in a top list where the caller names no number.
const TOP_LIMIT: u32 = 10;
/// Cycles where the caller names no number, and at most.
const CYCLES_LIMIT: u32 = 12;
const CYCLES_LIMIT_MAX: u32 = 1_000;

/// The adapter around the history service.
pub struct HistoryAdapter {
    history: HistoryService,
    shutdown: CancellationToken,
}

impl HistoryAdapter {
    pub(super) fn new(history: HistoryService, shutdown: CancellationToken) -> Self {
        Self { history, shutdown }
    }
}

#[tonic::async_trait]
impl Rpc for HistoryAdapter {
    type WatchBookingsStream = Pin<Box<dyn Stream<Item = Result<WatchBookingsResponse, Status>> + Send>>;

    async fn get_history(&self, request: Request<GetHistoryRequest>) -> Result<Response<GetHistoryResponse>, Status> {
        let GetHistoryRequest {
            key_id,
            include_days,
            month,
        } = request.get_ref();
        let (with, month) = self.history.get_with(key_id, *include_days, month.as_deref()).await?;
        let id = with.history.key.id;
        let day = |(day, tally): &(i64, Tally)| {
            let day = Day(i32::try_from(*day).unwrap_or_default());
            history::period(day.to_string(), id, tally)
        };
        Ok(Response::new(GetHistoryResponse {
            history: Some(history::key_history(&with.history)),
            read_at: Some(convert::timestamp(with.read_at)),
            today: self.history.day(with.read_at).to_string(),
            days: with.days.iter().map(day).collect(),
            month: month.map(|month| history::period(month.to_string(), id, &with.month)),
        }))
    }

    async fn list_histories(
        &self,
        request: Request<ListHistoriesRequest>,
    ) -> Result<Response<ListHistoriesResponse>, Status> {
        let (histories, read_at) = if request.get_ref().include_activity {
            let (histories, read_at) = self.history.list_with_activity().await?;
            (histories.iter().map(history::used_key_history).collect(), read_at)
        } else {
            let (histories, read_at) = self.history.list();
            (histories.iter().map(history::key_history).collect(), read_at)
        };
        Ok(Response::new(ListHistoriesResponse {
            histories,
            read_at: Some(convert::timestamp(read_at)),
            today: self.history.day(read_at).to_string(),
        }))
    }

    async fn list_periods(
        &self,
        request: Request<ListPeriodsRequest>,
    ) -> Result<Response<ListPeriodsResponse>, Status> {
        let request = request.get_ref();
        let query = PeriodQuery {
            granularity: history::granularity(request.granularity)?,
            first: &request.first,
            last: &request.last,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        if request.key_id.is_empty() {
            let page = self.history.all_periods(&query).await?;
            return Ok(Response::new(ListPeriodsResponse {
                periods: page.rows.into_iter().map(history::together).collect(),
                next_page_token: page.next_page_token,
            }));
        }
        let page = self.history.key_periods(&request.key_id, &query).await?;
        let key_id = self.history.id(&request.key_id)?;
        let periods = page.rows.into_iter();
        Ok(Response::new(ListPeriodsResponse {
            periods: periods
                .map(|(start, tally)| history::period(start, key_id, &tally))
                .collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_key_periods(
        &self,
        request: Request<ListKeyPeriodsRequest>,
    ) -> Result<Response<ListKeyPeriodsResponse>, Status> {
        let request = request.get_ref();
        let query = PeriodQuery {
            granularity: history::granularity(request.granularity)?,
            first: &request.first,
            last: &request.last,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let page = self.history.each_key_periods(&query).await?;
        let periods = page.rows.into_iter();
        Ok(Response::new(ListKeyPeriodsResponse {
            periods: periods
                .map(|(start, (key_id, tally))| history::period(start, key_id, &tally))
                .collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn reset_history(
        &self,
        request: Request<ResetHistoryRequest>,
    ) -> Result<Response<ResetHistoryResponse>, Status> {
        let key = self.history.reset(&request.get_ref().key_id).await?;
        Ok(Response::new(ResetHistoryResponse {
            key: Some(convert::key(&key)),
        }))
    }

    async fn clean_up_days(
        &self,
        request: Request<CleanUpDaysRequest>,
    ) -> Result<Response<CleanUpDaysResponse>, Status> {
        let removed_rows = self.history.clean_up_days(request.get_ref().days_to_keep).await?;
        Ok(Response::new(CleanUpDaysResponse { removed_rows }))
    }

    async fn list_series(&self, request: Request<ListSeriesRequest>) -> Result<Response<ListSeriesResponse>, Status> {
        let request = request.get_ref();
        let metric = history::metric(request.metric)?;
        let points = self
            .history
            .series(
                &request.key_id,
                metric,
                request.period_seconds,
                request.granularity_seconds,
            )
            .await?;
        Ok(Response::new(ListSeriesResponse {
            points: points.into_iter().map(history::point).collect(),
        }))
    }

    async fn list_top(&self, request: Request<ListTopRequest>) -> Result<Response<ListTopResponse>, Status> {
        let request = request.get_ref();
        let metric = history::metric(request.metric)?;
        let limit = or_default(request.limit, TOP_LIMIT);
        let (top, total) = self.history.top(metric, request.period_seconds, limit).await?;
        Ok(Response::new(ListTopResponse {
            top: top.iter().map(|(key, value)| history::top_key(key, *value)).collect(),
            total,
        }))
    }

    async fn list_cycles(&self, request: Request<ListCyclesRequest>) -> Result<Response<ListCyclesResponse>, Status> {
        let request = request.get_ref();
        let limit = or_default(request.limit.min(CYCLES_LIMIT_MAX), CYCLES_LIMIT);
        let (key, cycles) = self.history.cycles(&request.key_id, limit).await?;
        Ok(Response::new(ListCyclesResponse {
            key: Some(convert::key(&key)),
            rule: key.cycle.as_ref().map(history::cycle_rule),
            cycles: cycles.iter().map(history::cycle).collect(),
        }))
    }

    async fn update_cycle(
        &self,
        request: Request<UpdateCycleRequest>,
    ) -> Result<Response<UpdateCycleResponse>, Status> {
        let UpdateCycleRequest { key_id, rule } = request.get_ref();
        // A key that is not there is told before what is wrong with the rule.
        self.history.id(key_id)?;
        let cycle = match rule {
            Some(rule) => Some(history::billing_cycle(rule, &self.history)?),
            None => None,
        };
        let key = self.history.set_cycle(key_id, cycle).await?;
        Ok(Response::new(UpdateCycleResponse {
            key: Some(convert::key(&key)),
            rule: key.cycle.as_ref().map(history::cycle_rule),
        }))
    }

    async fn watch_bookings(
        &self,
        request: Request<WatchBookingsRequest>,
    ) -> Result<Response<Self::WatchBookingsStream>, Status> {
        let after = request.get_ref().after_sequence;
        let mut follower = Follower {
            committed: self.history.committed(),
            history: self.history.clone(),
            after,
            part: None,
            until: None,
        };
        // A position that cannot be followed is told at once, not as the stream's first item.
        let first = follower.next().await?;
        let rest = stream::try_unfold(follower, |mut follower| async move {
            let next = follower.awaited().await?;
            Ok::<_, Status>(next.map(|message| (message, follower)))
        });
        let messages = stream::iter(first.map(Ok)).chain(rest.into_stream());
        let messages = messages.take_until(self.shutdown.clone().cancelled_owned());
        Ok(Response::new(Box::pin(messages)))
    }

    async fn get_booking_snapshot(
        &self,
        _: Request<GetBookingSnapshotRequest>,
    ) -> Result<Response<GetBookingSnapshotResponse>, Status> {
        let snapshot = self.history.booking_snapshot().await?;
        Ok(Response::new(GetBookingSnapshotResponse {
            sequence: snapshot.sequence,
            keys: snapshot.keys.iter().map(history::booked_key).collect(),
        }))
    }
}

/// Somebody who follows the bookings: where they stand.
struct Follower {
    committed: tokio::sync::watch::Receiver<u64>,
    history: HistoryService,
    after: u64,
    /// The part to be read next, of those up to `until`.
    part: Option<PartStart>,
    until: Option<u64>,
}

impl Follower {
    /// The next message; waits for a commit where there is none. `None` when the store is closed.
    async fn awaited(&mut self) -> Result<Option<WatchBookingsResponse>, Status> {
        loop {
            if let Some(message) = self.next().await? {
                return Ok(Some(message));
            }
            if self.committed.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The next message; `None` when nothing is new. Of several parts only the last one brings the follower further, so
    /// that who breaks off in between gets them all again.
    async fn next(&mut self) -> Result<Option<WatchBookingsResponse>, Status> {
        self.committed.mark_unchanged();
        let bookings = self.history.bookings(self.after, self.part).await?;
        let until = *self.until.get_or_insert(bookings.sequence);
        if until == self.after {
            self.until = None;
            return Ok(None);
        }
        self.part = bookings.next;
        if self.part.is_none() {
            self.after = until;
            self.until = None;
        }
        Ok(Some(WatchBookingsResponse {
            sequence: self.after,
            committed_at: Some(convert::timestamp(bookings.committed_at)),
            keys: bookings.keys.iter().map(history::booked_key).collect(),
        }))
    }
}

fn or_default(wanted: u32, default: u32) -> usize {
    if wanted == 0 { default as usize } else { wanted as usize }
}
