//! Portmeter's REST interface.
//!
//! The gateway turns the documented REST paths into calls of the agent's gRPC services and their answers into JSON.
//! It maps and nothing else: every number comes from the agent, and all it keeps is the text of the last list of keys,
//! which the agent confirms each time. It is the only crate that knows a REST shape.
//!
//! # Starting it
//!
//! In the agent's process, over the generated server halves of its own services, without a socket between:
//!
//! ```no_run
//! # use portmeter_gateway::{Backend, GatewayConfig, LocalServices, PanelAuth, router, serve};
//! # async fn start(
//! #     services: LocalServices, api_key: portmeter_proto::api_key::ApiKey,
//! #     listener: tokio::net::TcpListener, shutdown: tokio_util::sync::CancellationToken,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! // LocalServices::default().with(KeyServiceServer::new(…)) and so on, every service of `portmeter.v1`.
//! let backend = Backend::in_process(&services)?;
//! let config = GatewayConfig {
//!     api_key,
//!     panel_auth: PanelAuth::Key,
//!     listen: listener.local_addr()?,
//!     public_url: None,
//!     failed_keys_per_minute: 300,
//! };
//! serve(listener, router(backend, config), shutdown).await;
//! # Ok(())
//! # }
//! ```
//!
//! Server halves are pointers: clone the ones that the gRPC listener serves. Take the API key's interceptor off
//! first: the gateway checks the key of its own caller and sends none on.
//!
//! Apart from the agent, [`Backend::connect`] in place of [`Backend::in_process`]; [`cli::run`] does all of it for a
//! command line. Either way [`cli::check_panel`] says whether the panel may be open on an address. Who keeps a clone of the
//! [`LiveConfig`] given to [`router`] can change who may use the panel, and what links begin with, while it runs.
//!
//! # What it expects of the services
//!
//! Errors are `portmeter_proto::reason::Reason`s. Their sentence reaches the caller where it is about the request
//! (`InvalidArgument`, `KeyLimitReached`) or about the core (`CoreRefused`, `ConfigurationRefused`, `CoreNotManaged` and
//! their like), so it must name no path and no secret; the others have fixed texts here. Clients compare two of them:
//! `RealityNotConfigured` says `VLESS inbound not found` or `Reality not configured`, `CoreNotManaged` says
//! `xray.mode is none`. `GetConfiguration` masks every secret itself. `GetStateResponse.problems` are shown to
//! anybody at `/readyz`, so they must name no path and no secret. Every timestamp that a message has must be set.
//! `ListKeys` should tag its answers as `portmeter_proto::etag` describes; without a tag each list is read in full.
//!
//! # The rooms
//!
//! `routes` is the table; `auth` stands before each handler, `requests` around both; `meta`, `keys`, `links`,
//! `subscription`, `traffic`, `history`, `ports` and `xray` are the handlers, and of the panel `usage`, `live`, `events`,
//! `backups`, `port_probe` and `users`, who are keys seen by their names; `key_list` keeps the last list, `shared_answer`
//! makes one answer for all who wait for it; `request`, `panel_request` and `query` read, `answer` writes, `failure`
//! reports; `calendar`, `moment` and `size` know days, times and sizes; `openapi` describes every route and shows the page
//! that browses them; `ui` is the page for people; `backend` and `transport` reach the agent; `server` listens; `metrics` is
//! what a gateway without an agent beside it tells Prometheus; `cli` starts it all as a program, with what `config` says.

#![forbid(unsafe_code)]

mod answer;
mod auth;
mod backend;
mod backups;
mod calendar;
mod checks;
pub mod cli;
mod collector;
pub mod config;
mod events;
mod failure;
mod gateway;
mod history;
mod key_list;
mod keys;
mod links;
mod live;
mod meta;
mod metrics;
mod moment;
mod openapi;
mod panel_request;
mod ports;
mod query;
mod request;
mod requests;
mod routes;
mod server;
mod settings;
mod shared_answer;
mod size;
mod subscription;
mod system;
#[cfg(test)]
mod testing;
mod traffic;
mod transport;
mod ui;
mod usage;
mod users;
mod watched_ports;
mod xray;

pub use auth::Access;
pub use backend::{Backend, LocalServices, MissingService};
pub use gateway::{GatewayConfig, LiveConfig, PanelAuth};
pub use requests::{REQUEST_FAMILIES, RequestFigures};
pub use routes::{RouteLine, measured_router, route_lines, router};
pub use server::{Limits, Server, serve};
pub use transport::{ConnectError, InvalidAddress, LocalService, Transport};
