//! `portmeter.v1.CollectorService`.

use portmeter_proto::v1;
use portmeter_proto::v1::collector_service_server::CollectorService as Rpc;
use portmeter_proto::v1::{
    GetCollectorRequest, GetCollectorResponse, RunCollectorRequest, RunCollectorResponse, SetCollectorEnabledRequest,
    SetCollectorEnabledResponse,
};
use tonic::{Request, Response, Status};

use super::convert;
use crate::sampler::SAMPLE_INTERVAL;
use crate::services::{Collector, CollectorService};

/// The adapter around sampling and booking.
pub struct CollectorAdapter {
    collector: CollectorService,
}

impl CollectorAdapter {
    pub(super) fn new(collector: CollectorService) -> Self {
        Self { collector }
    }
}

#[tonic::async_trait]
impl Rpc for CollectorAdapter {
    async fn get_collector(&self, _: Request<GetCollectorRequest>) -> Result<Response<GetCollectorResponse>, Status> {
        let collector = self.collector.state().await?;
        Ok(Response::new(GetCollectorResponse {
            collector: Some(message(&collector)),
        }))
    }

    async fn set_collector_enabled(
        &self,
        request: Request<SetCollectorEnabledRequest>,
    ) -> Result<Response<SetCollectorEnabledResponse>, Status> {
        let collector = self.collector.set_enabled(request.get_ref().is_enabled).await?;
        Ok(Response::new(SetCollectorEnabledResponse {
            collector: Some(message(&collector)),
        }))
    }

    async fn run_collector(&self, _: Request<RunCollectorRequest>) -> Result<Response<RunCollectorResponse>, Status> {
        let (collector, booked_bytes) = self.collector.run().await?;
        Ok(Response::new(RunCollectorResponse {
            collector: Some(message(&collector)),
            booked_bytes,
        }))
    }
}

fn message(collector: &Collector) -> v1::Collector {
    v1::Collector {
        is_enabled: collector.is_enabled,
        disabled_reason: collector.disabled_reason.to_owned(),
        newest_day: collector.newest_day.map(|day| day.to_string()),
        lag_days: collector.lag_days,
        last_sampled_at: collector.last_sampled_at.map(convert::timestamp),
        last_booked_at: collector.last_booked_at.map(convert::timestamp),
        sample_interval_seconds: u32::try_from(SAMPLE_INTERVAL.as_secs()).unwrap_or(u32::MAX),
        commit_interval_seconds: u32::try_from(collector.commit_interval_seconds).unwrap_or(u32::MAX),
    }
}
