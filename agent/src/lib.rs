//! The Portmeter agent: counts traffic per port in the kernel, keeps the ledger, manages keys, serves gRPC.
//!
//! Data flows one way: kernel maps → sampler → ledger → services → gRPC → gateway. Control flows the other: gateway →
//! gRPC → services → store. See ARCHITECTURE.md for the rooms and the invariants.

pub mod api_key;
pub mod app;
pub mod calendar;
pub mod cli;
pub mod config;
pub mod connections;
pub mod counters;
pub mod cut_off;
pub mod doctor;
pub mod domains;
pub mod first_session;
pub mod follow;
pub mod grpc;
pub mod host;
pub mod instance;
pub mod kernel;
pub mod ledger;
mod memory;
pub mod metrics;
pub mod network;
pub mod outage;
pub mod prepare;
pub mod reconciler;
pub mod restart;
pub mod retention;
pub mod rights;
pub mod sampler;
pub mod services;
pub mod settings;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod transfer;
pub mod watchdog;
pub mod xray;

/// This build's version, the same everywhere it is shown.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
