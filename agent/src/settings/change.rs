//! What a caller asks for, and what comes of it.

use std::collections::BTreeMap;

use super::leaves::{Effect, Leaf, find, is_section};
use super::tree::{Node, Tree, Unreadable};
use super::value::Value;
use super::{Given, Stored};

/// Most bytes of everything that is kept for callers, as one JSON text.
pub const EXTRA_BYTES_MAX: usize = 64 * 1024;

/// What is in answers and is no setting: who sends an answer back does not ask for anything by it.
const VERSION: &str = "version";

/// What a caller asks for: leaves by path, and what no leaf is named like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    known: BTreeMap<&'static str, Value>,
    extra: Tree,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What is to be stored.
    pub stored: Stored,
    /// The leaves whose values differ.
    pub known: Vec<&'static Leaf>,
    /// The paths of what is kept for callers and differs.
    pub extra: Vec<String>,
}

/// Why nothing comes of it. Each text begins with the path at fault, and repeats no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A leaf cannot be that.
    #[error("{}: {}", .0.path, .0.kind.rule())]
    Value(&'static Leaf),
    /// A leaf cannot be set here, and this is another value than it has.
    #[error("{}: it is read-only here; the agent's configuration sets it", .0.path)]
    ReadOnly(&'static Leaf),
    /// A section is an object.
    #[error("{0}: send an object")]
    Section(String),
    /// The same leaf twice in one request.
    #[error("{}: it is given twice", .0.path)]
    Twice(&'static Leaf),
    /// What is to be kept is no object that can be.
    #[error("extra: {0}")]
    Extra(#[from] Unreadable),
    /// What is to be kept for callers is too much.
    #[error("extra: what is kept for callers would take {0} bytes; at most {EXTRA_BYTES_MAX} are kept")]
    TooLarge(usize),
}

impl Asked {
    /// Asks for a leaf to be this.
    pub fn leaf(&mut self, leaf: &'static Leaf, value: Value) -> Result<(), Wrong> {
        // Of a leaf that cannot be set any text may come: it is compared, not taken.
        let accepted = leaf.kind.accept(value).ok_or(Wrong::Value(leaf))?;
        match self.known.insert(leaf.path, accepted) {
            None => Ok(()),
            Some(_) => Err(Wrong::Twice(leaf)),
        }
    }

    /// Asks for the leaves of a JSON object, the known ones and all others.
    pub fn json(&mut self, text: &str) -> Result<(), Wrong> {
        for (name, node) in Tree::parse(text)?.0 {
            match node {
                _ if name == VERSION => {}
                Node::Tree(section) if is_section(&name) => self.section(&name, section)?,
                Node::Leaf(_) if is_section(&name) => return Err(Wrong::Section(name)),
                node => drop(self.extra.0.insert(name, node)),
            }
        }
        Ok(())
    }

    fn section(&mut self, name: &str, section: Tree) -> Result<(), Wrong> {
        let mut others = Tree::default();
        for (field, node) in section.0 {
            match (find(&format!("{name}.{field}")), node) {
                (Some(leaf), Node::Leaf(text)) => {
                    let value = Value::from_json(&text).ok_or(Wrong::Value(leaf))?;
                    self.leaf(leaf, value)?;
                }
                (Some(leaf), Node::Tree(_)) => return Err(Wrong::Value(leaf)),
                (None, node) => drop(others.0.insert(field, node)),
            }
        }
        if !others.0.is_empty() {
            self.extra.0.insert(name.to_owned(), Node::Tree(others));
        }
        Ok(())
    }
}

/// What comes of `asked` where `stored` is stored and `given` is what the configuration says: all of it, or nothing.
///
/// The present value of any leaf may be sent and changes nothing. A leaf that is set to what it is without being set is
/// not stored, so that it follows the configuration again.
pub fn decide(stored: &Stored, given: &Given, asked: Asked) -> Result<Decided, Wrong> {
    let mut decided = Decided {
        stored: stored.clone(),
        known: Vec::new(),
        extra: Vec::new(),
    };
    for (path, value) in asked.known {
        let Some(leaf) = find(path) else { continue };
        if stored.present(leaf, given) == value {
            continue;
        }
        if leaf.effect == Effect::ReadOnly {
            return Err(Wrong::ReadOnly(leaf));
        }
        decided.known.push(leaf);
        match leaf.unset(given) == value {
            true => drop(decided.stored.values.remove(path)),
            false => drop(decided.stored.values.insert(leaf.path, value)),
        }
    }
    decided.stored.extra.merge(asked.extra, "", &mut decided.extra);
    let length = decided.stored.extra.to_text().len();
    if length > EXTRA_BYTES_MAX {
        return Err(Wrong::TooLarge(length));
    }
    if !decided.is_empty() {
        decided.stored.version = stored.version.saturating_add(1);
    }
    Ok(decided)
}

impl Decided {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.extra.is_empty()
    }

    /// Whether a leaf of this effect differs.
    pub fn has(&self, effect: Effect) -> bool {
        self.known.iter().any(|leaf| leaf.effect == effect)
    }

    /// The paths of what differs.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let known = self.known.iter().map(|leaf| leaf.path);
        known.chain(self.extra.iter().map(String::as_str))
    }
}
