//! Settings that can be changed while the agent runs: what there is, what a change may be, what comes of it. Plain data
//! and plain functions; the store keeps them, the settings service applies them.
//!
//! [`LEAVES`] is the one table: types, bounds, defaults, what may be set, how it takes effect and the documentation come
//! from it. What is in no row is nobody's business here and is kept for callers as they wrote it.
//!
//! Whoever holds the API key must not be able to choose what root runs, reads, writes or listens on: such leaves are
//! shown and never set.

mod change;
mod leaves;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use std::collections::BTreeMap;

pub use change::{Asked, Decided, EXTRA_BYTES_MAX, Wrong, decide};
pub use leaves::{
    COLLECTOR_ENABLED, Effect, LEAVES, LOG_LEVEL, Leaf, Origin, XRAY_FINGERPRINT, XRAY_FLOW, XRAY_SERVER_HOST,
    XRAY_SNI, find, markdown,
};
pub use tree::{DEPTH_MAX, Tree, Unreadable};
pub use value::{Kind, Value};

/// What is stored: what differs from its default, and what is kept for callers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// By path.
    pub values: BTreeMap<&'static str, Value>,
    /// What no leaf is named like.
    pub extra: Tree,
    /// Grows by one with each change.
    pub version: u32,
}

/// What the configuration and the host say: the values of leaves that are not stored and have no default of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given(pub BTreeMap<&'static str, Value>);

impl Stored {
    /// The stored text of a leaf.
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.values.get(path) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether sampling and booking go on by the clock.
    pub fn is_collecting(&self) -> bool {
        self.values.get(COLLECTOR_ENABLED) != Some(&Value::Switch(false))
    }

    /// What a leaf is now.
    pub fn present(&self, leaf: &Leaf, given: &Given) -> Value {
        let stored = self.values.get(leaf.path);
        stored.cloned().unwrap_or_else(|| leaf.unset(given))
    }
}
