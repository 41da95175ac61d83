//! The REST interface as a client sees it: the real router, the real gRPC encoding, a stand-in for the agent.
//!
//! - `contract` holds every route against the project's own contract, `tests/contract/routes.json`
//! - `documented` holds the OpenAPI document against the same answers and errors
//! - `corpus` replays what the fuzzer has found, with the checks of `any_request`
//! - `promises` holds the routes that clients of before know against what those were promised
//! - `ids` holds that a key is found by id and by uuid everywhere, and by nothing else
//! - `behaviour` holds what shapes cannot say: order of checks, ids, resets, the kept list
//! - `history` and `panel` hold the same of the routes of the ledger, `links`, `xray` and `backups` of those of the core,
//!   `event_routes` of those of what happened, `users` of those of the panel's users
//! - `system` holds the same of the header, of restarts and of the self-checks
//! - `secrets` reads everything that is logged
//! - `wire` uses real sockets: the listener, its limits and its end, and an agent in another place
//! - `program` starts the binary
//!
//! `agent` is the stand-in, `ask` the client; `route` reads the contract, `promise` the promises, `shape` checks an answer
//! against either and `schema` against the document, `provoke` brings about the contract's errors and `change` spoils
//! good answers.

mod agent;
mod any_request;
mod ask;
mod backups;
mod behaviour;
mod change;
mod contract;
mod corpus;
mod documented;
mod event_routes;
mod history;
mod ids;
mod links;
mod panel;
mod program;
mod promise;
mod promises;
mod provoke;
mod route;
mod schema;
mod secrets;
mod shape;
mod system;
mod users;
mod wire;
mod xray;
