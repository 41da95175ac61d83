//! Keys as the panel sees them: a user is a key, and its email is the key's name.
//!
//! Names need not differ. Where one name has to mean one user, it is the first created of them; keys come in creation
//! order.

use std::collections::HashSet;

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::{GetKeyLinkRequest, Key, ListKeysRequest, RegenerateKeyRequest};
use serde::Serialize;
use tonic::Status;

use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::panel_request::PanelFields;
use crate::query::Query;
use crate::request::Fields;

/// Whom a request means. Where both are given, both must be the same user's.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
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
    fn of_query(query: &'a Query) -> Result<Self, Failure> {
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
    fn of_fields(fields: &'a Fields) -> Result<Self, Failure> {
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

    /// The id of the key that this user is.
    async fn key_id(&self, gateway: &Gateway) -> Result<Option<String>, Failure> {
        let keys = gateway.keys().list_keys(ListKeysRequest {}).await?.into_inner().keys;
        Ok(keys.into_iter().find(|key| self.is(key)).map(|key| key.id))
    }
}

/// Whether `text` has the form of a uuid: hexadecimal digits in groups of 8, 4, 4, 4 and 12.
fn is_uuid(text: &str) -> bool {
    let has_digits = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    has_digits && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// `GET /api/users/link`: the link that `/api/keys/{key_id}/config` shows too.
pub(crate) async fn link(State(gateway): State<Gateway>, query: Query) -> Result<Response, PanelFailure> {
    #[derive(Serialize)]
    struct Answer<'a> {
        ok: bool,
        link: &'a str,
    }
    let not_found = || Failure::user_not_found("user_not_found");
    let wanted = Wanted::of_query(&query)?;
    let key_id = wanted.key_id(&gateway).await?.ok_or_else(not_found)?;
    let link = gateway.keys().get_key_link(GetKeyLinkRequest { key_id }).await;
    let link = link.map_err(|status| gone_or(status, not_found))?.into_inner();
    Ok(answer::json(&Answer {
        ok: true,
        link: &link.vless_url,
    }))
}

/// `POST /api/users/kick`: the old link stops working, everything else stays.
pub(crate) async fn kick(
    State(gateway): State<Gateway>,
    PanelFields(fields): PanelFields,
) -> Result<Response, PanelFailure> {
    #[derive(Serialize)]
    struct Answer<'a> {
        ok: bool,
        new_uuid: &'a str,
    }
    let wanted = Wanted::of_fields(&fields)?;
    let not_found = || {
        Failure::user_not_found(match wanted {
            Wanted::Email(email) | Wanted::Both { email, .. } => format!("User with email {email} not found"),
            Wanted::Uuid(uuid) => format!("User with uuid {uuid} not found"),
        })
    };
    let key_id = wanted.key_id(&gateway).await?.ok_or_else(not_found)?;
    let kicked = gateway.keys().regenerate_key(RegenerateKeyRequest { key_id }).await;
    let kicked = kicked.map_err(|status| gone_or(status, not_found))?.into_inner();
    let key = kicked.key.ok_or_else(|| Failure::incomplete("key"))?;
    Ok(answer::json(&Answer {
        ok: true,
        new_uuid: &key.uuid,
    }))
}

/// A key that was deleted since it was looked up is a user that is not found.
fn gone_or(status: Status, not_found: impl FnOnce() -> Failure) -> Failure {
    match Reason::of(&status) {
        Reason::KeyNotFound => not_found(),
        _ => status.into(),
    }
}

/// The user whose email, or else whose uuid, is `text`.
pub(crate) fn find<'a>(keys: &[&'a Key], text: &str) -> Option<&'a Key> {
    let by_email = keys.iter().find(|key| key.name == text);
    by_email.or_else(|| keys.iter().find(|key| key.uuid == text)).copied()
}

/// One user of each email, in creation order.
pub(crate) fn one_of_each_email<'a>(keys: &[&'a Key]) -> Vec<&'a Key> {
    let mut seen = HashSet::new();
    keys.iter().copied().filter(|key| seen.insert(&key.name)).collect()
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
    fn the_first_created_of_several_is_meant() {
        let keys = [key("a", "1"), key("b", "2"), key("a", "3"), key("2", "4")];
        let keys: Vec<&Key> = keys.iter().collect();
        let uuids: Vec<&str> = one_of_each_email(&keys).iter().map(|key| key.uuid.as_str()).collect();
        assert_eq!(uuids, ["1", "2", "4"]);
        let found = |text: &str| find(&keys, text).map(|key| key.uuid.as_str());
        assert_eq!(found("a"), Some("1"));
        assert_eq!(found("3"), Some("3"), "a uuid means the one that has it");
        assert_eq!(found("2"), Some("4"), "an email comes before a uuid");
        assert_eq!((found("c"), found("")), (None, None));
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
