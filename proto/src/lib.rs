//! Portmeter's gRPC interface.
//!
//! Owns the messages and services of `portmeter.v1` (generated from `proto/`, committed, refreshed by
//! `cargo xtask codegen`), the one table from error to gRPC and HTTP status with what a status tells beside it, and the
//! API key's type. It knows neither the kernel nor the store nor any REST shape.

pub mod api_key;
pub mod details;
pub mod etag;
pub mod reason;

/// The generated messages, clients and servers of `portmeter.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated code; the .proto files carry the comments"
)]
pub mod v1 {
    include!("generated/portmeter.v1.rs");
}

/// The compiled .proto files, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/portmeter.v1.descriptors.bin");
