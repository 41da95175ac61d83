//! The one door to the Xray core: its configuration, its API, its process.
//!
//! The store holds the wanted state; [`wanted`] says it in the core's terms, as plain data. What the core is told and what
//! stands in its configuration file is made from that, and nothing is ever read back from them into the wanted state.

pub mod access_log;
pub mod api;
pub mod core;
pub mod document;
pub mod files;
pub mod link;
pub mod qr;
pub mod reality;
pub mod subscription;
pub mod wanted;
