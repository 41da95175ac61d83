//! The core's access log: which domains keys connected to, line by line.
//!
//! It is a record of what people visit, so nothing here is at work unless the operator has switched it on. The file is
//! this agent's, beside what else the core leaves in the data folder, or the operator's own where their configuration
//! names one; theirs is read and never changed. [`line`] reads a line, [`follower`] a file from where it was left.

mod file;
mod follower;
mod line;

pub use file::{FILE_NAME, empty_leftover, is_ours, make, path_in};
pub use follower::{Follower, Place};
pub use line::{Visit, visit};
