//! `portmeter.v1.TrafficService`.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use portmeter_proto::v1::traffic_service_server::TrafficService as Rpc;
use portmeter_proto::v1::{
    GetTrafficRequest, GetTrafficResponse, ListTrafficRequest, ListTrafficResponse, ResetTrafficRequest,
    ResetTrafficResponse, WatchTrafficRequest, WatchTrafficResponse,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::IntervalStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::convert;
use crate::sampler::SAMPLE_INTERVAL;
use crate::services::{Reading, ServiceError, TrafficService};

/// The adapter around the traffic service.
pub struct TrafficAdapter {
    traffic: TrafficService,
    shutdown: CancellationToken,
}

impl TrafficAdapter {
    pub(super) fn new(traffic: TrafficService, shutdown: CancellationToken) -> Self {
        Self { traffic, shutdown }
    }
}

#[tonic::async_trait]
impl Rpc for TrafficAdapter {
    type WatchTrafficStream = Pin<Box<dyn Stream<Item = Result<WatchTrafficResponse, Status>> + Send>>;

    async fn get_traffic(&self, request: Request<GetTrafficRequest>) -> Result<Response<GetTrafficResponse>, Status> {
        let request = request.get_ref();
        let reading = self.traffic.get(&request.key_id, request.include_connections).await?;
        let interfaces = self.traffic.interfaces()?;
        Ok(Response::new(GetTrafficResponse {
            key_traffic: reading
                .traffic
                .first()
                .map(|one| convert::key_traffic(one, request.include_connections)),
            interfaces: interfaces.into_iter().map(convert::interface).collect(),
            read_at: Some(convert::timestamp(reading.read_at)),
        }))
    }

    async fn list_traffic(
        &self,
        request: Request<ListTrafficRequest>,
    ) -> Result<Response<ListTrafficResponse>, Status> {
        let include_connections = request.get_ref().include_connections;
        let reading = self.traffic.list(include_connections).await?;
        let interfaces = self.traffic.interfaces()?;
        Ok(Response::new(ListTrafficResponse {
            key_traffic: reading
                .traffic
                .iter()
                .map(|one| convert::key_traffic(one, include_connections))
                .collect(),
            interfaces: interfaces.into_iter().map(convert::interface).collect(),
            read_at: Some(convert::timestamp(reading.read_at)),
        }))
    }

    async fn reset_traffic(
        &self,
        request: Request<ResetTrafficRequest>,
    ) -> Result<Response<ResetTrafficResponse>, Status> {
        let key = self.traffic.reset(&request.get_ref().key_id).await?;
        Ok(Response::new(ResetTrafficResponse {
            key: Some(convert::key(&key)),
        }))
    }

    async fn watch_traffic(
        &self,
        request: Request<WatchTrafficRequest>,
    ) -> Result<Response<Self::WatchTrafficStream>, Status> {
        let key_id = request.into_inner().key_id;
        // A key that is not there is told at once, not as the stream's first item.
        if !key_id.is_empty() {
            self.traffic.check_exists(&key_id)?;
        }
        let mut ticks = interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let traffic = self.traffic.clone();
        let readings = IntervalStream::new(ticks).then(move |_| {
            let (traffic, key_id) = (traffic.clone(), key_id.clone());
            async move { watched(read(&traffic, &key_id).await) }
        });
        let readings = readings.take_until(self.shutdown.clone().cancelled_owned());
        Ok(Response::new(Box::pin(readings)))
    }
}

async fn read(traffic: &TrafficService, key_id: &str) -> Result<Reading, ServiceError> {
    if key_id.is_empty() {
        traffic.list(false).await
    } else {
        traffic.get(key_id, false).await
    }
}

fn watched(reading: Result<Reading, ServiceError>) -> Result<WatchTrafficResponse, Status> {
    let reading = reading?;
    Ok(WatchTrafficResponse {
        key_traffic: reading
            .traffic
            .iter()
            .map(|one| convert::key_traffic(one, false))
            .collect(),
        read_at: Some(convert::timestamp(reading.read_at)),
    })
}
