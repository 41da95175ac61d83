//! A JSON object whose leaves are kept as they were written, so that a number of any length comes back with all its
//! digits.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Serialize, Serializer};
use serde_json::Value as Json;
use serde_json::value::RawValue;

/// How deep objects and lists may lie within each other, the outermost included. Readers of JSON have limits, and what is
/// kept here must be read by others.
pub const DEPTH_MAX: usize = 32;

/// A JSON object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(pub(super) BTreeMap<String, Node>);

/// What an object holds under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// An object.
    Tree(Tree),
    /// Anything else, a list as well: its JSON text.
    Leaf(String),
}

/// Why a text is no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no JSON, or no object.
    #[error("send a JSON object")]
    NoObject,
    /// Its objects and lists lie too deep within each other.
    #[error("objects and lists lie within each other more than {DEPTH_MAX} deep")]
    TooDeep,
}

impl Tree {
    /// Reads an object. Of two fields of one name the last counts, as everywhere.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        // A raw leaf is not looked into: this finds what is wrong within one.
        let whole: Json = serde_json::from_str(text).map_err(|_| Unreadable::NoObject)?;
        if !whole.is_object() {
            return Err(Unreadable::NoObject);
        }
        if depth(&whole) > DEPTH_MAX {
            return Err(Unreadable::TooDeep);
        }
        Self::split(text)
    }

    fn split(text: &str) -> Result<Self, Unreadable> {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|_| Unreadable::NoObject)?;
        let node = |raw: &RawValue| match raw.get() {
            object if object.starts_with('{') => Self::split(object).map(Node::Tree),
            leaf => Ok(Node::Leaf(leaf.to_owned())),
        };
        let fields = fields.into_iter().map(|(name, raw)| Ok((name, node(raw)?)));
        fields.collect::<Result<_, _>>().map(Self)
    }

    /// The object as one text, without white space between its fields; empty when there are none.
    pub fn to_text(&self) -> String {
        match self.0.is_empty() {
            true => String::new(),
            false => serde_json::to_string(self).expect("a tree is always JSON"),
        }
    }

    /// Takes the leaves of `other` over, and leaves all others as they are. Notes the paths of those that differ.
    pub(super) fn merge(&mut self, other: Self, below: &str, changed: &mut Vec<String>) {
        for (name, node) in other.0 {
            let path = match below {
                "" => name.clone(),
                below => format!("{below}.{name}"),
            };
            match (self.0.entry(name), node) {
                (Entry::Occupied(mut present), Node::Tree(tree)) if matches!(present.get(), Node::Tree(_)) => {
                    let Node::Tree(present) = present.get_mut() else {
                        continue;
                    };
                    present.merge(tree, &path, changed);
                }
                (Entry::Occupied(present), node) if *present.get() == node => {}
                (entry, node) => {
                    changed.push(path);
                    entry.insert_entry(node);
                }
            }
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Tree(tree) => tree.serialize(serializer),
            Self::Leaf(text) => {
                let raw: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
                raw.serialize(serializer)
            }
        }
    }
}

/// How deep objects and lists lie within each other.
fn depth(value: &Json) -> usize {
    match value {
        Json::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
