//! `cargo xtask test`: installs what the tests need and runs all of them.
//!
//! Host tests need nothing but Rust. The stories need root and a few programs; what is missing is installed where
//! that is possible (root on Debian), and nothing else is. Run by an ordinary user, the stories say why they are left
//! out; run by root, or in CI, none may be.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::parts::Parts;
use crate::{command, tools};

/// Programs that the tests call, and the Debian packages that have them.
const TOOLS: [(&str, &str); 8] = [
    ("bpftool", "bpftool"),
    ("clang", "clang"),
    ("curl", "curl"),
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("tc", "iproute2"),
    ("tcpdump", "tcpdump"),
];

/// Set when no test may be left out for want of root.
const REQUIRE_ROOT: &str = "PORTMETER_REQUIRE_ROOT";

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only the tests whose name contains this
    filter: Option<String>,
    /// Run the stories alone
    #[arg(long)]
    stories: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let filter = arguments.filter.as_deref();
    let mut parts = Parts::default();
    parts.run("tools", || tools::install_missing(&TOOLS))?;
    if !arguments.stories {
        let all_but_stories = ["--workspace", "--exclude", "portmeter-tests", "--no-fail-fast"];
        parts.run("host tests", || command::run(tests(&all_but_stories)?.args(filter)))?;
    }
    parts.run("building the binary", || {
        command::run(command::cargo().args(["build", "--release", "--package", "portmeter"]))
    })?;
    let stories = ["--package", "portmeter-tests"];
    parts.run("building the stories", || {
        command::run(tests(&stories)?.arg("--no-run"))
    })?;
    parts.run("stories", || {
        let target = target_folder()?;
        let mut stories = tests(&stories)?;
        stories
            .args(filter)
            .env("PORTMETER_BINARY", target.join("release/portmeter"));
        // Built by the host tests, where those ran: a second build to upgrade to.
        stories.env("PORTMETER_OTHER_BINARY", target.join("debug/portmeter"));
        command::run(&mut stories)
    })?;
    parts.report();
    Ok(())
}

/// `cargo test`, with nothing left out where nothing has to be.
fn tests(arguments: &[&str]) -> Result<Command> {
    let mut tests = command::cargo();
    tests.arg("test").args(arguments);
    if tools::is_root()? {
        tests.env(REQUIRE_ROOT, "1");
    }
    Ok(tests)
}

/// Where cargo puts what it builds, whatever the environment and its configuration say.
fn target_folder() -> Result<PathBuf> {
    let metadata = command::output(command::cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    Ok(metadata["target_directory"]
        .as_str()
        .context("cargo names no target folder")?
        .into())
}
