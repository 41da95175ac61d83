//! Keys as the panel sees them: a user is a key, and its email is the key's name.
//!
//! [`list`] shows them, [`change`] adds, changes and removes them, [`link`] tells what one connects with, [`stats`] what
//! each has moved; [`wanted`] reads whom a request means.
//!
//! Names need not differ. Where one name has to mean one user, it is the first created of them; keys come in creation
//! order.

use std::collections::HashSet;

use portmeter_proto::v1::Key;

pub(crate) mod change;
pub(crate) mod link;
pub(crate) mod list;
pub(crate) mod stats;
mod wanted;

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
}
