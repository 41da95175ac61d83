//! What goes wrong, as REST says it: a status and one sentence in the body of the route's family.
//!
//! Owns both families' error bodies, the fixed texts that clients compare, and the step from a gRPC status to an
//! HTTP one. The table behind that step is `portmeter_proto::reason`. Texts of errors that are not the caller's
//! doing stay in the log: they may hold a path.

use std::borrow::Cow;
use std::error::Error as _;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::RETRY_AFTER;
use portmeter_proto::reason::Reason;
use serde::Serialize;
use tonic::Status;
use utoipa::ToSchema;

use crate::answer;

/// The two sets of routes, which differ in how they are opened and how they report an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// Keys, traffic, ports, Xray: errors are `{"detail": text}`.
    Key,
    /// The web panel: errors are `{"ok": false, "error": text, "code": status}`.
    Panel,
}

/// Room for an error's body.
const ERROR_BYTES: usize = 256;

/// The first path segments below `/api/` that belong to the panel.
const PANEL_SEGMENTS: [&str; 12] = [
    "ping",
    "usage",
    "users",
    "live",
    "events",
    "ports",
    "settings",
    "xray",
    "collector",
    "backups",
    "tests",
    "v2",
];

/// The panel's routes in a folder that is otherwise the key family's.
const PANEL_PATHS: [&str; 3] = ["/api/system/status", "/api/system/resources", "/api/system/restart"];

/// An error of the key family.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyError<'a> {
    /// What is wrong, in one sentence.
    detail: &'a str,
}

/// An error of the panel.
#[derive(Serialize, ToSchema)]
pub(crate) struct PanelError<'a> {
    /// Always false.
    ok: bool,
    /// What is wrong, in a word or a sentence.
    error: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    code: u16,
}

impl Family {
    /// The family that answers for `path` when no route does.
    pub(crate) fn of_path(path: &str) -> Self {
        let segment = path.strip_prefix("/api/").and_then(|rest| rest.split('/').next());
        if segment.is_some_and(|segment| PANEL_SEGMENTS.contains(&segment)) || PANEL_PATHS.contains(&path) {
            Self::Panel
        } else {
            Self::Key
        }
    }

    /// An error answer in this family's body.
    pub(crate) fn error(self, status: StatusCode, text: &str) -> Response {
        answer::json_bytes_with(status, self.error_text(status, text))
    }

    /// The body alone, as JSON.
    pub(crate) fn error_text(self, status: StatusCode, text: &str) -> Bytes {
        match self {
            Self::Key => answer::to_bytes(&KeyError { detail: text }, ERROR_BYTES),
            Self::Panel => answer::to_bytes(
                &PanelError {
                    ok: false,
                    error: text,
                    code: status.as_u16(),
                },
                ERROR_BYTES,
            ),
        }
    }

    /// No route has this path.
    pub(crate) fn not_found(self) -> Response {
        let text = match self {
            Self::Key => "Not Found",
            Self::Panel => "Not found",
        };
        self.error(StatusCode::NOT_FOUND, text)
    }

    /// A route has this path, but not this method.
    pub(crate) fn method_not_allowed(self) -> Response {
        self.error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
    }

    /// The API key is missing or wrong; the two are not told apart.
    pub(crate) fn unauthorized(self) -> Response {
        let text = match self {
            Self::Key => "Invalid API key. Use X-API-Key header with the correct key.",
            Self::Panel => "unauthorized",
        };
        self.error(StatusCode::UNAUTHORIZED, text)
    }

    /// The API key is wrong, like too many before it from the same address.
    pub(crate) fn too_many_failed_keys(self, retry_after_seconds: u64) -> Response {
        let text = "Too many wrong API keys from this address; wait, or send the correct one";
        let mut response = self.error(Reason::TooManyFailedKeys.http_status(), text);
        response.headers_mut().insert(RETRY_AFTER, retry_after_seconds.into());
        response
    }
}

/// Why a handler has no answer to give. As it is it answers in the key family's body; see [`PanelFailure`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    status: StatusCode,
    text: Cow<'static, str>,
}

