//! The REST interface as a client sees it: the real router, the real gRPC encoding, a stand-in for the agent.
//!
//! - `contract` holds every route against the project's own contract, `tests/contract/routes.json`
//! - `behaviour` holds what shapes cannot say: order of checks, ids, resets, the kept list
//! - `history` and `panel` hold the same of the routes of the ledger, `links`, `xray` and `backups` of those of the core
//! - `secrets` reads everything that is logged
//! - `wire` uses real sockets: the listener, its limits and its end, and an agent in another place
//! - `program` starts the binary
//!
//! `agent` is the stand-in, `ask` the client; `route` reads the contract, `shape` checks an answer against it, `provoke`
//! brings about its errors and `change` spoils good answers.

mod agent;
mod ask;
mod backups;
mod behaviour;
mod change;
mod contract;
mod history;
mod links;
mod panel;
mod program;
mod provoke;
mod route;
mod secrets;
mod shape;
mod wire;
mod xray;
