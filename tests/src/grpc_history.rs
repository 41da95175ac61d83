//! The ledger, through the product's gRPC face.

use anyhow::Result;
use portmeter_proto::v1::history_service_client::HistoryServiceClient;
use portmeter_proto::v1::{Granularity, ListHistoriesRequest, ListHistoriesResponse, ListPeriodsRequest, Period};

use crate::grpc::Grpc;

impl Grpc {
    /// Every key's totals.
    pub fn histories(&self) -> Result<ListHistoriesResponse> {
        let mut client = HistoryServiceClient::new(self.channel());
        let request = self.request(ListHistoriesRequest { include_activity: true });
        Ok(self.block_on(client.list_histories(request))?.into_inner())
    }

    /// Every period that is kept, of a key or, where none is named, of all together.
    pub fn periods(&self, key_id: &str, granularity: Granularity) -> Result<Vec<Period>> {
        let mut client = HistoryServiceClient::new(self.channel());
        let request = self.request(ListPeriodsRequest {
            key_id: key_id.to_owned(),
            granularity: granularity.into(),
            ..ListPeriodsRequest::default()
        });
        Ok(self.block_on(client.list_periods(request))?.into_inner().periods)
    }
}
