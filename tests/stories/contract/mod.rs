//! The 70 routes that clients know, held against what those were promised, by a real agent with a real core.
//!
//! The promises and the words that they are written in are the gateway's (`gateway/tests/contract/promises.json`); its
//! own tests put them to a stand-in agent. Here everything is real: traffic through tunnels, a ledger, backups, events.
//!
//! - `walk` asks every route, `refusals` asks each for what it must refuse
//! - `bot` and `panel` ask as the programs in the field do, in their order, and read what those read

mod ask;
pub(crate) mod bot;
pub(crate) mod panel;
#[path = "../../../gateway/tests/rest/promise.rs"]
mod promise;
pub(crate) mod refusals;
#[path = "../../../gateway/tests/rest/shape.rs"]
mod shape;
pub(crate) mod walk;
mod world;
