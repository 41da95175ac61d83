//! What the agent does for its callers: rules over the store, the counters and the core, without any wire format.

mod backups;
mod checks;
mod collector;
mod domains;
mod error;
mod events;
mod history;
mod key_page;
mod key_rules;
mod keys;
mod links;
mod periods;
mod ports;
mod rates;
mod settings;
mod system;
mod traffic;
mod xray;

pub use backups::{BackupService, Restoration};
pub use checks::{Check, CheckList, CheckService, Status, Subjects};
pub use collector::{Collector, CollectorService};
pub use domains::{DomainQuery, DomainService, DomainUsage};
pub use error::ServiceError;
pub use events::{EventFollower, EventPage, EventService};
pub use history::{HistoryService, Metric, PeriodPage, PeriodQuery, Point};
pub use keys::{CreateKey, KeyPage, KeyService};
pub use links::{KeyLink, LinkService, QrCode, QrFormat, Subscription};
pub use ports::{PortCheck, PortService, PortTable};
pub use rates::Rates;
pub use settings::{Saved, Settings, SettingsService};
pub use system::{Managed, ManagedName, ManagedState, Resources, SystemService};
pub use traffic::{Reading, Traffic, TrafficService};
pub use xray::{Rotated, Rotation, XrayService};
