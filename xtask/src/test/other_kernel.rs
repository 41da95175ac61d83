//! The tests that meet a kernel, on another one than the host's: the packet tests and the stories, or a smoke of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Others;
use crate::kernel::{self, Job, Series};
use crate::{command, workspace_root};

/// The kernel of the smoke: the oldest that Portmeter is tested on, without TCX and with the devices that other
/// kernels may lack.
pub(super) const SMOKE_KERNEL: &str = "6.1";

/// What a smoke runs: exact counts of TCP and UDP over both families through filters, and one story of each device
/// that no other run of the tests may meet.
const SMOKE: [&str; 5] = [
    "exact::tcp_bulk_on_ten_ports",
    "exact::udp_of_every_size",
    "real_devices::a_vlan_on_a_counted_parent",
    "real_devices::a_bond_of_two_cables",
    "real_devices::inside_a_wireguard_tunnel",
];

/// An emulated processor is slow; so is one that shares a machine.
const LIMIT: Duration = Duration::from_secs(60 * 60);
const SMOKE_LIMIT: Duration = Duration::from_secs(10 * 60);

/// What waits in the stories waits this many times longer.
const PATIENCE: &str = "10";

/// Which part of the tests to run.
pub(super) enum Extent<'a> {
    /// All of them.
    All,
    /// Those whose name contains this.
    Filtered(&'a str),
    /// A few that together show that it works.
    Smoke,
}

/// Runs the tests on the newest Debian kernel of a series, with the given `portmeter` and other programs.
pub(super) fn run(series: &Series, extent: &Extent<'_>, binary: &Path, others: &Others) -> Result<()> {
    let binary = path_text(binary)?;
    let others = others.iter().map(|(name, path)| Ok((*name, path_text(path)?)));
    let others = others.collect::<Result<Vec<_>>>()?;
    let environment = [
        ("PORTMETER_BINARY", binary.as_str()),
        ("PORTMETER_REQUIRE_ROOT", "1"),
        ("PORTMETER_REQUIRE_DEVICES", "1"),
        ("PORTMETER_TEST_PATIENCE", PATIENCE),
    ];
    let job = Job {
        folder: workspace_root(),
        environment: environment
            .into_iter()
            .chain(others.iter().map(|(name, path)| (*name, path.as_str())))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        commands: commands(extent, built)?,
        limit: match extent {
            Extent::Smoke => SMOKE_LIMIT,
            _ => LIMIT,
        },
    };
    kernel::run(series, &job)
}

/// What to run; `built` gives the executable of a test.
fn commands(extent: &Extent<'_>, built: impl Fn(Test) -> Result<String>) -> Result<Vec<Vec<String>>> {
    let command = |test, filter: Option<&str>| -> Result<Vec<String>> {
        let mut words = vec![built(test)?, "--color=never".to_owned()];
        words.extend(filter.map(str::to_owned));
        Ok(words)
    };
    let both = |filter| Ok(vec![command(PACKETS, filter)?, command(STORIES, filter)?]);
    match extent {
        Extent::All => both(None),
        Extent::Filtered(filter) => both(Some(filter)),
        Extent::Smoke => SMOKE.iter().map(|filter| command(STORIES, Some(filter))).collect(),
    }
}

/// A package and one of its tests.
type Test = (&'static str, &'static str);

const PACKETS: Test = ("portmeter-ebpf", "kernel");
const STORIES: Test = ("portmeter-tests", "stories");

/// Builds a test, alone as when it is run here, so that nothing is built twice; then asks cargo where it is.
fn built((package, test): Test) -> Result<String> {
    let selection = ["test", "--no-run", "--package", package, "--test", test];
    command::run(command::cargo().args(selection))?;
    let messages = command::output(command::cargo().args(selection).args([
        "--quiet",
        "--message-format",
        "json-render-diagnostics",
    ]))?;
    executable(&messages, test)
}

/// The executable of one test target, out of what cargo says when it builds.
fn executable(messages: &str, target: &str) -> Result<String> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == target && message["profile"]["test"] == true)
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .with_context(|| format!("cargo built no test {target}"))
}

fn path_text(path: &Path) -> Result<String> {
    ensure!(path.is_file(), "{} is not there", path.display());
    let path: PathBuf = path.canonicalize()?;
    path.into_os_string()
        .into_string()
        .map_err(|path| anyhow::anyhow!("the path {} is no text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_of_a_test_is_told_from_others() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"stories"},"profile":{"test":false},"executable":"/wrong"}
not json
{"reason":"compiler-artifact","target":{"name":"stories"},"profile":{"test":true},"executable":"/right"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "stories").unwrap(), "/right");
        assert!(executable(messages, "kernel").is_err());
    }

    #[test]
    fn a_smoke_is_of_stories_alone() {
        let words = |extent| commands(&extent, |(_, test)| Ok(test.to_owned())).unwrap();
        assert!(words(Extent::Smoke).iter().all(|command| command[0] == "stories"));
        let filtered = words(Extent::Filtered("x"));
        assert_eq!(
            filtered.iter().map(|command| command[0].as_str()).collect::<Vec<_>>(),
            ["kernel", "stories"]
        );
        assert!(
            filtered
                .iter()
                .all(|command| command.last().is_some_and(|last| last == "x"))
        );
        assert_eq!(words(Extent::All)[1].len(), 2);
    }
}
