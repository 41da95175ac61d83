//! What callers may say about keys: names, aliases, request ids. Plain functions.

use portmeter_proto::details::InvalidField;

use super::ServiceError;
use super::keys::CreateKey;
use crate::store::{KeyUpdate, NewKey};

/// Longest name, in characters.
pub(super) const NAME_LENGTH_MAX: usize = 255;
/// Longest alias, in characters.
const ALIAS_LENGTH_MAX: usize = 255;
/// Longest request id, in characters.
const REQUEST_ID_LENGTH_MAX: usize = 64;

/// A key to be made, without an identity yet. Every field at fault is named.
pub(super) fn checked_creation(create: CreateKey) -> Result<NewKey, ServiceError> {
    let mut faults = Faults::default();
    let name = faults.keep(checked_name(&create.name));
    let request_id = faults.keep(checked_request_id(create.request_id));
    faults.none_or(NewKey {
        name: name.unwrap_or_default(),
        identity: None,
        request_id: request_id.flatten(),
        is_name_unique: create.is_name_unique,
    })
}

/// A change of a key. Every field at fault is named.
pub(super) fn checked_update(update: KeyUpdate) -> Result<KeyUpdate, ServiceError> {
    let mut faults = Faults::default();
    let name = update.name.map(|name| checked_name(&name)).transpose();
    let alias = update.alias.map(|alias| checked_alias(&alias)).transpose();
    let (name, alias) = (faults.keep(name), faults.keep(alias));
    faults.none_or(KeyUpdate {
        name: name.flatten(),
        is_active: update.is_active,
        alias: alias.flatten(),
    })
}

/// The fields at fault so far.
#[derive(Default)]
struct Faults(Vec<InvalidField>);

impl Faults {
    fn keep<T>(&mut self, checked: Result<T, InvalidField>) -> Option<T> {
        checked.map_err(|fault| self.0.push(fault)).ok()
    }

    fn none_or<T>(self, value: T) -> Result<T, ServiceError> {
        match self.0.is_empty() {
            true => Ok(value),
            false => Err(ServiceError::invalid_fields(self.0)),
        }
    }
}

/// A name without the white space around it, 1 to 255 characters.
fn checked_name(name: &str) -> Result<String, InvalidField> {
    let (name, rule) = (name.trim(), format!("1 to {NAME_LENGTH_MAX} characters"));
    match name.chars().count() {
        1..=NAME_LENGTH_MAX => Ok(name.to_owned()),
        count => Err(fault("name", format!("name must have {rule}, it has {count}"))),
    }
}

/// An alias without the white space around it, at most 255 characters; none at all removes it.
fn checked_alias(alias: &str) -> Result<String, InvalidField> {
    let alias = alias.trim();
    match alias.chars().count() {
        0..=ALIAS_LENGTH_MAX => Ok(alias.to_owned()),
        count => Err(fault(
            "alias",
            format!("alias must have at most {ALIAS_LENGTH_MAX} characters, it has {count}"),
        )),
    }
}

/// 1 to 64 visible ASCII characters, or none where the caller makes no such promise.
fn checked_request_id(request_id: String) -> Result<Option<String>, InvalidField> {
    if request_id.is_empty() {
        return Ok(None);
    }
    if request_id.len() <= REQUEST_ID_LENGTH_MAX && request_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(request_id));
    }
    Err(fault(
        "request_id",
        format!("request_id must be 1 to {REQUEST_ID_LENGTH_MAX} visible ASCII characters, best a random UUID"),
    ))
}

fn fault(name: &'static str, sentence: String) -> InvalidField {
    InvalidField { name, sentence }
}

#[cfg(test)]
mod tests {
    use portmeter_proto::reason::Reason;

    use super::*;

    #[test]
    fn a_name_is_trimmed_and_bounded_in_characters() {
        assert_eq!(checked_name("  Ünïcode \n").unwrap(), "Ünïcode");
        assert_eq!(checked_name(&"ü".repeat(255)).unwrap().chars().count(), 255);
        for bad in [String::new(), "  ".to_owned(), "x".repeat(256)] {
            assert_eq!(checked_name(&bad).unwrap_err().name, "name");
        }
    }

    #[test]
    fn an_alias_is_trimmed_and_may_be_none() {
        assert_eq!(checked_alias(" Ж ").unwrap(), "Ж");
        assert_eq!(checked_alias(" \n").unwrap(), "");
        assert_eq!(checked_alias(&"ü".repeat(255)).unwrap().chars().count(), 255);
        assert_eq!(checked_alias(&"x".repeat(256)).unwrap_err().name, "alias");
    }

    #[test]
    fn a_request_id_is_visible_ascii() {
        let checked = |id: &str| checked_request_id(id.to_owned());
        assert_eq!(checked("").unwrap(), None);
        assert_eq!(checked(&"~".repeat(64)).unwrap().unwrap().len(), 64);
        for bad in [" ", "a b", "é", "\u{7f}", &"x".repeat(65)] {
            assert_eq!(checked(bad).unwrap_err().name, "request_id", "{bad}");
        }
    }

    #[test]
    fn every_field_at_fault_is_named_at_once() {
        let names = |error: ServiceError| -> Vec<&str> {
            assert_eq!(error.reason, Reason::InvalidArgument);
            error.details.invalid_fields.iter().map(|field| field.name).collect()
        };
        let create = CreateKey {
            name: " ".to_owned(),
            request_id: " ".to_owned(),
            is_name_unique: true,
        };
        assert_eq!(names(checked_creation(create).unwrap_err()), ["name", "request_id"]);
        let update = KeyUpdate {
            name: Some(String::new()),
            alias: Some("x".repeat(256)),
            is_active: Some(true),
        };
        assert_eq!(names(checked_update(update).unwrap_err()), ["name", "alias"]);
        assert_eq!(checked_update(KeyUpdate::default()).unwrap(), KeyUpdate::default());
    }
}
