//! `portmeter.v1.DomainService`.

use portmeter_proto::v1;
use portmeter_proto::v1::domain_service_server::DomainService as Rpc;
use portmeter_proto::v1::{ListDomainsRequest, ListDomainsResponse};
use tonic::{Request, Response, Status};

use crate::services::{DomainQuery, DomainService, DomainUsage};

/// The adapter around visited domains.
pub struct DomainAdapter {
    domains: DomainService,
}

impl DomainAdapter {
    pub(super) fn new(domains: DomainService) -> Self {
        Self { domains }
    }
}

#[tonic::async_trait]
impl Rpc for DomainAdapter {
    async fn list_domains(
        &self,
        request: Request<ListDomainsRequest>,
    ) -> Result<Response<ListDomainsResponse>, Status> {
        let request = request.get_ref();
        let query = DomainQuery {
            first_day: &request.first_day,
            last_day: &request.last_day,
            key_id: &request.key_id,
            by_key: request.by_key,
            limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
        };
        let domains = self.domains.list(&query).await?;
        Ok(Response::new(ListDomainsResponse {
            is_enabled: self.domains.is_enabled(),
            domains: domains.into_iter().map(usage).collect(),
        }))
    }
}

fn usage(usage: DomainUsage) -> v1::DomainUsage {
    v1::DomainUsage {
        domain: usage.domain,
        key_id: usage.key_id.map(|id| id.0.to_string()).unwrap_or_default(),
        connections: usage.connections,
        estimated_bytes: usage.estimated_bytes,
    }
}
