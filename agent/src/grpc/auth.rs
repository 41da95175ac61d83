//! The API key on gRPC over TCP. The unix socket needs none: its folder is its owner's alone.

use std::sync::Arc;
use std::time::Duration;

use portmeter_listener::{Connection, FailedKeys, Verdict};
use portmeter_proto::api_key::{ApiKey, METADATA_NAME};
use portmeter_proto::reason::Reason;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Lets a call pass that carries the API key in its metadata.
#[derive(Clone)]
pub(super) struct RequireApiKey {
    api_key: ApiKey,
    failed_keys: Arc<FailedKeys>,
}

impl RequireApiKey {
    /// Wrong keys are noted in `failed_keys`, which may refuse further ones as too many.
    pub(super) fn new(api_key: ApiKey, failed_keys: Arc<FailedKeys>) -> Self {
        Self { api_key, failed_keys }
    }

    fn refusal(&self, request: &Request<()>, connection: Option<&Arc<Connection>>) -> Status {
        // Nothing has been guessed where nothing was sent.
        let guess = connection.filter(|_| request.metadata().contains_key(METADATA_NAME));
        let verdict = guess.map(|connection| self.failed_keys.note(connection.peer()));
        match verdict.and_then(Verdict::retry_after_seconds) {
            None => Reason::InvalidApiKey.status("Invalid API key. Send the correct key as metadata x-api-key."),
            Some(seconds) => Reason::TooManyFailedKeys.status_to_retry(
                "Too many wrong API keys from this address; wait, or send the correct one.",
                Duration::from_secs(seconds),
            ),
        }
    }
}

impl Interceptor for RequireApiKey {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let connection = request.extensions().get::<Arc<Connection>>();
        let candidate = request.metadata().get(METADATA_NAME);
        if candidate.is_some_and(|candidate| self.api_key.matches(candidate.as_bytes())) {
            if let Some(connection) = connection {
                // Whoever has the key keeps the connection, streams and all.
                connection.begin();
            }
            return Ok(request);
        }
        Err(self.refusal(&request, connection))
    }
}
