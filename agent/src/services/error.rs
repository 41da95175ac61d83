//! What a caller is told when something fails.

use std::error::Error;

use portmeter_proto::details::{Details, InvalidField};
use portmeter_proto::reason::Reason;

use crate::reconciler::{FileError, KeeperError, Refusal, SynchronizeError};
use crate::store::StoreError;

/// A failed call: the reason decides the status, the message is one sentence for the caller. What only the operator
/// should see (paths, the system's words) goes to the log where the error is made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// What went wrong.
    pub reason: Reason,
    /// One sentence for the caller.
    pub message: String,
    /// What else helps the caller's program.
    pub details: Details,
}

impl ServiceError {
    /// A failure with its sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            details: Details::default(),
        }
    }

    /// A field of the request has no usable value; the sentence says which values are.
    pub fn invalid(field: &'static str, sentence: impl Into<String>) -> Self {
        Self::invalid_fields(vec![InvalidField {
            name: field,
            sentence: sentence.into(),
        }])
    }

    /// The same of several fields at once; at least one.
    pub fn invalid_fields(fields: Vec<InvalidField>) -> Self {
        let sentences: Vec<&str> = fields.iter().map(|field| field.sentence.as_str()).collect();
        let mut error = Self::new(Reason::InvalidArgument, sentences.join("; "));
        error.details.invalid_fields = fields;
        error
    }

    /// The same error, which names the thing that is not there, or there already.
    pub fn about(mut self, resource_name: &str) -> Self {
        self.details.resource_name = resource_name.to_owned();
        self
    }

    /// The same error, which names the request id that came with the call.
    pub fn of_request(mut self, request_id: &str) -> Self {
        self.details.request_id = request_id.to_owned();
        self
    }

    /// No key has this id or uuid; the REST reference fixes the text.
    pub fn key_not_found() -> Self {
        Self::new(Reason::KeyNotFound, "Key not found")
    }

    /// The core does not take a key, which has been taken back.
    pub(super) fn core_refused(refusal: &Refusal) -> Self {
        tracing::error!(%refusal, "a key was taken back: the core refuses it");
        Self::new(
            Reason::CoreRefused,
            format!("The Xray core refuses the key, which was taken back: {refusal}"),
        )
    }

    /// Something failed that the caller can do nothing about.
    pub(super) fn internal(message: &str, cause: &dyn Error) -> Self {
        let source = cause.source().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%cause, source, "{message}");
        Self::new(Reason::Internal, message)
    }
}

impl From<SynchronizeError> for ServiceError {
    fn from(error: SynchronizeError) -> Self {
        tracing::error!(%error, "the wanted state could not be applied");
        let reason = match &error {
            SynchronizeError::File(file) => return file.clone().into(),
            SynchronizeError::Keeper(KeeperError::NotManaged) => Reason::CoreNotManaged,
            SynchronizeError::Keeper(KeeperError::Stopping) => Reason::Unavailable,
            SynchronizeError::Keeper(_) | SynchronizeError::Api(_) => Reason::CoreFailed,
            SynchronizeError::Refused(_) => Reason::CoreRefused,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<FileError> for ServiceError {
    fn from(error: FileError) -> Self {
        match &error {
            FileError::Unreadable(_) => Self::new(Reason::ConfigurationUnreadable, error.to_string()),
            FileError::Refused(_) => Self::new(Reason::ConfigurationRefused, error.to_string()),
            FileError::Io(_) => Self::internal("The configuration file cannot be read or written", &error),
        }
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::KeyNotFound => Self::key_not_found(),
            StoreError::KeyLimitReached(limit) => Self::new(
                Reason::KeyLimitReached,
                format!("Maximum number of keys ({limit}) reached"),
            ),
            StoreError::KeyNameTaken(name) => {
                Self::new(Reason::KeyNameTaken, format!("There is a key named {name} already")).about(name)
            }
            StoreError::RequestIdReused => {
                let sentence = "request_id was used for a key of another name: take a new one for each creation";
                Self {
                    reason: Reason::RequestIdReused,
                    ..Self::invalid("request_id", sentence)
                }
            }
            StoreError::CreatedKeyDeleted => Self::new(
                Reason::KeyNotFound,
                "The key that this request_id has made was deleted since",
            ),
            StoreError::NoAvailablePort => Self::new(Reason::NoAvailablePort, "No available ports"),
            StoreError::PortProbe(_) => Self::internal("Cannot tell which ports are in use", &error),
            StoreError::Database(_) => Self::internal("The ledger could not be written; nothing was changed", &error),
            StoreError::BookingsExpired(after) => Self::new(
                Reason::BookingsExpired,
                format!("The bookings after {after} are no longer kept: start again from a snapshot"),
            ),
            StoreError::NoSuchBooking(after) => Self::invalid(
                "after_sequence",
                format!("after_sequence is {after}, which this ledger has not reached"),
            ),
            StoreError::Closed => Self::new(Reason::Unavailable, "The agent is stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_fields_are_told_in_one_sentence_and_each_by_itself() {
        let field = |name, sentence: &str| InvalidField {
            name,
            sentence: sentence.to_owned(),
        };
        let error = ServiceError::invalid_fields(vec![field("name", "name is empty"), field("alias", "alias is long")]);
        assert_eq!(error.message, "name is empty; alias is long");
        let names: Vec<&str> = error.details.invalid_fields.iter().map(|field| field.name).collect();
        assert_eq!(names, ["name", "alias"]);
    }

    #[test]
    fn a_reused_request_id_is_a_field_at_fault() {
        let error = ServiceError::from(StoreError::RequestIdReused).of_request("7");
        assert_eq!(error.reason, Reason::RequestIdReused);
        assert_eq!(error.details.invalid_fields[0].name, "request_id");
        assert_eq!(error.details.request_id, "7");
    }
}
