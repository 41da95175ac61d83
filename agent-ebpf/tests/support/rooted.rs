//! Tests that need root: ignored with the reason where it is missing, except in CI (`CI=true`) and wherever
//! `PORTMETER_REQUIRE_ROOT=1` asks for them: there they fail.

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Trial};

/// A test's name and the test.
pub type Test = (&'static str, fn() -> Result<()>);

/// Runs the tests as the command line asks.
pub fn run(tests: &[Test]) -> ExitCode {
    let trials = tests.iter().map(|&(name, test)| {
        Trial::ignorable_test(name, move || {
            match (nix::unistd::geteuid().is_root(), may_leave_out()) {
                (true, _) => test()
                    .map(|()| Completion::Completed)
                    .map_err(|error| format!("{error:#}").into()),
                (false, true) => Ok(Completion::ignored_with("it needs root: BPF programs")),
                (false, false) => Err("this test must not be left out here, and it needs root".into()),
            }
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Whether nobody has asked for everything.
pub fn may_leave_out() -> bool {
    let is_set = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    !is_set("CI", "true") && !is_set("PORTMETER_REQUIRE_ROOT", "1")
}
