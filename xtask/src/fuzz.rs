//! `cargo xtask fuzz`: fuzzes what reads strangers' bytes, on this machine (libFuzzer, by way of cargo-fuzz): the packet
//! parser and the REST routes.
//!
//! No nightly compiler is needed: without a sanitizer, which code without `unsafe` has no use for, cargo-fuzz asks for
//! nothing that the project's compiler does not have. A C++ compiler is, for libFuzzer itself.
//!
//! What a run finds worth keeping goes to `target/fuzz`, never into the committed corpus by itself: `--keep` brings the
//! smallest set of inputs there that reaches all that is reached.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{command, tools, workspace_root};

const CARGO_FUZZ_VERSION: &str = "0.13.2";
const WORK_FOLDER: &str = "target/fuzz";

/// The requests that the routes' fuzzer starts from.
const CONTRACT: &str = "gateway/tests/contract/routes.json";

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to fuzz; everything when it is left out
    #[arg(long)]
    target: Option<Target>,
    /// How many inputs to try of each
    #[arg(long, default_value_t = 500_000)]
    runs: u64,
    /// Afterwards make the committed corpus the smallest one that reaches all that was reached
    #[arg(long)]
    keep: bool,
}

/// What is fuzzed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Target {
    /// The packet parser
    Parser,
    /// The REST routes
    Router,
}

