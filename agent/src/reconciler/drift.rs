//! How far the world is from the wanted state: a plain comparison of uuids.

use std::collections::{BTreeSet, HashSet};

use uuid::Uuid;

/// Who knows which clients.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// The enabled keys, in the order of creation.
    pub(super) keys: &'a [Uuid],
    /// The client ids of all VLESS inbounds of the configuration file, in its order; the core takes any text for one.
    pub(super) file: &'a [String],
    /// The keys whose inbounds the running core has, as it was last seen; `None` where nobody runs one.
    pub(super) core: Option<&'a BTreeSet<Uuid>>,
}

/// What a comparison of keys and clients has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synchronization {
    /// The enabled keys, in the order of creation.
    pub keys: Vec<String>,
    /// The clients, the keys' first.
    pub clients: Vec<String>,
    /// Keys that are no clients.
    pub missing: Vec<String>,
    /// Clients that are no keys.
    pub extra: Vec<String>,
}

impl Synchronization {
    /// Whether keys and clients are the same.
    pub fn is_synchronized(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }

    /// How many keys and clients stand alone.
    pub fn drift_count(&self) -> usize {
        self.missing.len() + self.extra.len()
    }
}

/// A key is a client when both the file and the running core have it: with the file alone nobody can connect now, with
/// the core alone nobody could after a restart. A client that is no key is one wherever it is.
pub(super) fn compare(known: &Known<'_>) -> Synchronization {
    let text = |uuids: &mut dyn Iterator<Item = &Uuid>| uuids.map(Uuid::to_string).collect::<Vec<String>>();
    let keys = text(&mut known.keys.iter());
    let core = known.core.map(|core| text(&mut core.iter()));
    let in_file: BTreeSet<&String> = known.file.iter().collect();
    let in_core: Option<BTreeSet<&String>> = core.as_ref().map(|core| core.iter().collect());
    let is_client = |key: &String| in_file.contains(key) && in_core.as_ref().is_none_or(|core| core.contains(key));
    let (mut clients, missing): (Vec<String>, Vec<String>) = keys.iter().cloned().partition(is_client);
    let mut seen: BTreeSet<&String> = keys.iter().collect();
    let anywhere = known.file.iter().chain(core.iter().flatten());
    let extra: Vec<String> = anywhere.filter(|client| seen.insert(*client)).cloned().collect();
    clients.extend(extra.iter().cloned());
    Synchronization {
        keys,
        clients,
        missing,
        extra,
    }
}

/// How many stand alone: [`Synchronization::drift_count`] of [`compare`], in a tenth of the time for who has many keys and
/// asks often.
pub(super) fn count(known: &Known<'_>) -> usize {
    let keys: HashSet<&Uuid> = known.keys.iter().collect();
    let (mut file, mut others) = (HashSet::with_capacity(known.file.len()), HashSet::new());
    for client in known.file {
        match canonical(client) {
            Some(uuid) => drop(file.insert(uuid)),
            None => drop(others.insert(client)),
        }
    }
    let is_client = |key: &Uuid| file.contains(key) && known.core.is_none_or(|core| core.contains(key));
    let missing = keys.iter().filter(|key| !is_client(key)).count();
    let extra_in_file = file.iter().filter(|client| !keys.contains(client)).count();
    let core = known.core.into_iter().flatten();
    let extra_in_core = core.filter(|client| !keys.contains(client) && !file.contains(*client));
    missing + others.len() + extra_in_file + extra_in_core.count()
}

/// The uuid that is written exactly so; another spelling is another client.
fn canonical(text: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(text).ok()?;
    let mut room = Uuid::encode_buffer();
    (uuid.hyphenated().encode_lower(&mut room) == text).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u128) -> String {
        Uuid::from_u128(number).to_string()
    }

    fn compared(keys: &[u128], file: &[u128], core: Option<&[u128]>) -> Synchronization {
        let uuids = |numbers: &[u128]| numbers.iter().copied().map(Uuid::from_u128).collect::<Vec<_>>();
        let core: Option<BTreeSet<Uuid>> = core.map(|core| uuids(core).into_iter().collect());
        compare(&Known {
            keys: &uuids(keys),
            file: &file.iter().copied().map(id).collect::<Vec<_>>(),
            core: core.as_ref(),
        })
    }

    #[test]
    fn the_same_everywhere_is_synchronized() {
        for core in [None, Some([1, 2].as_slice())] {
            let found = compared(&[2, 1], &[1, 2], core);
            assert!(found.is_synchronized());
            assert_eq!(found.clients, [id(2), id(1)]);
        }
    }

    #[test]
    fn a_key_that_one_of_both_lacks_is_missing() {
        assert_eq!(compared(&[1, 2], &[1], Some(&[1, 2])).missing, [id(2)]);
        assert_eq!(compared(&[1, 2], &[1, 2], Some(&[1])).missing, [id(2)]);
        assert_eq!(compared(&[1, 2], &[1, 2], Some(&[])).drift_count(), 2);
    }

    #[test]
    fn a_client_that_is_no_key_is_extra_wherever_it_is() {
        let found = compared(&[1], &[1, 3], Some(&[1, 2, 3]));
        assert_eq!(found.extra, [id(3), id(2)]);
        assert_eq!(found.clients, [id(1), id(3), id(2)]);
        assert!(found.missing.is_empty());
    }

    proptest! {
        #[test]
        fn the_count_is_that_of_the_comparison(
            keys in prop::collection::btree_set(0_u128..6, 0..6),
            file in prop::collection::vec((0_u128..8, 0_u8..3), 0..10),
            core in prop::option::of(prop::collection::btree_set(0_u128..8, 0..8)),
        ) {
            let keys: Vec<Uuid> = keys.into_iter().map(Uuid::from_u128).collect();
            let spelled = |(number, spelling): (u128, u8)| match spelling {
                0 => id(number),
                1 => Uuid::from_u128(number).simple().to_string(),
                _ => format!("client {number}"),
            };
            let file: Vec<String> = file.into_iter().map(spelled).collect();
            let core: Option<BTreeSet<Uuid>> = core.map(|core| core.into_iter().map(Uuid::from_u128).collect());
            let known = Known { keys: &keys, file: &file, core: core.as_ref() };
            prop_assert_eq!(count(&known), compare(&known).drift_count());
        }
    }
}
