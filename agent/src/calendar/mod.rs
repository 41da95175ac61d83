//! The ledger's time: minutes, hours, days and months of a zone, and billing cycles. Plain functions, no clock.
//!
//! Days and months are calendar ones, so a day has 23 or 25 hours where the zone says so. Minutes and hours are spans of
//! real time; an hour begins where the zone's clock shows a full hour, which in some zones is half past in UTC.

mod cycle;
mod period;
mod zone;

pub use cycle::{BillingCycle, CycleError, CycleRule, CycleSpan};
pub use period::{Day, Hour, Minute, Month, PeriodError};
pub use zone::Calendar;
