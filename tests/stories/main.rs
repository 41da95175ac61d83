//! The stories: what the product promises, tried with the real binary on real packets.
//!
//! They need root, network namespaces and a few tools. Where those are missing a story is reported as ignored with
//! the reason, except in CI (`CI=true`) and wherever `PORTMETER_REQUIRE_ROOT=1` asks for them: there it fails. What
//! only another kernel has, a story asks for itself ([`portmeter_tests::needs`]).

mod apart;
mod backup;
mod big_tcp;
mod bystanders;
mod changes;
mod checks;
mod command_line;
mod connections;
mod containers;
mod contract;
mod crash;
mod devices;
mod doctor;
mod documented;
mod events;
mod exact;
mod faces;
mod first_session;
mod following;
mod fragments;
mod grpc_clients;
mod guides;
mod history;
mod inspection;
mod kernel_log;
mod keys;
mod lab;
mod ledger;
mod live;
mod logs;
mod loopback;
mod metrics;
mod migration;
mod missing_rights;
mod monitoring;
mod mounting;
mod neighbours;
mod offloads;
mod package;
mod prepare;
mod promptness;
mod real_devices;
mod refusals;
mod reload;
mod resets;
mod rights;
mod security;
mod service;
mod settings;
mod stopping;
mod system;
mod tls;
mod top;
mod transfer;
mod ui;
mod untouched;
mod upgrades;
mod usage;
mod users;
mod versions;
mod wire;
mod xdp;
mod xray;

use std::any::Any;
use std::panic::catch_unwind;
use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use portmeter_tests::agent;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::needs::{Lacking, is_on_path, may_leave_out};

/// A story's name and what it does.
type Story = (&'static str, fn() -> Result<()>);

/// The programs that stories call, beside the product.
const TOOLS: &[&str] = &[
    "bash", "bpftool", "clang", "curl", "ethtool", "ip", "jq", "nft", "nsenter", "openssl", "python3", "script",
    "setpriv", "ss", "tc", "tcpdump", "tmux", "unshare",
];

fn main() -> ExitCode {
    let rooms: &[(&str, &[Story])] = &[
        ("lab", lab::STORIES),
        ("exact", exact::STORIES),
        ("wire", wire::STORIES),
        ("devices", devices::STORIES),
        ("containers", containers::STORIES),
        ("fragments", fragments::STORIES),
        ("offloads", offloads::STORIES),
        ("big_tcp", big_tcp::STORIES),
        ("real_devices", real_devices::STORIES),
        ("bystanders", bystanders::STORIES),
        ("crash", crash::STORIES),
        ("connections", connections::STORIES),
        ("upgrades", upgrades::STORIES),
        ("migration", migration::STORIES),
        ("xdp", xdp::STORIES),
        ("kernel_log", kernel_log::STORIES),
        ("loopback", loopback::STORIES),
        ("neighbours", neighbours::STORIES),
        ("keys", keys::STORIES),
        ("resets", resets::STORIES),
        ("settings", settings::STORIES),
        ("history", history::STORIES),
        ("usage", usage::STORIES),
        ("users", users::STORIES),
        ("ledger", ledger::STORIES),
        ("live", live::STORIES),
        ("events", events::STORIES),
        ("faces", faces::STORIES),
        ("documented", documented::STORIES),
        ("guides", guides::STORIES),
        ("grpc_clients", grpc_clients::STORIES),
        ("command_line", command_line::STORIES),
        ("top", top::STORIES),
        ("contract::walk", contract::walk::STORIES),
        ("contract::refusals", contract::refusals::STORIES),
        ("contract::bot", contract::bot::STORIES),
        ("contract::panel", contract::panel::STORIES),
        ("metrics", metrics::STORIES),
        ("monitoring", monitoring::STORIES),
        ("versions", versions::STORIES),
        ("apart", apart::STORIES),
        ("inspection", inspection::STORIES),
        ("doctor", doctor::STORIES),
        ("backup", backup::STORIES),
        ("tls", tls::STORIES),
        ("security", security::STORIES),
        ("refusals", refusals::STORIES),
        ("stopping", stopping::STORIES),
        ("system", system::STORIES),
        ("checks", checks::STORIES),
        ("ui", ui::STORIES),
        ("transfer", transfer::STORIES),
        ("changes", changes::STORIES),
        ("following", following::STORIES),
        ("promptness", promptness::STORIES),
        ("untouched", untouched::STORIES),
        ("mounting", mounting::STORIES),
        ("first_session", first_session::STORIES),
        ("rights", rights::STORIES),
        ("missing_rights", missing_rights::STORIES),
        ("prepare", prepare::STORIES),
        ("service", service::STORIES),
        ("logs", logs::STORIES),
        ("reload", reload::STORIES),
        ("package", package::STORIES),
        ("xray::lab", xray::lab::STORIES),
        ("xray::domains", xray::domains::STORIES),
        ("xray::first_bytes", xray::first_bytes::STORIES),
        ("xray::nobody_notices", xray::nobody_notices::STORIES),
        ("xray::cut_off", xray::cut_off::STORIES),
        ("xray::lives", xray::lives::STORIES),
        ("xray::edited", xray::edited::STORIES),
        ("xray::identity", xray::identity::STORIES),
        ("xray::settings", xray::settings::STORIES),
        ("xray::restored", xray::restored::STORIES),
        ("xray::refused", xray::refused::STORIES),
        ("xray::thousand", xray::thousand::STORIES),
        ("xray::hostile", xray::hostile::STORIES),
    ];
    let left_out = reason_to_leave_out();
    let stories = rooms
        .iter()
        .flat_map(|(room, stories)| stories.iter().map(move |story| (room, story)));
    let trials = stories
        .map(|(room, story)| trial(room, *story, left_out.clone()))
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(room: &str, (name, story): Story, left_out: Option<String>) -> Trial {
    Trial::ignorable_test(format!("{room}::{name}"), move || match left_out {
        Some(reason) if may_leave_out() => Ok(Completion::ignored_with(reason)),
        Some(reason) => Err(format!("this story must not be left out here, and {reason}").into()),
        None => tell(story),
    })
}

/// Runs a story; when it fails, what its agents wrote goes with the failure.
fn tell(story: fn() -> Result<()>) -> Result<Completion, Failed> {
    let ended = catch_unwind(story);
    let logs = agent::take_logs().join("\n");
    match ended {
        Ok(Ok(())) => Ok(Completion::Completed),
        Ok(Err(error)) => match error.downcast_ref::<Lacking>() {
            Some(lacking) => Ok(Completion::ignored_with(lacking.to_string())),
            None => Err(format!("{error:#}\n{logs}").into()),
        },
        Err(payload) => Err(format!("panicked: {}\n{logs}", panic_message(payload.as_ref())).into()),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("with something that is no text")
}

/// Why no story can be told here, if so.
fn reason_to_leave_out() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root: network namespaces and BPF programs".to_owned());
    }
    let missing: Vec<&str> = TOOLS.iter().copied().filter(|tool| !is_on_path(tool)).collect();
    if !missing.is_empty() {
        return Some(format!("it needs {}: run `cargo xtask test`", missing.join(", ")));
    }
    if agent::binary().is_none() {
        return Some("there is no portmeter binary to test: run `cargo xtask test`".to_owned());
    }
    Namespace::new("probe")
        .err()
        .map(|error| format!("there are no network namespaces: {error:#}"))
}
