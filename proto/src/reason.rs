//! The one table from error to gRPC status to HTTP status.
//!
//! A service fails with a [`Reason`] and a sentence; [`Reason::status`] makes it a gRPC status that carries a
//! `google.rpc.ErrorInfo` and what else helps (see [`crate::details`]), and [`Reason::of`] reads it back on the other side. Both ends use this table, so that no
//! text has to be compared to learn what went wrong.

use std::time::Duration;

use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::details::Details;

/// The `domain` of every `ErrorInfo` this product sends.
pub const DOMAIN: &str = "portmeter";

/// The compiled .proto files of the details in a status, for gRPC reflection: without them a client that knows no types
/// beforehand cannot read why a call was refused.
pub use tonic_types::pb::FILE_DESCRIPTOR_SET as DETAILS_DESCRIPTOR_SET;

/// What went wrong, as a caller needs to know it to decide what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A field of the request has no usable value; the sentence names it.
    InvalidArgument,
    /// The API key is missing or wrong.
    InvalidApiKey,
    /// No key has this id or uuid.
    KeyNotFound,
    /// The key is disabled, and the call is for enabled keys only.
    KeyNotActive,
    /// The key has no port, and the call is about its port.
    KeyHasNoPort,
    /// There is a key for every configured port.
    KeyLimitReached,
    /// Every free port is held by another program.
    NoAvailablePort,
    /// The bookings after the asked position are no longer kept.
    BookingsExpired,
    /// The Xray core refuses a key; the sentence says why.
    CoreRefused,
    /// The Xray core refuses a whole configuration; the file is as it was.
    ConfigurationRefused,
    /// A REALITY inbound lacks something that nothing can fill in; the sentence names it.
    ConfigurationInvalid,
    /// There is no configuration of the core, or it is no JSON.
    ConfigurationUnreadable,
    /// The configuration has no VLESS inbound, or none with REALITY.
    RealityNotConfigured,
    /// Nobody runs the core: the mode is `none`.
    CoreNotManaged,
    /// The core could not be started or restarted; the sentence says why.
    CoreFailed,
    /// The name cannot be a backup's.
    InvalidBackupName,
    /// No backup has this name.
    BackupNotFound,
    /// No key has this subscription token.
    SubscriptionNotFound,
    /// Another key has the name, which was to be unique.
    KeyNameTaken,
    /// A request id was used before, for something else.
    RequestIdReused,
    /// No self-check has this name.
    CheckNotFound,
    /// No service of this installation has this name.
    ServiceNotFound,
    /// Nobody here runs the service, so nobody can restart it.
    ServiceNotManaged,
    /// A service did not come up again; the sentence says why.
    ServiceFailed,
    /// The API key is wrong, like too many before it from the same address.
    TooManyFailedKeys,
    /// The agent cannot be reached or is not ready.
    Unavailable,
    /// The caller's deadline passed before there was an answer.
    DeadlineExceeded,
    /// Something failed that is not the caller's doing.
    Internal,
}

/// Every reason, for tables and tests.
pub const ALL: [Reason; 28] = [
    Reason::InvalidArgument,
    Reason::InvalidApiKey,
    Reason::KeyNotFound,
    Reason::KeyNotActive,
    Reason::KeyHasNoPort,
    Reason::KeyLimitReached,
    Reason::NoAvailablePort,
    Reason::BookingsExpired,
    Reason::CoreRefused,
    Reason::ConfigurationRefused,
    Reason::ConfigurationInvalid,
    Reason::ConfigurationUnreadable,
    Reason::RealityNotConfigured,
    Reason::CoreNotManaged,
    Reason::CoreFailed,
    Reason::InvalidBackupName,
    Reason::BackupNotFound,
    Reason::SubscriptionNotFound,
    Reason::KeyNameTaken,
    Reason::RequestIdReused,
    Reason::CheckNotFound,
    Reason::ServiceNotFound,
    Reason::ServiceNotManaged,
    Reason::ServiceFailed,
    Reason::TooManyFailedKeys,
    Reason::Unavailable,
    Reason::DeadlineExceeded,
    Reason::Internal,
];

