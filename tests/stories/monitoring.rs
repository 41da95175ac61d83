//! A real Prometheus, and what is shipped for it: rules, a dashboard, a scrape configuration.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::sys::{Stats, enable_stats};
use portmeter_tests::agent::{self, API_KEY, Agent, GRPC_ADDRESS};
use portmeter_tests::metrics::{METRICS_ADDRESS, PROMETHEUS_ACCEPTS, Scrape};
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::prometheus::{Prometheus, as_classic_text, monitoring_folder, promtool};
use portmeter_tests::rest::Rest;
use portmeter_tests::traffic::steady::{Sent, Steady};
use portmeter_tests::xray::{Site, Supervised};
use portmeter_tests::{needs, wait};
use serde_json::Value;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    (
        "promtool_has_nothing_to_say_of_either_format",
        promtool_has_nothing_to_say_of_either_format,
    ),
    ("the_rules_pass_their_tests", the_rules_pass_their_tests),
    (
        "prometheus_shows_the_rates_that_the_traffic_had",
        prometheus_shows_the_rates_that_the_traffic_had,
    ),
    ("every_expression_has_an_answer", every_expression_has_an_answer),
];

/// Where a gateway of its own listens, and where it tells its metrics.
const APART: &str = "127.0.0.1:8001";
const APART_METRICS: &str = "127.0.0.1:9437";

/// promtool reads the classic format alone; OpenMetrics goes through Prometheus's strict parser first.
fn promtool_has_nothing_to_say_of_either_format() -> Result<()> {
    needs::prometheus()?;
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    agent.grpc()?.keys()?;
    agent.rest().get("/api/nothing")?;
    let _gateway = Gateway::start(&agent)?;
    let folder = monitoring_folder();
    for address in [METRICS_ADDRESS, APART_METRICS] {
        let classic = Scrape::at(&pair.server, address, "*/*")?;
        let said = promtool(&["check", "metrics"], &folder, &classic.text)?;
        ensure!(said.trim().is_empty(), "{address}: {said}");

        let open_metrics = Scrape::at(&pair.server, address, PROMETHEUS_ACCEPTS)?;
        let rewritten = as_classic_text(&open_metrics.text).with_context(|| open_metrics.text.clone())?;
        let said = promtool(&["check", "metrics"], &folder, &rewritten)?;
        ensure!(said.trim().is_empty(), "{address}: {said}");
        for key in keys.iter().filter(|_| address == METRICS_ADDRESS) {
            let row = format!("portmeter_port_connections{{port=\"{}\"}}", key.port);
            ensure!(rewritten.contains(&row), "{row} is lost in\n{rewritten}");
        }
    }
    // Each process tells the requests that it has answered.
    let of_gateway = Scrape::at(&pair.server, APART_METRICS, "*/*")?;
    ensure!(
        of_gateway.rows("portmeter_port_connections").is_empty(),
        "{}",
        of_gateway.text
    );
    let asked = r#"portmeter_rest_requests_total{method="GET",route="/readyz",status="2xx"}"#;
    ensure!(of_gateway.value(asked)? > 0, "{}", of_gateway.text);
    let called = r#"portmeter_grpc_requests_total{method="portmeter.v1.SystemService/GetState",code="OK"}"#;
    let of_agent = Scrape::of(&pair.server, "*/*")?;
    ensure!(of_agent.value(called)? > 0, "{}", of_agent.text);
    Ok(())
}

fn the_rules_pass_their_tests() -> Result<()> {
    let folder = monitoring_folder();
    for words in [
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
        ["check", "config", "prometheus.yml"],
    ] {
        let said = promtool(&words, &folder, "")?;
        ensure!(said.contains("SUCCESS"), "{words:?}: {said}");
    }
    // Every alert is tried: it fires where it should, and the healthy host is one where it does not.
    let (rules, tests) = (
        fs::read_to_string(folder.join("rules.yml"))?,
        fs::read_to_string(folder.join("rules_test.yml"))?,
    );
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        let fires = format!("        alertname: {alert}\n        exp_alerts:\n          - exp_labels:");
        let rests = format!("- {{eval_time: 80m, alertname: {alert}, exp_alerts: []}}");
        ensure!(tests.contains(&fires) && tests.contains(&rests), "{alert} is not tried");
    }
    Ok(())
}