impl Failure {
    fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// The request is at fault; `text` names the field and says what to send instead.
    pub(crate) fn bad_request(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// The request body is larger than it may be.
    pub(crate) fn body_too_large(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// No key has the id or uuid in the path.
    pub(crate) fn key_not_found() -> Self {
        Self::of(Reason::KeyNotFound, "")
    }

    /// The key is disabled, and the route is for enabled keys only.
    pub(crate) fn key_not_active() -> Self {
        Self::of(Reason::KeyNotActive, "")
    }

    /// The route is about the port of a key that has none.
    pub(crate) fn key_has_no_port() -> Self {
        Self::of(Reason::KeyHasNoPort, "")
    }

    /// The agent's answer lacks something it always has; `what` goes to the log.
    pub(crate) fn incomplete(what: &'static str) -> Self {
        tracing::error!(what, "the agent's answer is incomplete");
        Self::of(Reason::Internal, "")
    }

    /// No backup can have the name in the path.
    pub(crate) fn invalid_backup_name() -> Self {
        Self::of(Reason::InvalidBackupName, "")
    }

    /// No key has the subscription token in the path.
    pub(crate) fn subscription_not_found() -> Self {
        Self::of(Reason::SubscriptionNotFound, "")
    }

    /// The panel has no user whom the request means.
    pub(crate) fn user_not_found(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// The panel has a user of this email already.
    pub(crate) fn user_exists(email: &str) -> Self {
        Self::new(StatusCode::CONFLICT, format!("User with email {email} already exists"))
    }

    /// The failure of a route of the key family about the whole configuration: no request can be at fault for what is
    /// in a file.
    pub(crate) fn of_configuration(status: Status) -> Self {
        let is_about_the_file = matches!(
            Reason::of(&status),
            Reason::ConfigurationUnreadable | Reason::RealityNotConfigured
        );
        let mut failure = Self::from(status);
        if is_about_the_file {
            failure.status = StatusCode::INTERNAL_SERVER_ERROR;
        }
        failure
    }

    /// The sentence alone.
    pub(crate) fn into_text(self) -> String {
        self.text.into_owned()
    }

    /// What the caller is told. `message` is the agent's sentence, passed on where it is about the caller's own
    /// request; the other texts are fixed, because clients compare them or because they must give nothing away.
    fn of(reason: Reason, message: &str) -> Self {
        let text: Cow<'static, str> = match reason {
            Reason::InvalidArgument
            | Reason::KeyLimitReached
            | Reason::BookingsExpired
            | Reason::CoreRefused
            | Reason::ConfigurationRefused
            | Reason::ConfigurationInvalid
            | Reason::ConfigurationUnreadable
            | Reason::RealityNotConfigured
            | Reason::CoreNotManaged
            | Reason::CoreFailed
            | Reason::KeyNameTaken
            | Reason::RequestIdReused
            | Reason::CheckNotFound
            | Reason::ServiceNotFound
            | Reason::ServiceNotManaged
            | Reason::ServiceFailed => message.to_owned().into(),
            Reason::InvalidBackupName => "invalid_filename".into(),
            Reason::BackupNotFound => "backup_not_found".into(),
            Reason::SubscriptionNotFound => "Not Found".into(),
            Reason::KeyNotFound => "Key not found".into(),
            Reason::KeyNotActive => "Key is not active".into(),
            Reason::KeyHasNoPort => "Key has no port".into(),
            Reason::NoAvailablePort => "No available ports".into(),
            Reason::Unavailable | Reason::DeadlineExceeded => {
                "The agent cannot be reached or is not ready; try again shortly".into()
            }
            Reason::Internal => "Internal error; the log says more".into(),
            // The caller's own key was right, or the request would not have come this far.
            Reason::InvalidApiKey | Reason::TooManyFailedKeys => {
                let text = "The agent refuses the gateway's API key; give both the same one";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, text);
            }
        };
        Self::new(reason.http_status(), text)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        // A status made on this side of the wire has the transport's error as its source: the agent never answered.
        let reason = if status.source().is_some() {
            Reason::Unavailable
        } else {
            Reason::of(&status)
        };
        match reason {
            Reason::Internal => tracing::error!(code = ?status.code(), message = status.message(), "the agent failed"),
            Reason::Unavailable | Reason::DeadlineExceeded | Reason::InvalidApiKey | Reason::TooManyFailedKeys => {
                tracing::warn!(code = ?status.code(), message = status.message(), "the agent gave no answer");
            }
            _ => {}
        }
        Self::of(reason, status.message())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        Family::Key.error(self.status, &self.text)
    }
}

/// The same of a handler of the panel. What is not the caller's doing has one text there, unless the route says
/// otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PanelFailure {
    failure: Failure,
    is_sentence_kept: bool,
}

impl PanelFailure {
    /// The failure of a route that tells its caller why the core could not be restarted.
    pub(crate) fn of_restart(status: Status) -> Self {
        let is_sentence_kept = matches!(
            Reason::of(&status),
            Reason::CoreNotManaged
                | Reason::CoreFailed
                | Reason::CoreRefused
                | Reason::ConfigurationRefused
                | Reason::ServiceNotManaged
                | Reason::ServiceFailed
        );
        Self {
            failure: status.into(),
            is_sentence_kept,
        }
    }

