//! The lab that the end-to-end stories run in.
//!
//! Owns throw-away network namespaces and cables ([`network`]), traffic of known size ([`traffic`], [`tap`]), an
//! independent count of it ([`capture`]: tcpdump on a hop without offloads, parsed by a library the product does not
//! use; [`witness`]: a program of its own where tcpdump could not keep up) and the product seen from outside ([`agent`],
//! [`rest`], [`raw`], [`grpc`], [`metrics`], [`bpftool`], [`doctor`], [`browser`]), a real Prometheus ([`prometheus`]), real
//! Xray cores with a site to reach through them ([`xray`]), and machines with a systemd of their own ([`systemd`]), whose part
//! a story can also play itself ([`service_manager`]). It names nothing of the product's insides: what a story knows about an
//! agent, a user could know too.
//!
//! Everything is removed when it is dropped, also when a story panics. Nothing waits by sleeping: [`wait::until`]
//! asks for a condition, and a story that never sees it fails and says which one.

pub mod agent;
pub mod bare_grpc;
pub mod bpftool;
pub mod browser;
pub mod capture;
pub mod cgroup;
pub mod command;
pub mod container;
pub mod count;
pub mod doctor;
pub mod events;
pub mod exactness;
pub mod foreign;
pub mod grpc;
pub mod grpc_clients;
pub mod grpc_history;
pub mod layout_1;
pub mod ledger_file;
pub mod ledger_view;
pub mod machine;
pub mod metrics;
pub mod mirror;
pub mod namespace;
pub mod needs;
pub mod network;
pub mod ordinary_user;
pub mod package;
pub mod packet;
pub mod packet_size;
pub mod page;
pub mod prometheus;
pub mod raw;
pub mod rest;
pub mod service_manager;
pub mod snapshot;
pub mod stepped;
pub mod systemd;
pub mod tap;
pub mod terminal;
pub mod traffic;
pub mod tun;
pub mod unit_file;
pub mod wait;
pub mod witness;
pub mod xray;
