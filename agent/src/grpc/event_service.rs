//! `portmeter.v1.EventService`.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use portmeter_proto::v1::event_service_server::EventService as Rpc;
use portmeter_proto::v1::{
    GetEventStatisticsRequest, GetEventStatisticsResponse, ListEventsRequest, ListEventsResponse, WatchEventsRequest,
    WatchEventsResponse,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::events;
use crate::services::EventService;
use crate::store::Event;

/// The adapter around what happened.
pub struct EventAdapter {
    events: EventService,
    shutdown: CancellationToken,
}

impl EventAdapter {
    pub(super) fn new(events: EventService, shutdown: CancellationToken) -> Self {
        Self { events, shutdown }
    }
}

#[tonic::async_trait]
impl Rpc for EventAdapter {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<WatchEventsResponse, Status>> + Send>>;

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let request = request.get_ref();
        let filter = events::filter(request)?;
        let page = self.events.list(filter, request.page_size, &request.page_token).await?;
        Ok(Response::new(ListEventsResponse {
            events: page.events.into_iter().map(events::event).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn get_event_statistics(
        &self,
        request: Request<GetEventStatisticsRequest>,
    ) -> Result<Response<GetEventStatisticsResponse>, Status> {
        let since = events::since(request.get_ref().since.as_ref())?;
        let statistics = self.events.statistics(since).await?;
        Ok(Response::new(events::statistics(statistics)))
    }

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        // A place that cannot be followed is told at once, not as the stream's first item.
        let follower = self.events.follow(request.get_ref().after_id)?;
        let batches = stream::try_unfold(follower, |mut follower| async move {
            let next = follower.next().await?;
            Ok::<_, Status>(next.map(|batch| (batch, follower)))
        });
        let messages = batches
            .map_ok(|batch| stream::iter(batch.into_iter().map(message).map(Ok)))
            .try_flatten()
            .take_until(self.shutdown.clone().cancelled_owned());
        Ok(Response::new(Box::pin(messages)))
    }
}

fn message(event: Event) -> WatchEventsResponse {
    WatchEventsResponse {
        event: Some(events::event(event)),
    }
}
