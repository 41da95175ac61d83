//! Whom a request means: the user of an email, of a uuid, or of both.

use portmeter_proto::reason::Reason;
use portmeter_proto::v1::{Key, ListKeysRequest};
use tonic::Status;

use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::query::Query;
use crate::request::Fields;

/// Whom a request means. Where both are given, both must be the same user's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    Email(&'a str),
    Uuid(&'a str),
    Both { email: &'a str, uuid: &'a str },
}

impl<'a> Wanted<'a> {
    /// An empty text is as good as none.
    fn of(email: Option<&'a str>, uuid: Option<&'a str>) -> Option<Self> {
        let given = |text: Option<&'a str>| text.filter(|text| !text.is_empty());
        match (given(email), given(uuid)) {
            (None, None) => None,
            (Some(email), None) => Some(Self::Email(email)),
            (None, Some(uuid)) => Some(Self::Uuid(uuid)),
            (Some(email), Some(uuid)) => Some(Self::Both { email, uuid }),
        }
    }

    /// Of a query. The words are those that panels know.
    pub(super) fn of_query(query: &'a Query) -> Result<Self, Failure> {
        let (email, uuid) = (query.text("email"), query.text("uuid"));
        if uuid.is_some_and(|uuid| !uuid.is_empty() && !is_uuid(uuid)) {
            return Err(Failure::bad_request("invalid_uuid_format"));
        }
        Self::of(email, uuid).ok_or_else(|| match email {
            Some(_) => Failure::bad_request("email_required"),
            None => Failure::bad_request("uuid_required"),
        })
    }

    /// Of a body.
    pub(super) fn of_fields(fields: &'a Fields) -> Result<Self, Failure> {
        let required = |_| Failure::bad_request("email_required");
        let (email, uuid) = (fields.text("email"), fields.text("uuid"));
        let wanted = Self::of(email.map_err(required)?, uuid.map_err(required)?);
        wanted.ok_or_else(|| Failure::bad_request("email_required"))
    }

    /// Whether this is the user. A uuid may be written in capital letters.
    fn is(&self, key: &Key) -> bool {
        match self {
            Self::Email(email) => key.name == *email,
            Self::Uuid(uuid) => key.uuid.eq_ignore_ascii_case(uuid),
            Self::Both { email, uuid } => key.name == *email && key.uuid.eq_ignore_ascii_case(uuid),
        }
    }

    /// The key that this user is.
    pub(super) async fn key(&self, gateway: &Gateway) -> Result<Option<Key>, Failure> {
        let keys = gateway
            .keys()
            .list_keys(ListKeysRequest::default())
            .await?
            .into_inner()
            .keys;
        Ok(keys.into_iter().find(|key| self.is(key)))
    }

    /// Nobody is this user; the sentence says what was looked for.
    pub(super) fn not_found(&self) -> Failure {
        Failure::user_not_found(match self {
            Wanted::Email(email) | Wanted::Both { email, .. } => format!("User with email {email} not found"),
            Wanted::Uuid(uuid) => format!("User with uuid {uuid} not found"),
        })
    }
}

/// Whether `text` has the form of a uuid: hexadecimal digits in groups of 8, 4, 4, 4 and 12.
fn is_uuid(text: &str) -> bool {
    let has_digits = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    has_digits && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// A key that was deleted since it was looked up is a user that is not found.
pub(super) fn gone_or(status: Status, not_found: impl FnOnce() -> Failure) -> Failure {
    match Reason::of(&status) {
        Reason::KeyNotFound => not_found(),
        _ => status.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, uuid: &str) -> Key {
        Key {
            name: name.to_owned(),
            uuid: uuid.to_owned(),
            ..Key::default()
        }
    }

    #[test]
    fn both_that_are_given_are_one_users() {
        let twin = key("a", "2");
        let is = |email, uuid| Wanted::of(email, uuid).is_some_and(|wanted| wanted.is(&twin));
        for (email, uuid, expected) in [
            (Some("a"), None, true),
            (None, Some("2"), true),
            (Some("a"), Some("2"), true),
            (Some("a"), Some(""), true),
            (Some(""), Some("2"), true),
            (Some("a"), Some("1"), false),
            (Some("b"), Some("2"), false),
            (Some(""), Some(""), false),
            (None, None, false),
        ] {
            assert_eq!(is(email, uuid), expected, "{email:?} {uuid:?}");
        }
    }

    #[test]
    fn a_uuid_has_five_groups() {
        for text in [
            "00000000-0000-4000-8000-00000000000b",
            "ABCDEF00-0000-4000-8000-00000000000B",
        ] {
            assert!(is_uuid(text), "{text}");
        }
        for text in [
            "",
            "00000000000040008000000000000000",
            "00000000-0000-4000-8000-00000000000g",
            "00000000-0000-4000-8000-00000000000",
            "00000000-0000-4000-8000-00000000000b-",
            "0000000-00000-4000-8000-00000000000b",
        ] {
            assert!(!is_uuid(text), "{text}");
        }
    }
}
