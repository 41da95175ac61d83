//! The stories: what the product promises, tried with the real binary on real packets.
//!
//! They need root, network namespaces and a few tools. Where those are missing a story is reported as ignored with
//! the reason, except in CI (`CI=true`) and wherever `PORTMETER_REQUIRE_ROOT=1` asks for them: there it fails.

mod apart;
mod bystanders;
mod changes;
mod connections;
mod crash;
mod exact;
mod faces;
mod first_session;
mod following;
mod inspection;
mod kernel_log;
mod keys;
mod lab;
mod loopback;
mod metrics;
mod migration;
mod mounting;
mod neighbours;
mod offloads;
mod refusals;
mod resets;
mod stopping;
mod upgrades;
mod xdp;

use std::any::Any;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::{env, fs};

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use portmeter_tests::agent;
use portmeter_tests::namespace::Namespace;

/// A story's name and what it does.
type Story = (&'static str, fn() -> Result<()>);

/// The programs that stories call, beside the product.
const TOOLS: [&str; 9] = [
    "bash", "bpftool", "clang", "curl", "ethtool", "ip", "ss", "tc", "tcpdump",
];

fn main() -> ExitCode {
    let rooms: [(&str, &[Story]); 24] = [
        ("lab", lab::STORIES),
        ("exact", exact::STORIES),
        ("offloads", offloads::STORIES),
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
        ("faces", faces::STORIES),
        ("metrics", metrics::STORIES),
        ("apart", apart::STORIES),
        ("inspection", inspection::STORIES),
        ("refusals", refusals::STORIES),
        ("stopping", stopping::STORIES),
        ("changes", changes::STORIES),
        ("following", following::STORIES),
        ("mounting", mounting::STORIES),
        ("first_session", first_session::STORIES),
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
        None => tell(story).map(|()| Completion::Completed),
    })
}

/// Runs a story; when it fails, what its agents wrote goes with the failure.
fn tell(story: fn() -> Result<()>) -> Result<(), Failed> {
    let ended = catch_unwind(story);
    let logs = agent::take_logs().join("\n");
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{error:#}\n{logs}").into()),
        Err(payload) => Err(format!("panicked: {}\n{logs}", panic_message(payload.as_ref())).into()),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("with something that is no text")
}

fn may_leave_out() -> bool {
    let is_set = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    !is_set("CI", "true") && !is_set("PORTMETER_REQUIRE_ROOT", "1")
}

/// Why no story can be told here, if so.
fn reason_to_leave_out() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root: network namespaces and BPF programs".to_owned());
    }
    let missing: Vec<&str> = TOOLS.into_iter().filter(|tool| !is_on_path(tool)).collect();
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

fn is_on_path(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| fs::metadata(folder.join(tool)).is_ok_and(|metadata| metadata.is_file()))
}