    /// The failure of a restore. What the core makes of a backup is about the backup that was asked for: everything is
    /// as before, and another one may do.
    pub(crate) fn of_restore(status: Status) -> Self {
        let mut failure = Self::of_restart(status);
        if failure.is_sentence_kept {
            failure.failure.status = StatusCode::BAD_REQUEST;
        }
        failure
    }
}

impl<F: Into<Failure>> From<F> for PanelFailure {
    fn from(failure: F) -> Self {
        Self {
            failure: failure.into(),
            is_sentence_kept: false,
        }
    }
}

impl IntoResponse for PanelFailure {
    fn into_response(self) -> Response {
        let Failure { status, text } = self.failure;
        match status {
            StatusCode::INTERNAL_SERVER_ERROR if !self.is_sentence_kept => {
                Family::Panel.error(status, "Internal server error")
            }
            _ => Family::Panel.error(status, &text),
        }
    }
}

#[cfg(test)]
mod tests {
    use portmeter_proto::reason;

    use super::*;

    #[test]
    fn a_path_belongs_to_the_panel_by_its_whole_first_segment() {
        for path in [
            "/api/users",
            "/api/live/x",
            "/api/v2/anything",
            "/api/xray/",
            "/api/system/status",
        ] {
            assert_eq!(Family::of_path(path), Family::Panel, "{path}");
        }
        for path in [
            "/",
            "/api",
            "/api/",
            "/api/userss",
            "/api/system/x",
            "/api/system/xray/x",
            "/users",
            "/api/keys",
        ] {
            assert_eq!(Family::of_path(path), Family::Key, "{path}");
        }
    }

    #[test]
    fn every_reason_keeps_its_status_except_a_refused_gateway() {
        for reason in reason::ALL {
            let failure = Failure::from(reason.status("a sentence"));
            let expected = match reason {
                Reason::InvalidApiKey | Reason::TooManyFailedKeys => StatusCode::SERVICE_UNAVAILABLE,
                _ => reason.http_status(),
            };
            assert_eq!(failure.status, expected, "{reason:?}");
            assert!(!failure.text.is_empty(), "{reason:?}");
        }
    }

    #[test]
    fn only_sentences_about_the_request_and_the_core_are_passed_on() {
        for reason in reason::ALL {
            let failure = Failure::from(reason.status("see /var/lib/portmeter"));
            let is_passed_on = matches!(
                reason,
                Reason::InvalidArgument
                    | Reason::KeyLimitReached
                    | Reason::BookingsExpired
                    | Reason::CoreRefused
                    | Reason::ConfigurationRefused
                    | Reason::ConfigurationInvalid
                    | Reason::ConfigurationUnreadable
                    | Reason::RealityNotConfigured
                    | Reason::CoreNotManaged
                    | Reason::CoreFailed
                    | Reason::KeyNameTaken
                    | Reason::RequestIdReused
                    | Reason::CheckNotFound
                    | Reason::ServiceNotFound
                    | Reason::ServiceNotManaged
                    | Reason::ServiceFailed
            );
            assert_eq!(failure.text.contains("/var/lib"), is_passed_on, "{reason:?}");
        }
    }

    #[test]
    fn the_panel_hears_a_sentence_about_the_core_only_where_it_asked_for_one() {
        let sentences = |failure: fn(Status) -> PanelFailure| {
            let kept = reason::ALL.into_iter().filter(|reason| {
                let failure = failure(reason.status("see /var/lib/portmeter"));
                let is_fixed = failure.failure.status == StatusCode::INTERNAL_SERVER_ERROR && !failure.is_sentence_kept;
                !is_fixed && reason.http_status() == StatusCode::INTERNAL_SERVER_ERROR
            });
            kept.collect::<Vec<_>>()
        };
        let of_the_core = [
            Reason::CoreRefused,
            Reason::ConfigurationRefused,
            Reason::CoreNotManaged,
            Reason::CoreFailed,
            Reason::ServiceNotManaged,
            Reason::ServiceFailed,
        ];
        assert_eq!(sentences(PanelFailure::from), []);
        assert_eq!(sentences(PanelFailure::of_restart), of_the_core);
        assert_eq!(sentences(PanelFailure::of_restore), of_the_core);
        let refused = PanelFailure::of_restore(Reason::ConfigurationRefused.status(""));
        assert_eq!(refused.failure.status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn what_is_in_a_file_is_nobodys_bad_request_in_the_key_family() {
        for reason in [Reason::ConfigurationUnreadable, Reason::RealityNotConfigured] {
            let failure = Failure::of_configuration(reason.status("a sentence"));
            assert_eq!(
                (failure.status, &*failure.text),
                (StatusCode::INTERNAL_SERVER_ERROR, "a sentence")
            );
        }
    }

    #[test]
    fn a_broken_connection_is_unavailable_whatever_its_code() {
        let status = Status::from_error(Box::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        assert_eq!(Failure::from(status).status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
