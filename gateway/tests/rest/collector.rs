//! The stand-in's sampling and booking: switched on and off, run, and with a ledger that ends today.

use portmeter_proto::v1::collector_service_server::CollectorService;
use portmeter_proto::v1::*;
use tonic::{Request, Response, Status};

use super::{Agent, NOW, State};

/// How it is.
#[derive(Default)]
pub(super) struct Switch {
    pub(super) is_paused: bool,
    n_runs: u64,
}

impl State {
    fn collector(&self) -> Option<Collector> {
        let is_enabled = !self.collector.is_paused;
        Some(Collector {
            is_enabled,
            disabled_reason: if is_enabled { "" } else { "It is paused." }.to_owned(),
            newest_day: (!self.keys.is_empty()).then(|| "2025-08-05".to_owned()),
            lag_days: (!self.keys.is_empty()).then_some(0),
            last_sampled_at: Some(NOW),
            last_booked_at: Some(NOW),
            sample_interval_seconds: 1,
            commit_interval_seconds: 5,
        })
    }
}

#[tonic::async_trait]
impl CollectorService for Agent {
    async fn get_collector(&self, _: Request<GetCollectorRequest>) -> Result<Response<GetCollectorResponse>, Status> {
        let collector = self.call()?.collector();
        Ok(Response::new(GetCollectorResponse { collector }))
    }

    async fn set_collector_enabled(
        &self,
        request: Request<SetCollectorEnabledRequest>,
    ) -> Result<Response<SetCollectorEnabledResponse>, Status> {
        let mut state = self.call()?;
        state.collector.is_paused = !request.get_ref().is_enabled;
        let collector = state.collector();
        Ok(Response::new(SetCollectorEnabledResponse { collector }))
    }

    async fn run_collector(&self, _: Request<RunCollectorRequest>) -> Result<Response<RunCollectorResponse>, Status> {
        let mut state = self.call()?;
        state.collector.n_runs += 1;
        Ok(Response::new(RunCollectorResponse {
            collector: state.collector(),
            booked_bytes: 1_000 * state.collector.n_runs,
        }))
    }
}
