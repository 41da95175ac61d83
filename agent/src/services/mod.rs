//! What the agent does for its callers: rules over the store and the counters, without any wire format.

mod error;
mod history;
mod keys;
mod periods;
mod ports;
mod rates;
mod traffic;

pub use error::ServiceError;
pub use history::{HistoryService, Metric, PeriodPage, PeriodQuery, Point};
pub use keys::KeyService;
pub use ports::{PortCheck, PortService, PortTable};
pub use rates::Rates;
pub use traffic::{Reading, Traffic, TrafficService};
