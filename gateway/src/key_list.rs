//! The last list of keys that was written, for as long as the agent says that it is current.
//!
//! Bots ask for the list again and again and it seldom changes, but it costs far more than any other answer about
//! keys: decoding and writing a hundred rows takes several times as long as the rest of the request. So the bytes
//! are kept with the agent's tag, and the agent is asked each time whether the tag still holds. Nothing is ever
//! answered on the gateway's own judgement, and a service that gives no tag is asked in full.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use portmeter_proto::etag::Etag;

/// A list and its tag.
pub(crate) struct Written {
    pub(crate) etag: Etag,
    pub(crate) body: Bytes,
}

/// The newest list, if any. The lock is held for a pointer's copy only, so a panic cannot leave it half done.
#[derive(Default)]
pub(crate) struct KeyList(Mutex<Option<Arc<Written>>>);

impl KeyList {
    pub(crate) fn last(&self) -> Option<Arc<Written>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn keep(&self, written: Written) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(written));
    }
}