impl Reason {
    /// The table: the `ErrorInfo` reason, the gRPC code, the HTTP status.
    const fn row(self) -> (&'static str, Code, StatusCode) {
        match self {
            Self::InvalidArgument => ("INVALID_ARGUMENT", Code::InvalidArgument, StatusCode::BAD_REQUEST),
            Self::InvalidApiKey => ("INVALID_API_KEY", Code::Unauthenticated, StatusCode::UNAUTHORIZED),
            Self::KeyNotFound => ("KEY_NOT_FOUND", Code::NotFound, StatusCode::NOT_FOUND),
            Self::KeyNotActive => ("KEY_NOT_ACTIVE", Code::FailedPrecondition, StatusCode::BAD_REQUEST),
            Self::KeyHasNoPort => ("KEY_HAS_NO_PORT", Code::FailedPrecondition, StatusCode::BAD_REQUEST),
            Self::KeyLimitReached => ("KEY_LIMIT_REACHED", Code::ResourceExhausted, StatusCode::BAD_REQUEST),
            Self::NoAvailablePort => (
                "NO_AVAILABLE_PORT",
                Code::ResourceExhausted,
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::BookingsExpired => ("BOOKINGS_EXPIRED", Code::OutOfRange, StatusCode::BAD_REQUEST),
            Self::CoreRefused => (
                "CORE_REFUSED",
                Code::FailedPrecondition,
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::ConfigurationRefused => (
                "CONFIGURATION_REFUSED",
                Code::FailedPrecondition,
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::ConfigurationInvalid => (
                "CONFIGURATION_INVALID",
                Code::FailedPrecondition,
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::ConfigurationUnreadable => (
                "CONFIGURATION_UNREADABLE",
                Code::FailedPrecondition,
                StatusCode::BAD_REQUEST,
            ),
            Self::RealityNotConfigured => (
                "REALITY_NOT_CONFIGURED",
                Code::FailedPrecondition,
                StatusCode::BAD_REQUEST,
            ),
            Self::CoreNotManaged => (
                "CORE_NOT_MANAGED",
                Code::FailedPrecondition,
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::CoreFailed => (
                "CORE_FAILED",
                Code::FailedPrecondition,
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::InvalidBackupName => ("INVALID_BACKUP_NAME", Code::InvalidArgument, StatusCode::BAD_REQUEST),
            Self::BackupNotFound => ("BACKUP_NOT_FOUND", Code::NotFound, StatusCode::NOT_FOUND),
            Self::SubscriptionNotFound => ("SUBSCRIPTION_NOT_FOUND", Code::NotFound, StatusCode::NOT_FOUND),
            Self::KeyNameTaken => ("KEY_NAME_TAKEN", Code::AlreadyExists, StatusCode::CONFLICT),
            Self::RequestIdReused => ("REQUEST_ID_REUSED", Code::InvalidArgument, StatusCode::BAD_REQUEST),
            Self::CheckNotFound => ("CHECK_NOT_FOUND", Code::NotFound, StatusCode::NOT_FOUND),
            Self::ServiceNotFound => ("SERVICE_NOT_FOUND", Code::NotFound, StatusCode::BAD_REQUEST),
            Self::ServiceNotManaged => (
                "SERVICE_NOT_MANAGED",
                Code::FailedPrecondition,
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::ServiceFailed => (
                "SERVICE_FAILED",
                Code::FailedPrecondition,
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::TooManyFailedKeys => (
                "TOO_MANY_FAILED_KEYS",
                Code::ResourceExhausted,
                StatusCode::TOO_MANY_REQUESTS,
            ),
            Self::Unavailable => ("UNAVAILABLE", Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
            Self::DeadlineExceeded => (
                "DEADLINE_EXCEEDED",
                Code::DeadlineExceeded,
                StatusCode::SERVICE_UNAVAILABLE,
            ),
            Self::Internal => ("INTERNAL", Code::Internal, StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The `reason` of the `ErrorInfo`.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The gRPC code.
    pub const fn code(self) -> Code {
        self.row().1
    }

    /// The HTTP status of the REST answer.
    pub const fn http_status(self) -> StatusCode {
        self.row().2
    }

    /// A gRPC status with this reason; `message` is one sentence for the caller.
    pub fn status(self, message: impl Into<String>) -> Status {
        self.status_with(message, &Details::default())
    }

    /// The same with what only the failed call knows.
    pub fn status_with(self, message: impl Into<String>, details: &Details) -> Status {
        let message = message.into();
        let details = details.of(self, &message);
        Status::with_error_details(self.code(), message, details)
    }

    /// The same, with how long to wait before the next attempt, as a `google.rpc.RetryInfo`.
    pub fn status_to_retry(self, message: impl Into<String>, after: Duration) -> Status {
        let message = message.into();
        let mut details = Details::default().of(self, &message);
        details.set_retry_info(Some(after));
        Status::with_error_details(self.code(), message, details)
    }

    /// The reason that a status carries. One that comes from elsewhere (a broken connection, a proxy) has none of
    /// ours: its code decides, and what is left is [`Reason::Internal`].
    pub fn of(status: &Status) -> Self {
        let named = status
            .get_details_error_info()
            .filter(|info| info.domain == DOMAIN)
            .and_then(|info| ALL.into_iter().find(|reason| reason.name() == info.reason));
        named.unwrap_or_else(|| match status.code() {
            Code::InvalidArgument => Self::InvalidArgument,
            Code::Unauthenticated => Self::InvalidApiKey,
            Code::Unavailable => Self::Unavailable,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            _ => Self::Internal,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_wire() {
        for reason in ALL {
            let status = reason.status("a sentence");
            assert_eq!(Reason::of(&status), reason);
            assert_eq!(status.message(), "a sentence");
        }
    }

    #[test]
    fn the_table_holds_row_by_row() {
        let rows: Vec<(&str, Code, u16)> = ALL
            .into_iter()
            .map(|reason| (reason.name(), reason.code(), reason.http_status().as_u16()))
            .collect();
        assert_eq!(
            rows,
            [
                ("INVALID_ARGUMENT", Code::InvalidArgument, 400),
                ("INVALID_API_KEY", Code::Unauthenticated, 401),
                ("KEY_NOT_FOUND", Code::NotFound, 404),
                ("KEY_NOT_ACTIVE", Code::FailedPrecondition, 400),
                ("KEY_HAS_NO_PORT", Code::FailedPrecondition, 400),
                ("KEY_LIMIT_REACHED", Code::ResourceExhausted, 400),
                ("NO_AVAILABLE_PORT", Code::ResourceExhausted, 500),
                ("BOOKINGS_EXPIRED", Code::OutOfRange, 400),
                ("CORE_REFUSED", Code::FailedPrecondition, 500),
                ("CONFIGURATION_REFUSED", Code::FailedPrecondition, 500),
                ("CONFIGURATION_INVALID", Code::FailedPrecondition, 500),
                ("CONFIGURATION_UNREADABLE", Code::FailedPrecondition, 400),
                ("REALITY_NOT_CONFIGURED", Code::FailedPrecondition, 400),
                ("CORE_NOT_MANAGED", Code::FailedPrecondition, 500),
                ("CORE_FAILED", Code::FailedPrecondition, 500),
                ("INVALID_BACKUP_NAME", Code::InvalidArgument, 400),
                ("BACKUP_NOT_FOUND", Code::NotFound, 404),
                ("SUBSCRIPTION_NOT_FOUND", Code::NotFound, 404),
                ("KEY_NAME_TAKEN", Code::AlreadyExists, 409),
                ("REQUEST_ID_REUSED", Code::InvalidArgument, 400),
                ("CHECK_NOT_FOUND", Code::NotFound, 404),
                ("SERVICE_NOT_FOUND", Code::NotFound, 400),
                ("SERVICE_NOT_MANAGED", Code::FailedPrecondition, 500),
                ("SERVICE_FAILED", Code::FailedPrecondition, 500),
                ("TOO_MANY_FAILED_KEYS", Code::ResourceExhausted, 429),
                ("UNAVAILABLE", Code::Unavailable, 503),
                ("DEADLINE_EXCEEDED", Code::DeadlineExceeded, 503),
                ("INTERNAL", Code::Internal, 500),
            ]
        );
    }

    #[test]
    fn a_foreign_status_is_judged_by_its_code() {
        assert_eq!(
            Reason::of(&Status::unavailable("tcp connect error")),
            Reason::Unavailable
        );
        assert_eq!(Reason::of(&Status::unknown("?")), Reason::Internal);
    }
}
