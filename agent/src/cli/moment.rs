//! A message's time as one that can be written out.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// The moment of a timestamp; `None` where it is none that a calendar has.
pub(super) fn moment(at: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
}
