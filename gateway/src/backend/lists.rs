//! The lists that have a row for each key.
//!
//! With a thousand keys, writing such a list as a gRPC message and reading it again costs as much as everything else
//! that is done for an answer. Within one process the agent's methods are called as they are and hand the message over;
//! apart they are called like any other.

use std::sync::Arc;

use portmeter_proto::v1::history_service_client::HistoryServiceClient;
use portmeter_proto::v1::history_service_server::HistoryService;
use portmeter_proto::v1::traffic_service_client::TrafficServiceClient;
use portmeter_proto::v1::traffic_service_server::TrafficService;
use portmeter_proto::v1::{
    ListHistoriesRequest, ListHistoriesResponse, ListKeyPeriodsRequest, ListKeyPeriodsResponse, ListTrafficRequest,
    ListTrafficResponse,
};
use tonic::{Request, Status};

use crate::transport::Transport;

/// See the file's header. The methods are those of the gRPC services, with their errors.
#[tonic::async_trait]
pub(crate) trait Lists: Send + Sync + 'static {
    /// `HistoryService.ListHistories`
    async fn histories(&self, request: ListHistoriesRequest) -> Result<ListHistoriesResponse, Status>;

    /// `HistoryService.ListKeyPeriods`
    async fn key_periods(&self, request: ListKeyPeriodsRequest) -> Result<ListKeyPeriodsResponse, Status>;

    /// `TrafficService.ListTraffic`
    async fn traffic(&self, request: ListTrafficRequest) -> Result<ListTrafficResponse, Status>;
}

/// The services themselves.
pub(super) struct InProcess<H, T> {
    pub(super) history: Arc<H>,
    pub(super) traffic: Arc<T>,
}

#[tonic::async_trait]
impl<H: HistoryService, T: TrafficService> Lists for InProcess<H, T> {
    async fn histories(&self, request: ListHistoriesRequest) -> Result<ListHistoriesResponse, Status> {
        let answer = self.history.list_histories(Request::new(request)).await?;
        Ok(answer.into_inner())
    }

    async fn key_periods(&self, request: ListKeyPeriodsRequest) -> Result<ListKeyPeriodsResponse, Status> {
        let answer = self.history.list_key_periods(Request::new(request)).await?;
        Ok(answer.into_inner())
    }

    async fn traffic(&self, request: ListTrafficRequest) -> Result<ListTrafficResponse, Status> {
        let answer = self.traffic.list_traffic(Request::new(request)).await?;
        Ok(answer.into_inner())
    }
}

/// An agent apart.
pub(super) struct Apart {
    pub(super) history: HistoryServiceClient<Transport>,
    pub(super) traffic: TrafficServiceClient<Transport>,
}

#[tonic::async_trait]
impl Lists for Apart {
    async fn histories(&self, request: ListHistoriesRequest) -> Result<ListHistoriesResponse, Status> {
        Ok(self.history.clone().list_histories(request).await?.into_inner())
    }

    async fn key_periods(&self, request: ListKeyPeriodsRequest) -> Result<ListKeyPeriodsResponse, Status> {
        Ok(self.history.clone().list_key_periods(request).await?.into_inner())
    }

    async fn traffic(&self, request: ListTrafficRequest) -> Result<ListTrafficResponse, Status> {
        Ok(self.traffic.clone().list_traffic(request).await?.into_inner())
    }
}
