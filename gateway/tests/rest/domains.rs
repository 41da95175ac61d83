//! The stand-in's visited domains: two of each key, recorded or not.

use portmeter_proto::v1::domain_service_server::DomainService;
use portmeter_proto::v1::*;
use tonic::{Request, Response, Status};

use super::Agent;

impl Agent {
    /// Has domains recorded from now on.
    #[allow(dead_code, reason = "the benches take the stand-in without it")]
    pub(crate) fn record_domains(&self) {
        self.state().are_domains_recorded = true;
    }
}

#[tonic::async_trait]
impl DomainService for Agent {
    async fn list_domains(
        &self,
        request: Request<ListDomainsRequest>,
    ) -> Result<Response<ListDomainsResponse>, Status> {
        let state = self.call()?;
        let is_enabled = state.are_domains_recorded;
        let usage = |domain: &str, key_id: &str, connections, estimated_bytes| DomainUsage {
            domain: domain.to_owned(),
            key_id: key_id.to_owned(),
            connections,
            estimated_bytes,
        };
        let two = |key_id: &str| {
            [
                usage("often.example", key_id, 9, 100),
                usage("much.example", key_id, 2, 1_000),
            ]
        };
        let domains = match (is_enabled, request.get_ref().by_key) {
            (false, _) => Vec::new(),
            (true, false) => two("").to_vec(),
            (true, true) => state.keys.iter().flat_map(|key| two(&key.id)).collect(),
        };
        Ok(Response::new(ListDomainsResponse { is_enabled, domains }))
    }
}
