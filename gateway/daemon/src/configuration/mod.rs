//! The configuration as all programs have it: where a value comes from, what is said of one that cannot be, what a reload
//! of it changes.
//!
//! Flags win over environment over file over defaults. Which settings there are is each program's to declare, as types that
//! serde reads; [`reference`] says what they mean, for people.

mod change;
mod place;
mod problem;
pub mod reference;
mod sources;
pub mod text;

pub use change::{Change, compare};
pub use problem::{ConfigError, Invalid, Problem};
pub use sources::{DEFAULT_FILE, Sources};
