//! What the agent does for its callers: rules over the store, the counters and the core, without any wire format.

mod backups;
mod error;
mod history;
mod keys;
mod links;
mod periods;
mod ports;
mod rates;
mod traffic;
mod xray;

pub use backups::{BackupService, Restoration};
pub use error::ServiceError;
pub use history::{HistoryService, Metric, PeriodPage, PeriodQuery, Point};
pub use keys::KeyService;
pub use links::{KeyLink, LinkService, QrCode, QrFormat, Subscription};
pub use ports::{PortCheck, PortService, PortTable};
pub use rates::Rates;
pub use traffic::{Reading, Traffic, TrafficService};
pub use xray::{Rotated, Rotation, XrayService};
