//! What is taken from others: their licences, where they come from, what must not be among them, and what is known to be
//! wrong with them (`deny.toml`), looked at by a pinned cargo-deny.
//!
//! Licences, bans and sources are judged by what is on this machine. What is known to be wrong comes from the RustSec
//! database on the network: where that cannot be fetched this part is left out and the output says so, in CI too, unless
//! `PORTMETER_REQUIRE_ADVISORIES=1` asks for it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{command, tools, workspace_root};

const CARGO_DENY_VERSION: &str = "0.20.2";

/// Set where nothing that can be had may be left out.
const NOTHING_LEFT_OUT: &str = "CI";

/// Set where the advisories must be looked at.
const REQUIRE_ADVISORIES: &str = "PORTMETER_REQUIRE_ADVISORIES";

/// Fails when a dependency breaks a rule. Where the program cannot be built this says why and leaves all of it out; in CI
/// that is an error.
pub(crate) fn check() -> Result<()> {
    let is_ci = env::var(NOTHING_LEFT_OUT).is_ok_and(|value| value == "true");
    match installed() {
        Ok(program) => check_with(&program),
        Err(error) if is_ci => Err(error),
        Err(error) => {
            println!("left out, there is no cargo-deny: {error:#}");
            Ok(())
        }
    }
}

fn check_with(program: &Path) -> Result<()> {
    command::run(deny(program).args(["check", "bans", "licenses", "sources"]))?;
    match command::output(deny(program).args(["fetch", "db"])) {
        Ok(_) => command::run(deny(program).args(["check", "--disable-fetch", "advisories"])),
        Err(error) => {
            ensure!(
                !env::var(REQUIRE_ADVISORIES).is_ok_and(|value| value == "1"),
                "the advisories cannot be fetched: {error:#}"
            );
            println!("left out, the database of advisories cannot be fetched from here");
            Ok(())
        }
    }
}

fn deny(program: &Path) -> Command {
    let mut deny = Command::new(program);
    deny.arg("--locked").current_dir(workspace_root());
    deny
}

fn installed() -> Result<PathBuf> {
    tools::cargo_program("cargo-deny", CARGO_DENY_VERSION)
}
