//! What the agent and the gateway share of metrics.
//!
//! A metric is described once, as a [`Family`]: what is written, what is documented and what the tests guard comes from
//! that. Figures that are kept between scrapes are [`Durations`] and plain atomic numbers, so that recording one takes
//! neither a lock nor an allocation; everything else is read at the moment of a scrape, and written by [`text`] in the
//! format that the scraper asks for. This crate is the only one that names `prometheus-client`.

#![forbid(unsafe_code)]

mod build;
mod durations;
mod endpoint;
mod family;
mod format;
mod page;
mod process;
mod reference;
mod timed;

pub use build::{BUILD_FAMILIES, Build};
pub use durations::{Durations, Recorded};
pub use endpoint::router;
pub use family::{Family, Kind, Unit};
pub use format::Format;
pub use page::{Figure, Figures, Page, Rows, Value, text};
pub use process::{PROCESS_FAMILIES, Process};
pub use reference::{lines, table};
pub use timed::{Recorder, Timed};
