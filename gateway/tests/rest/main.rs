//! The REST interface as a client sees it: the real router, the real gRPC encoding, a stand-in for the agent.
//!
//! - `contract` holds every route against the project's own contract, `tests/contract/routes.json`
//! - `behaviour` holds what shapes cannot say: order of checks, ids, resets, the kept list
//! - `history` and `panel` hold the same of the routes of the ledger
//! - `wire` uses real sockets: the listener, its limits and its end, and an agent in another place
//! - `program` starts the binary
//!
//! `agent` is the stand-in, `shape` the checker, `ask` the client.

mod agent;
mod ask;
mod behaviour;
mod contract;
mod history;
mod panel;
mod program;
mod shape;
mod wire;