/// What Prometheus makes of its samples is compared with what was sent and when, as the senders noted it.
fn prometheus_shows_the_rates_that_the_traffic_had() -> Result<()> {
    /// Seconds over which rates are taken, and the error that they may have.
    const WINDOW: f64 = 10.0;
    const ERROR_MAX: f64 = 0.01;
    needs::prometheus()?;
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    let prometheus = Prometheus::start(&pair.server, &[("portmeter", METRICS_ADDRESS)])?;
    let flows = [(1_000, 2), (250, 5), (60, 3)].into_iter().zip(&keys);
    let flows = flows.map(|((payload_bytes, milliseconds), key)| {
        let (address, interval) = (
            SocketAddr::new(SERVER_V4.into(), key.port),
            Duration::from_millis(milliseconds),
        );
        let steady = Steady::start(&pair.server, &pair.client, address, payload_bytes, interval)?;
        Ok((key, steady))
    });
    let flows = flows.collect::<Result<Vec<_>>>()?;
    let began_at = flows.iter().map(|(_, steady)| steady.began_at()).fold(0.0, f64::max);
    // The moment of a sample: the window before it lies within the traffic, and holds only whole seconds of it.
    let metric = "portmeter_port_receive_bytes_total";
    let newest = || -> Result<f64> {
        let row = prometheus.one(&format!("max(timestamp({metric}))"), None)?;
        row.value()
    };
    wait::until("Prometheus has a window of samples", || {
        Ok(newest()? > began_at + WINDOW + 2.0)
    })?;
    let moment = newest()?;
    let mut shown = Vec::new();
    for (key, _) in &flows {
        let port = format!("port=\"{}\"", key.port);
        for (whose, labels) in [("port", port), ("key", format!("key=\"{}\"", key.id))] {
            for way in ["receive", "transmit"] {
                for unit in ["bytes", "packets"] {
                    let series = format!("portmeter_{whose}_{way}_{unit}_total{{{labels}}}[{WINDOW}s]");
                    let rate = prometheus.one(&format!("rate({series})"), Some(moment))?.value()?;
                    let samples = prometheus.one(&series, Some(moment))?;
                    shown.push((key.port, whose, way, unit, rate, samples.points));
                }
            }
        }
    }
    let mut sent = Vec::new();
    for (key, steady) in flows {
        sent.push((key, steady.stop()?));
    }
    for (port, whose, way, unit, rate, points) in shown {
        let (_, (received, transmitted)) = sent.iter().find(|(key, _)| key.port == port).context("a flow")?;
        let truth: &Sent = if way == "receive" { received } else { transmitted };
        ensure!(points.len() >= 9, "{} samples in {WINDOW} s", points.len());
        let (first, last) = (points[0].0, points[points.len() - 1].0);
        let datagrams = truth.datagrams_per_second(first, last);
        let expected = if unit == "bytes" {
            datagrams * truth.datagram_bytes as f64
        } else {
            datagrams
        };
        let error = (rate - expected).abs() / expected;
        println!(
            "{whose} {port} {way} {unit}: {rate:.1} a second shown, {expected:.1} sent, off by {:.3} %",
            error * 100.0
        );
        ensure!(
            error <= ERROR_MAX,
            "{whose} {port}, {way} {unit}: {rate} a second shown, {expected} sent"
        );
    }
    // In the end it has every byte, to the last.
    for (key, (received, transmitted)) in &sent {
        let total = |whose: &str, label: &str, way: &str| -> Result<f64> {
            let series = format!("portmeter_{whose}_{way}_bytes_total{{{label}}}");
            prometheus.one(&series, None)?.value()
        };
        let (port, id) = (format!("port=\"{}\"", key.port), format!("key=\"{}\"", key.id));
        let expected = [received.bytes() as f64, transmitted.bytes() as f64];
        wait::until("Prometheus has all bytes", || {
            let of = |whose: &str, label: &str| -> Result<[f64; 2]> {
                Ok([total(whose, label, "receive")?, total(whose, label, "transmit")?])
            };
            Ok(of("port", &port)? == expected && of("key", &id)? == expected)
        })?;
    }
    Ok(())
}

