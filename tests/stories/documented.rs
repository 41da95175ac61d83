//! What is written about the REST interface is true: the OpenAPI document, and the page of examples.
//!
//! schemathesis, which knows nothing but the document, asks a real agent. It makes requests that the document allows and
//! such that it does not, and holds every answer against it: statuses, content types, every field. `cargo xtask
//! schemathesis` is the same for as long as one likes.

use std::env;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::{API_KEY, Agent, REST_ADDRESS};
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::traffic::udp;
use portmeter_tests::{needs, page};
use serde_json::Value;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("the_page_about_rest", the_page_about_rest),
    (
        "schemathesis_finds_the_document_true",
        schemathesis_finds_the_document_true,
    ),
];

/// The page whose commands are run as they stand.
const PAGE: &str = include_str!("../../docs/rest.md");

/// How schemathesis asks.
const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemathesis/schemathesis.toml");

/// Says how many cases each phase makes for each operation.
const CASES_VARIABLE: &str = "PORTMETER_SCHEMATHESIS_CASES";

/// How many there are where nobody says, and the fewest requests that makes: fewer would mean that something was left
/// out.
const CASES: &str = "10";
const REQUESTS_MIN: u64 = 1_500;

/// The same seed everywhere, so that what is found once is found again.
const SEED: &str = "20250805";

/// Every command of the page, in one shell as a reader would type them. No answer is without what the command looks for.
fn the_page_about_rest() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    fs::write(agent.data_folder().join("api.key"), API_KEY)?;
    let said = page::run_in_one_shell(&agent, &page::blocks(PAGE, "sh"), agent.home(), None)?.concat();
    ensure!(
        !said.lines().any(|line| line == "null"),
        "an example finds nothing:\n{said}"
    );
    for expected in [
        "3.1.0",
        "/api/keys/{key_id}",
        "customer",
        "vless://",
        "Traffic stats reset successfully",
        "Invalid API key. Use X-API-Key header with the correct key.",
        "Key not found",
        r#""code":400"#,
        "Key deleted successfully",
    ] {
        ensure!(said.contains(expected), "no {expected} in\n{said}");
    }
    Ok(())
}

fn schemathesis_finds_the_document_true() -> Result<()> {
    let schemathesis = needs::schemathesis()?;
    let pair = Pair::new()?;
    // Room for every key that is asked for.
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_CAPTURE__PORTS", "10001-14000");
    agent.start()?;
    for key in agent.rest().create_keys(3)? {
        let address = (SERVER_V4, key.port).into();
        udp::echoed(&pair.server, &pair.client, address, &[1_000])?;
    }
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let report = folder.path().join("report.json");
    let mut run = command_line(&schemathesis, &report);
    run.env("PORTMETER_SUBSCRIPTION_TOKEN", token(&agent)?);
    run.current_dir(folder.path())
        .stdout(File::create(&log)?)
        .stderr(File::create(folder.path().join("errors"))?);
    let status = pair.server.spawn(&mut run).context("starting schemathesis")?.wait()?;
    let said = fs::read_to_string(&log)?;
    ensure!(status.success(), "schemathesis ended with {status}:\n{said}");
    ensure!(agent.rest().is_ready(), "the agent is no longer ready");
    let requests = requests(&report)?;
    println!("schemathesis: {requests} requests");
    ensure!(
        env::var_os(CASES_VARIABLE).is_some() || requests >= REQUESTS_MIN,
        "only {requests} requests:\n{said}"
    );
    Ok(())
}

/// The subscription token of a key that there is.
fn token(agent: &Agent<'_>) -> Result<String> {
    let key = agent.rest().create_key("subscriber")?;
    let shown = agent.rest().shown(&format!("/api/keys/{}/config", key.id))?;
    let path = shown["subscription_path"]
        .as_str()
        .and_then(|path| path.strip_prefix("/sub/"));
    Ok(path.with_context(|| format!("no subscription in {shown}"))?.to_owned())
}

/// How many requests were made, as schemathesis counts them.
fn requests(report: &Path) -> Result<u64> {
    let report: Value = serde_json::from_slice(&fs::read(report)?)?;
    ensure!(
        report["complete"] == true,
        "the run was broken off: {}",
        report["stop_reason"]
    );
    report["test_cases"]["generated"]
        .as_u64()
        .context("no count of cases in the report")
}

/// `interpreter` has schemathesis.
fn command_line(interpreter: &Path, report: &Path) -> Command {
    let cases = env::var(CASES_VARIABLE).unwrap_or_else(|_| CASES.to_owned());
    let mut command = Command::new(interpreter);
    command
        .args(["-m", "schemathesis.cli"])
        .args(["--config-file", SETTINGS, "run"])
        .arg(format!("http://{REST_ADDRESS}/api/openapi.json"))
        .args(["--checks", "all", "--max-examples", &cases, "--seed", SEED])
        .args(["--no-color", "--generation-database", "none"])
        .arg("--report-json-path")
        .arg(report)
        .env("PORTMETER_API_KEY", API_KEY);
    command
}
