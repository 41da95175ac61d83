//! What stands between Portmeter's listeners and whoever reaches them.
//!
//! Owns TLS on both sides of a connection ([`tls`]), how many connections there are and which of them has to go when
//! there is no room ([`Connections`]), and how many wrong API keys one address may send ([`FailedKeys`]). It knows no
//! route and no service: REST and gRPC put it in front of theirs.

#![forbid(unsafe_code)]

mod accept;
mod connections;
mod failed_keys;
mod open_files;
mod stream;
pub mod tls;

pub use accept::accept;
pub use connections::{Connection, Connections, Seat};
pub use failed_keys::{FailedKeys, Verdict};
pub use open_files::{connections_that_fit, raise_open_files};
pub use stream::Stream;
