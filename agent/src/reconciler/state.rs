//! What is known of the core at this moment, for who shows it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use uuid::Uuid;

use crate::xray::core::CoreFacts;

/// Who runs the core, and how it is.
#[derive(Debug, Clone)]
pub struct XrayFacts {
    /// Its process.
    pub core: CoreFacts,
    /// One sentence about why the configuration file is not what is wanted, while that is so.
    pub file_error: Option<String>,
    /// One sentence about why the running core has not what is wanted, while that is so.
    pub apply_error: Option<String>,
}

pub(super) struct State {
    inner: Mutex<Inner>,
}

struct Inner {
    facts: XrayFacts,
    /// See [`super::applier::Applier::live`].
    live: Option<Arc<BTreeSet<Uuid>>>,
}

impl State {
    pub(super) fn new(core: CoreFacts) -> Self {
        let facts = XrayFacts {
            core,
            file_error: None,
            apply_error: None,
        };
        Self {
            inner: Mutex::new(Inner { facts, live: None }),
        }
    }

    pub(super) fn facts(&self) -> XrayFacts {
        self.lock().facts.clone()
    }

    pub(super) fn live(&self) -> Option<Arc<BTreeSet<Uuid>>> {
        self.lock().live.clone()
    }

    pub(super) fn set_core(&self, core: CoreFacts) {
        self.lock().facts.core = core;
    }

    pub(super) fn set_file_error(&self, error: Option<String>) {
        self.lock().facts.file_error = error;
    }

    pub(super) fn set_apply_error(&self, error: Option<String>) {
        self.lock().facts.apply_error = error;
    }

    pub(super) fn set_live(&self, live: Option<BTreeSet<Uuid>>) {
        self.lock().live = live.map(Arc::new);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds this lock")
    }
}
