//! A real Prometheus on a host of the lab's, with promtool and Prometheus's own parser of OpenMetrics beside it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::wait::patient;
use crate::{command, needs, wait};

const ADDRESS: &str = "127.0.0.1:9090";

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the rules, the dashboard and the scrape configuration are.
pub fn monitoring_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring")
}

/// A running Prometheus; ended when dropped.
#[derive(Debug)]
pub struct Prometheus<'lab> {
    host: &'lab Namespace,
    folder: TempDir,
    process: Child,
    client: ureq::Agent,
}

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The labels, `__name__` included.
    pub labels: BTreeMap<String, String>,
    /// Unix seconds and figures; one where a moment was asked for.
    pub points: Vec<(f64, f64)>,
}

impl Row {
    /// The last figure.
    pub fn value(&self) -> Result<f64> {
        let last = self.points.last().context("a row without a point")?;
        Ok(last.1)
    }
}

impl<'lab> Prometheus<'lab> {
    /// Starts one on `host` that scrapes `targets`, pairs of job and address, every second, and evaluates the rules as
    /// often; waits until it has scraped all of them.
    pub fn start(host: &'lab Namespace, targets: &[(&str, &str)]) -> Result<Self> {
        let server = needs::prometheus()?;
        let folder = tempfile::tempdir()?;
        let configuration = folder.path().join("prometheus.yml");
        fs::write(&configuration, configured(targets))?;
        let log = File::create(folder.path().join("log"))?;
        let mut run = Command::new(server);
        run.arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={ADDRESS}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patient(ANSWER_TIMEOUT)))
            // Each call enters the namespace anew.
            .max_idle_connections(0);
        let prometheus = Self {
            host,
            process: host.spawn(&mut run).context("starting Prometheus")?,
            folder,
            client: config.build().new_agent(),
        };
        let is_scraped = || {
            Ok(prometheus
                .query("up == 1")
                .is_ok_and(|rows| rows.len() == targets.len()))
        };
        wait::until("Prometheus has scraped everything", is_scraped)
            .with_context(|| fs::read_to_string(prometheus.folder.path().join("log")).unwrap_or_default())?;
        Ok(prometheus)
    }

    /// What an expression gives at this moment.
    pub fn query(&self, expression: &str) -> Result<Vec<Row>> {
        self.ask(&format!("query={}", encoded(expression)))
    }

    /// What it gives at another moment, in unix seconds.
    pub fn query_at(&self, expression: &str, seconds: f64) -> Result<Vec<Row>> {
        self.ask(&format!("query={}&time={seconds:.3}", encoded(expression)))
    }

    /// The only row that an expression gives at this moment, or at another one.
    pub fn one(&self, expression: &str, seconds: Option<f64>) -> Result<Row> {
        let mut rows = match seconds {
            Some(seconds) => self.query_at(expression, seconds)?,
            None => self.query(expression)?,
        };
        ensure!(rows.len() == 1, "{expression} gives {rows:?}");
        Ok(rows.remove(0))
    }

    /// The rules as it has loaded them.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let groups = self.data("/api/v1/rules")?["groups"].take();
        let groups = groups.as_array().context("no groups of rules")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array());
        Ok(rules.flatten().cloned().collect())
    }

    /// How it fares with its targets.
    pub fn targets(&self) -> Result<Vec<Value>> {
        let targets = self.data("/api/v1/targets")?["activeTargets"].take();
        Ok(targets.as_array().context("no targets")?.clone())
    }

    fn ask(&self, query: &str) -> Result<Vec<Row>> {
        let data = self.data(&format!("/api/v1/query?{query}"))?;
        let rows = data["result"].as_array().context("no result")?;
        rows.iter().map(row).collect()
    }

    fn data(&self, path: &str) -> Result<Value> {
        let url = format!("http://{ADDRESS}{path}");
        let mut response = self
            .host
            .enter(|| self.client.get(&url).call())
            .with_context(|| format!("GET {url}"))?;
        let mut answer: Value = response.body_mut().read_json()?;
        ensure!(answer["status"] == "success", "GET {url}: {answer}");
        Ok(answer["data"].take())
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        let _ = command::signal(&self.process, Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

/// What promtool says of `words`, run in `folder` with `input`; fails when it finds anything.
pub fn promtool(words: &[&str], folder: &Path, input: &str) -> Result<String> {
    let promtool = needs::prometheus()?.with_file_name("promtool");
    filter(Command::new(promtool).args(words).current_dir(folder), input)
}

/// An OpenMetrics page, read by the strict parser of Prometheus's Python client and written by it as classic text.
pub fn as_classic_text(page: &str) -> Result<String> {
    const SCRIPT: &str = "\
import sys
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(sys.stdin.read()))

class Page:
    def collect(self):
        return families

registry = CollectorRegistry()
registry.register(Page())
sys.stdout.write(generate_latest(registry).decode())
";
    let python = needs::prometheus()?.with_file_name("python3");
    filter(Command::new(python).args(["-c", SCRIPT]), page)
}

/// What a program makes of `input`; fails when the program does.
fn filter(program: &mut Command, input: &str) -> Result<String> {
    let mut process = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program:?}"))?;
    let mut stdin = process.stdin.take().context("the program's input")?;
    let output = std::thread::scope(|scope| {
        // A program that ends early has no use for the rest.
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        process.wait_with_output()
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!(
            "{program:?}: {} {}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
    }
    Ok(text(&output.stdout) + &text(&output.stderr))
}

/// A configuration for tests: everything each second.
fn configured(targets: &[(&str, &str)]) -> String {
    let rules = monitoring_folder().join("rules.yml");
    let mut text = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\nrule_files:\n  - {}\nscrape_configs:\n",
        rules.display()
    );
    for (job, address) in targets {
        text += &format!("  - job_name: {job}\n    static_configs:\n      - targets: [\"{address}\"]\n");
    }
    text
}

fn encoded(expression: &str) -> String {
    utf8_percent_encode(expression, NON_ALPHANUMERIC).to_string()
}

/// A row of a vector has one `value`, one of a matrix `values`.
fn row(row: &Value) -> Result<Row> {
    let point = |point: &Value| {
        let figure = point[1].as_str().and_then(|text| text.parse().ok());
        Some((point[0].as_f64()?, figure?))
    };
    let points = match row["values"].as_array() {
        Some(values) => values.iter().map(point).collect::<Option<Vec<_>>>(),
        None => point(&row["value"]).map(|one| vec![one]),
    };
    let labels = row["metric"].as_object().into_iter().flatten();
    let labels = labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    Ok(Row {
        labels: labels.collect(),
        points: points.with_context(|| format!("no points in {row}"))?,
    })
}
