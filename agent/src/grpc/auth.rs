//! The API key on gRPC over TCP. The unix socket needs none: its folder is its owner's alone.

use portmeter_proto::api_key::{ApiKey, METADATA_NAME};
use portmeter_proto::reason::Reason;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Lets a call pass that carries the API key in its metadata.
#[derive(Clone)]
pub(super) struct RequireApiKey(pub(super) ApiKey);

impl Interceptor for RequireApiKey {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let candidate = request.metadata().get(METADATA_NAME);
        if candidate.is_some_and(|candidate| self.0.matches(candidate.as_bytes())) {
            return Ok(request);
        }
        Err(Reason::InvalidApiKey.status("Invalid API key. Send the correct key as metadata x-api-key."))
    }
}
