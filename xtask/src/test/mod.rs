//! `cargo xtask test`: installs what the tests need and runs all of them.
//!
//! Host tests need nothing but Rust. The stories need root and a few programs; what is missing is installed where
//! that is possible (root on Debian), and nothing else is. Run by an ordinary user, the stories say why they are left
//! out; run by root, or in CI, none may be.
//!
//! The run ends with a smoke on an older kernel. `--kernel` runs the tests that meet a kernel on that one alone.

mod other_kernel;

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::parts::Parts;
use crate::{command, deb, grpc_clients, kernel, prometheus, schemathesis, tools, xray};
use kernel::Series;
use other_kernel::Extent;

/// Programs that the tests call, and the Debian packages that have them.
const TOOLS: &[(&str, &str)] = &[
    ("bpftool", "bpftool"),
    ("chromium", "chromium"),
    ("clang", "clang"),
    ("curl", "curl"),
    ("ethtool", "ethtool"),
    ("faketime", "faketime"),
    ("ip", "iproute2"),
    ("jq", "jq"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("script", "bsdutils"),
    ("setpriv", "util-linux"),
    ("ss", "iproute2"),
    ("systemd-analyze", "systemd"),
    ("tc", "iproute2"),
    ("tcpdump", "tcpdump"),
    ("tmux", "tmux"),
    ("unshare", "util-linux"),
];

/// What stories call only where the kernel has real devices; installed together with the kernel that has them.
const DEVICE_TOOLS: [(&str, &str); 1] = [("wg", "wireguard-tools")];

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
    /// Run the packet tests and the stories on Debian's kernel of this series, in a virtual machine
    #[arg(long, value_name = "SERIES", conflicts_with = "stories")]
    kernel: Option<Series>,
    /// With --kernel: a few stories only
    #[arg(long, requires = "kernel", conflicts_with = "filter")]
    smoke: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut parts = Parts::default();
    match &arguments.kernel {
        Some(series) => run_on_kernel(&mut parts, series, arguments)?,
        None => run_here(&mut parts, arguments)?,
    }
    parts.report();
    Ok(())
}

fn run_here(parts: &mut Parts, arguments: &Arguments) -> Result<()> {
    let filter = arguments.filter.as_deref();
    let is_everything = filter.is_none() && !arguments.stories;
    parts.run("tools", || {
        if is_everything {
            tools::install_missing(&with_kernel_tools())
        } else {
            tools::install_missing(TOOLS)
        }
    })?;
    let mut others = install_others(parts)?;
    if !arguments.stories {
        let all_but_stories = [
            "--workspace",
            "--exclude",
            "portmeter-tests",
            "--features",
            "portmeter/faults",
            "--no-fail-fast",
        ];
        parts.run("host tests", || {
            command::run(tests(&all_but_stories, &others)?.args(filter))
        })?;
    }
    build_binary(parts)?;
    package(parts, &mut others)?;
    let stories = ["--package", "portmeter-tests"];
    parts.run("building the stories", || {
        command::run(tests(&stories, &others)?.arg("--no-run"))
    })?;
    parts.run("stories", || {
        let mut stories = tests(&stories, &others)?;
        stories.args(filter).envs(builds()?);
        command::run(&mut stories)
    })?;
    if is_everything {
        parts.run("soak", || soak(&others, &[]))?;
        parts.run("smoke on an older kernel", || smoke(&others))?;
    }
    Ok(())
}

/// Runs the stories whose name contains `filter`, with more variables set.
pub(crate) fn run_stories(filter: &str, variables: &[(&str, String)]) -> Result<()> {
    let mut parts = Parts::default();
    parts.run("tools", || tools::install_missing(TOOLS))?;
    let others = install_others(&mut parts)?;
    build_binary(&mut parts)?;
    parts.run("stories", || {
        let mut stories = tests(&["--package", "portmeter-tests", "--", filter], &others)?;
        stories
            .env("PORTMETER_BINARY", built_binary()?)
            .envs(variables.iter().cloned());
        command::run(&mut stories)
    })?;
    parts.report();
    Ok(())
}

/// Runs the soak with these words.
pub(crate) fn run_soak(words: &[String]) -> Result<()> {
    let mut parts = Parts::default();
    parts.run("tools", || tools::install_missing(TOOLS))?;
    let others = install_others(&mut parts)?;
    build_binary(&mut parts)?;
    parts.run("soak", || soak(&others, words))?;
    parts.report();
    Ok(())
}