/// Of the dashboard and of the rules: an expression that names what does not exist gives nothing, and nobody notices.
fn every_expression_has_an_answer() -> Result<()> {
    needs::prometheus()?;
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    // For as long as this is held the kernel notes when programs run.
    let _statistics = enable_stats(Stats::RunTime).context("the kernel's statistics of programs")?;
    let agent = Supervised::started(&pair.server, &site)?;
    let keys = agent.rest().create_keys(2)?;
    let _gateway = Gateway::start(&agent)?;
    let apart = Rest::new(&pair.server, APART, API_KEY);
    let targets = [("portmeter", METRICS_ADDRESS), ("portmeter-gateway", APART_METRICS)];
    let prometheus = Prometheus::start(&pair.server, &targets)?;
    for target in prometheus.targets()? {
        ensure!(target["health"] == "up" && target["lastError"] == "", "{target}");
    }
    // Over UDP, so that the core and whoever answers do not come in each other's way; to a key's port, and to one without.
    let ports = [keys[0].port, keys[1].port + 1];
    let flows = ports.map(|port| {
        let address = SocketAddr::new(SERVER_V4.into(), port);
        Steady::start(&pair.server, &pair.client, address, 500, Duration::from_millis(5))
    });
    let use_it = || -> Result<()> {
        for rest in [&apart, agent.rest()] {
            rest.keys()?;
            rest.get("/api/nothing")?;
        }
        agent.grpc()?.keys()?;
        Ok(())
    };

    let mut unanswered: BTreeSet<String> = dashboard_expressions()?.into_iter().collect();
    unanswered.extend(documented_expressions());
    ensure!(unanswered.len() > 40, "{unanswered:?}");
    let rules = prometheus.rules()?;
    let (alerts, records): (Vec<&Value>, Vec<&Value>) = rules.iter().partition(|rule| rule["type"] == "alerting");
    ensure!(alerts.len() >= 20 && records.len() >= 9, "{rules:?}");
    for rule in &records {
        unanswered.insert(text(&rule["query"])?);
        unanswered.insert(text(&rule["name"])?);
    }
    // An alert gives nothing on a healthy host, but everything that it looks at is there.
    for rule in &alerts {
        unanswered.extend(selectors(&text(&rule["query"])?));
    }
    wait::until("every expression has an answer", || {
        use_it()?;
        let still: Result<Vec<String>> = unanswered
            .iter()
            .filter_map(|expression| match prometheus.query(expression) {
                Ok(rows) if rows.is_empty() => Some(Ok(expression.clone())),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .collect();
        unanswered = still?.into_iter().collect();
        Ok(unanswered.is_empty())
    })
    .with_context(|| format!("without an answer: {unanswered:#?}"))?;
    for steady in flows {
        steady?.stop()?;
    }

    // Evaluated all the while by Prometheus itself: none has failed, and nothing is wrong with this host.
    for rule in prometheus.rules()? {
        ensure!(rule["health"] == "ok", "{rule}");
        let is_quiet = rule["type"] != "alerting" || rule["state"] == "inactive";
        ensure!(is_quiet, "an alert on a healthy host: {rule}");
    }
    let unknown: Vec<String> = unknown_names(&pair.server)?;
    ensure!(unknown.is_empty(), "{unknown:?} are told nowhere");
    Ok(())
}

/// Names that stand in the dashboard or the rules and on neither page.
fn unknown_names(host: &Namespace) -> Result<Vec<String>> {
    let pages = [METRICS_ADDRESS, APART_METRICS].map(|address| Scrape::at(host, address, "*/*"));
    let mut known = BTreeSet::new();
    for page in pages {
        for (name, kind) in page?.types() {
            known.insert(name.to_owned());
            if kind == "histogram" {
                known.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
            }
        }
    }
    let folder = monitoring_folder();
    let mut unknown = Vec::new();
    for file in ["rules.yml", "rules_test.yml", "dashboard.json"] {
        let text = fs::read_to_string(folder.join(file))?;
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':');
        let names = words.filter(|word| word.starts_with("portmeter_") || word.starts_with("process_"));
        unknown.extend(names.filter(|name| !known.contains(*name)).map(str::to_owned));
    }
    Ok(unknown)
}

/// Every expression of the dashboard, with what Grafana puts in for its variables.
fn dashboard_expressions() -> Result<Vec<String>> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(monitoring_folder().join("dashboard.json"))?)?;
    let panels = dashboard["panels"].as_array().context("a dashboard without panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let variables = [
        ("$__rate_interval", "10s"),
        ("$__range", "30s"),
        ("$job", "portmeter.*"),
        ("$instance", ".*"),
    ];
    let expression = |target: &Value| {
        let written = text(&target["expr"])?;
        let filled = variables
            .iter()
            .fold(written, |text, (name, value)| text.replace(name, value));
        ensure!(!filled.contains('$'), "a variable that nobody fills: {filled}");
        Ok(filled)
    };
    targets.map(expression).collect()
}

/// The examples of docs/monitoring.md.
fn documented_expressions() -> Vec<String> {
    let text = include_str!("../../docs/monitoring.md");
    let blocks = text
        .split("```promql\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let examples = blocks.flat_map(|block| block.split("\n\n"));
    let without_comments = |example: &str| {
        let lines = example.lines().filter(|line| !line.starts_with('#'));
        lines.collect::<Vec<_>>().join(" ")
    };
    examples.map(without_comments).collect()
}

/// Every `name` and `name{…}` of an expression that is a series.
fn selectors(expression: &str) -> Vec<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_part) {
        let after = &rest[start..];
        let end = after.find(|letter| !is_part(letter)).unwrap_or(after.len());
        let (name, behind) = after.split_at(end);
        let (labels, behind) = match behind.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            Some((inside, behind)) => (format!("{{{inside}}}"), behind),
            None => (String::new(), behind),
        };
        let begins = ["portmeter_", "process_", "instance:"];
        if name == "up" || begins.iter().any(|begin| name.starts_with(begin)) {
            found.push(format!("{name}{labels}"));
        }
        rest = behind;
    }
    found
}

fn text(value: &Value) -> Result<String> {
    let text = value.as_str().with_context(|| format!("{value} is no text"))?;
    Ok(text.to_owned())
}

/// `portmeter gateway` that tells its metrics, ended when dropped.
struct Gateway(Child);

impl Gateway {
    fn start(agent: &Agent<'_>) -> Result<Self> {
        let mut command = Command::new(agent::binary().context("the binary")?);
        command.args([
            "gateway",
            "--agent",
            GRPC_ADDRESS,
            "--http",
            APART,
            "--metrics",
            APART_METRICS,
        ]);
        command
            .env("PORTMETER_API_KEY", API_KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let gateway = Self(agent.host().spawn(&mut command)?);
        let apart = Rest::new(agent.host(), APART, API_KEY);
        wait::until("the gateway is ready", || Ok(apart.is_ready()))?;
        Ok(gateway)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
