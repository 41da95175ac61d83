//! What a failure tells beside its reason and its sentence, as `google.rpc` details that any client can read.
//!
//! Which kinds a status carries follows from its reason alone; [`Details`] holds what only the failed call knows. Nothing
//! here is needed to learn what went wrong: the reason says that.

use std::time::Duration;

use tonic::Code;
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, QuotaViolation};

use crate::reason::{DOMAIN, Reason};

/// When a caller may ask again that found the agent not ready: a start takes about this long.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The longest text in a detail, in characters. The whole of it is the status's message; all of a status travels in
/// one header, for which clients have as little room as 8 kB.
const DESCRIPTION_LENGTH_MAX: usize = 256;

/// A field of the request at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    /// Its name in the request's message, for example `page_token`.
    pub name: &'static str,
    /// One sentence that says what it must be.
    pub sentence: String,
}

/// What only the failed call knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The fields at fault; as many at once as could be told.
    pub invalid_fields: Vec<InvalidField>,
    /// What the caller called the thing that is not there, or there already; empty where it is not told.
    pub resource_name: String,
    /// The request id that came with the call; empty for none.
    pub request_id: String,
}

impl Details {
    /// Everything that a status of this reason carries.
    pub(crate) fn of(&self, reason: Reason, message: &str) -> ErrorDetails {
        let (sentence, resource_name) = (shortened(message), shortened(&self.resource_name));
        let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, []);
        if !self.invalid_fields.is_empty() {
            let field = |field: &InvalidField| FieldViolation::new(field.name, shortened(&field.sentence));
            details.set_bad_request(self.invalid_fields.iter().map(field).collect::<Vec<_>>());
        }
        if let Some(resource_type) = resource_type(reason) {
            details.set_resource_info(resource_type, &resource_name, "", &sentence);
        }
        match reason.code() {
            Code::ResourceExhausted => {
                details.set_quota_failure(vec![QuotaViolation::new("keys", sentence)]);
            }
            Code::FailedPrecondition => {
                let violation = PreconditionViolation::new(reason.name(), resource_name, sentence);
                details.set_precondition_failure(vec![violation]);
            }
            Code::Unavailable => {
                details.set_retry_info(Some(RETRY_DELAY));
            }
            _ => {}
        }
        if !self.request_id.is_empty() {
            details.set_request_info(&self.request_id, "");
        }
        details
    }
}

/// What kind of thing is not there, or there already.
fn resource_type(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::KeyNotFound | Reason::KeyNameTaken => Some("portmeter.v1.Key"),
        Reason::BackupNotFound => Some("portmeter.v1.Backup"),
        Reason::SubscriptionNotFound => Some("subscription"),
        Reason::CheckNotFound => Some("portmeter.v1.Check"),
        Reason::ServiceNotFound => Some("portmeter.v1.ManagedService"),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(DESCRIPTION_LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;
    use crate::reason::ALL;

    #[test]
    fn what_a_status_carries_follows_from_its_reason() {
        for reason in ALL {
            let details = reason.status("a sentence").get_error_details();
            let code = reason.code();
            assert_eq!(details.error_info().unwrap().reason, reason.name());
            assert_eq!(details.resource_info().is_some(), resource_type(reason).is_some());
            assert_eq!(details.quota_failure().is_some(), code == Code::ResourceExhausted);
            assert_eq!(
                details.precondition_failure().is_some(),
                code == Code::FailedPrecondition
            );
            assert_eq!(details.retry_info().is_some(), code == Code::Unavailable);
            assert!(details.bad_request().is_none() && details.request_info().is_none());
            let is_about_a_thing = matches!(code, Code::NotFound | Code::AlreadyExists);
            assert_eq!(details.resource_info().is_some(), is_about_a_thing, "{reason:?}");
        }
    }

    #[test]
    fn every_field_at_fault_is_named() {
        let field = |name, sentence: &str| InvalidField {
            name,
            sentence: sentence.to_owned(),
        };
        let details = Details {
            invalid_fields: vec![field("name", "too long"), field("alias", &"x".repeat(1_000))],
            resource_name: "a@b".to_owned(),
            request_id: "7".to_owned(),
        };
        let status = Reason::InvalidArgument.status_with("two fields", &details);
        let read = status.get_error_details();
        let violations = &read.bad_request().unwrap().field_violations;
        assert_eq!(
            (&*violations[0].field, &*violations[0].description),
            ("name", "too long")
        );
        assert_eq!(violations[1].field, "alias");
        assert_eq!(violations[1].description.chars().count(), DESCRIPTION_LENGTH_MAX + 1);
        assert_eq!(read.request_info().unwrap().request_id, "7");
        let taken = Reason::KeyNameTaken.status_with("taken", &details).get_error_details();
        assert_eq!(taken.resource_info().unwrap().resource_name, "a@b");
    }
}