fn soak(others: &Others, words: &[String]) -> Result<()> {
    let mut soak = command::cargo();
    soak.args(["run", "--quiet", "--package", "portmeter-tests", "--bin", "soak", "--"])
        .args(words);
    command::run(with_others(&mut soak, others)?.envs(builds()?))
}

fn run_on_kernel(parts: &mut Parts, series: &Series, arguments: &Arguments) -> Result<()> {
    let extent = match &arguments.filter {
        _ if arguments.smoke => Extent::Smoke,
        Some(filter) => Extent::Filtered(filter),
        None => Extent::All,
    };
    parts.run("tools", || tools::install_missing(&with_kernel_tools()))?;
    if let Some(reason) = kernel::reason_to_leave_out() {
        bail!("kernel {series} cannot be run here: {reason}");
    }
    let mut others = install_others(parts)?;
    build_binary(parts)?;
    package(parts, &mut others)?;
    parts.run("tests on the other kernel", || {
        other_kernel::run(series, &extent, &built_binary()?, &others)
    })
}

/// Left out, with the reason, on a machine that cannot run another kernel; never in CI.
fn smoke(others: &Others) -> Result<()> {
    match kernel::reason_to_leave_out() {
        Some(reason) if env::var("CI").is_ok_and(|value| value == "true") => {
            bail!("the smoke must not be left out here, and {reason}")
        }
        Some(reason) => {
            println!("left out: {reason}");
            Ok(())
        }
        None => {
            let series = other_kernel::SMOKE_KERNEL.parse().map_err(anyhow::Error::msg)?;
            other_kernel::run(&series, &Extent::Smoke, &built_binary()?, others)
        }
    }
}

/// Every program that a run in another kernel calls, here or in there.
fn with_kernel_tools() -> Vec<(&'static str, &'static str)> {
    [TOOLS, &kernel::TOOLS, &DEVICE_TOOLS].concat()
}

fn build_binary(parts: &mut Parts) -> Result<()> {
    parts.run("building the binary", || {
        command::run(command::cargo().args(["build", "--release", "--package", "portmeter"]))
    })
}

/// The Debian package of the binary that was built.
fn package(parts: &mut Parts, others: &mut Others) -> Result<()> {
    parts.run("Debian package", || {
        others.extend(deb::for_tests()?.map(|package| (deb::VARIABLE, package)));
        Ok(())
    })
}

fn built_binary() -> Result<PathBuf> {
    Ok(target_folder()?.join("release/portmeter"))
}

/// Programs that the tests run and no Debian package has, each with the variable that names it.
type Others = Vec<(&'static str, PathBuf)>;

/// Installed if need be.
fn install_others(parts: &mut Parts) -> Result<Others> {
    let mut others = Others::new();
    parts.run("Xray core", || {
        others.extend(xray::core()?.map(|core| (xray::VARIABLE, core)));
        Ok(())
    })?;
    parts.run("gRPC clients", || {
        others.extend(grpc_clients::grpcurl()?.map(|grpcurl| (grpc_clients::VARIABLE, grpcurl)));
        Ok(())
    })?;
    parts.run("schemathesis", || {
        others.extend(schemathesis::program()?.map(|program| (schemathesis::VARIABLE, program)));
        Ok(())
    })?;
    parts.run("Prometheus", || {
        others.extend(prometheus::server()?.map(|server| (prometheus::VARIABLE, server)));
        Ok(())
    })?;
    Ok(others)
}

/// `cargo test`, with nothing left out where nothing has to be.
fn tests(arguments: &[&str], others: &Others) -> Result<Command> {
    let mut tests = command::cargo();
    with_others(tests.arg("test").args(arguments), others)?;
    Ok(tests)
}

/// Names the other programs to it, and asks it to leave nothing out where nothing has to be.
fn with_others<'command>(command: &'command mut Command, others: &Others) -> Result<&'command mut Command> {
    command.envs(others.iter().map(|(name, path)| (name, path)));
    if tools::is_root()? {
        command.env(REQUIRE_ROOT, "1");
    }
    Ok(command)
}

/// The build under test, and one to upgrade to: the host tests', where those ran.
fn builds() -> Result<[(&'static str, PathBuf); 2]> {
    Ok([
        ("PORTMETER_BINARY", built_binary()?),
        ("PORTMETER_OTHER_BINARY", target_folder()?.join("debug/portmeter")),
    ])
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