impl Target {
    /// The name of the program, and of the folders of its inputs.
    fn name(self) -> &'static str {
        match self {
            Self::Parser => "parser",
            Self::Router => "router",
        }
    }

    /// The workspace that it is built in.
    fn folder(self) -> &'static str {
        match self {
            Self::Parser => "agent-ebpf/fuzz",
            Self::Router => "gateway/fuzz",
        }
    }

    /// The committed corpus, replayed by an ordinary test.
    fn corpus(self) -> String {
        format!("{}/corpus/{}", self.folder(), self.name())
    }

    /// Inputs that once broke a rule, kept by hand under the name of what they showed.
    fn regressions(self) -> String {
        format!("{}/regressions/{}", self.folder(), self.name())
    }

    /// Where this target's runs keep what they find.
    fn work_folder(self) -> String {
        format!("{WORK_FOLDER}/{}", self.name())
    }

    /// Longest input: room for a long chain of extension headers or eight short packets; for a long address and a body.
    fn input_bytes_max(self) -> u32 {
        match self {
            Self::Parser => 1_024,
            Self::Router => 2_048,
        }
    }

    fn write_seeds(self, folder: &Path) -> Result<()> {
        match self {
            Self::Parser => write_packets(folder),
            Self::Router => write_requests(folder),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let cargo_fuzz = tools::cargo_program("cargo-fuzz", CARGO_FUZZ_VERSION)?;
    let targets = match arguments.target {
        Some(target) => vec![target],
        None => vec![Target::Parser, Target::Router],
    };
    for target in targets {
        run_target(&cargo_fuzz, target, arguments)?;
    }
    Ok(())
}

fn run_target(cargo_fuzz: &Path, target: Target, arguments: &Arguments) -> Result<()> {
    let seeds = folder(&format!("{}/seeds", target.work_folder()))?;
    target.write_seeds(&seeds)?;
    let found = folder(&format!("{}/corpus", target.work_folder()))?;
    let corpora = [found, folder(&target.corpus())?, folder(&target.regressions())?, seeds];
    fuzz(cargo_fuzz, target, &corpora, &[format!("-runs={}", arguments.runs)])?;
    if arguments.keep {
        keep(cargo_fuzz, target, &corpora)?;
    }
    Ok(())
}

/// Replaces the committed corpus by what libFuzzer picks from all of them.
fn keep(cargo_fuzz: &Path, target: Target, corpora: &[PathBuf]) -> Result<()> {
    let merged = empty_folder(&format!("{}/merged", target.work_folder()))?;
    let into_merged: Vec<_> = [merged.clone()].into_iter().chain(corpora.to_vec()).collect();
    // Without counters an input has to reach another branch to be kept, not one more often: hundreds instead of thousands.
    fuzz(
        cargo_fuzz,
        target,
        &into_merged,
        &["-merge=1".to_owned(), "-use_counters=0".to_owned()],
    )?;

    let committed = empty_folder(&target.corpus())?;
    for entry in fs::read_dir(&merged)? {
        let entry = entry?;
        fs::copy(entry.path(), committed.join(entry.file_name())).context("keeping an input")?;
    }
    println!("{}: {} inputs", target.corpus(), fs::read_dir(&committed)?.count());
    Ok(())
}

/// Runs the target. libFuzzer writes to the first corpus and reads all of them.
fn fuzz(cargo_fuzz: &Path, target: Target, corpora: &[PathBuf], options: &[String]) -> Result<()> {
    let folder = target.folder();
    command::run(
        Command::new(cargo_fuzz)
            .current_dir(workspace_root())
            .args(["fuzz", "run", "--fuzz-dir", folder, "--target-dir", WORK_FOLDER])
            .args(["--sanitizer", "none", target.name()])
            .args(corpora)
            .arg("--")
            .arg(format!("-max_len={}", target.input_bytes_max()))
            .args(options),
    )
    .with_context(|| {
        let name = target.name();
        format!("an input broke a rule, or the target does not build; the input is in {folder}/artifacts/{name}")
    })
}

fn write_packets(folder: &Path) -> Result<()> {
    command::run(
        command::cargo()
            .args([
                "run",
                "--quiet",
                "--package",
                "portmeter-ebpf",
                "--example",
                "fuzz_seeds",
                "--",
            ])
            .arg(folder),
    )
    .context("writing what the fuzzer starts from")
}

/// A request of every route of the contract, and every bad one that it names, as the target reads them.
fn write_requests(folder: &Path) -> Result<()> {
    let contract = fs::read(workspace_root().join(CONTRACT)).with_context(|| format!("reading {CONTRACT}"))?;
    let contract: Value = serde_json::from_slice(&contract)?;
    let routes = contract["routes"].as_array().context("the contract has no routes")?;
    for (number, request) in routes.iter().flat_map(requests).enumerate() {
        fs::write(folder.join(format!("{number:04}")), request).context("writing a request")?;
    }
    Ok(())
}

/// The requests that the contract knows of a route.
fn requests(route: &Value) -> Vec<String> {
    let method = match route["method"].as_str().unwrap_or_default() {
        "ANY" => "GET",
        method => method,
    };
    let path = route["path"].as_str().unwrap_or_default();
    let path = path
        .replace("{key_id}", "00000001-0000-4000-8000-00000000000a")
        .replace("{date}", "2025-08-05")
        .replace("{token}", "00000001000000000000000000000000")
        .replace("{file}", "20250805_115900__create__config.json")
        .replace("{*rest}", "any/thing");
    let query = route["query"].as_str().unwrap_or_default();
    let body = match &route["body"] {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let texts = |bad: &'static str| {
        let lists = route[bad].as_object().into_iter().flat_map(|lists| lists.values());
        let texts = lists.filter_map(Value::as_array).flatten();
        texts.filter_map(Value::as_str).collect::<Vec<_>>()
    };
    let mut requests = vec![format!("{method} {path}?{query}\n\n{body}")];
    requests.extend(
        texts("bad_queries")
            .iter()
            .map(|query| format!("{method} {path}?{query}\n\n{body}")),
    );
    requests.extend(
        texts("bad_bodies")
            .iter()
            .map(|body| format!("{method} {path}\n\n{body}")),
    );
    requests
}

fn folder(path: &str) -> Result<PathBuf> {
    let folder = workspace_root().join(path);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

fn empty_folder(path: &str) -> Result<PathBuf> {
    let emptied = folder(path)?;
    fs::remove_dir_all(&emptied).with_context(|| format!("emptying {}", emptied.display()))?;
    folder(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_gives_its_good_request_and_each_bad_one() {
        let route = json!({
            "method": "PUT", "path": "/api/keys/{key_id}/cycle", "query": "", "body": {"rule": "daily"},
            "bad_bodies": {"rule": ["{}", "{"]}, "bad_queries": {"limit": ["limit=0"]},
        });
        let path = "/api/keys/00000001-0000-4000-8000-00000000000a/cycle";
        assert_eq!(
            requests(&route),
            [
                format!("PUT {path}?\n\n{{\"rule\":\"daily\"}}"),
                format!("PUT {path}?limit=0\n\n{{\"rule\":\"daily\"}}"),
                format!("PUT {path}\n\n{{}}"),
                format!("PUT {path}\n\n{{"),
            ]
        );
    }
}
