//! The product's Prometheus face, scraped from inside the agent's namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::count::{Connections, Count, Counts};
use crate::namespace::Namespace;

/// Where metrics are served when nothing else is said.
pub const METRICS_ADDRESS: &str = "127.0.0.1:9435";

/// What Prometheus 3 asks for.
pub const PROMETHEUS_ACCEPTS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                                      text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;\
                                      q=0.2,*/*;q=0.1";

/// How long a scrape may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// The answer's `Content-Type`.
    pub content_type: String,
    /// The answer's body.
    pub text: String,
    /// What a line says, as it is written, by its metric with its labels.
    pub samples: BTreeMap<String, String>,
}

impl Scrape {
    /// Scrapes the agent on `host`, as a client that accepts `accept`.
    pub fn of(host: &Namespace, accept: &str) -> Result<Self> {
        Self::at(host, METRICS_ADDRESS, accept)
    }

    /// Scrapes whoever listens at `address` on `host`.
    pub fn at(host: &Namespace, address: &str, accept: &str) -> Result<Self> {
        let (status, content_type, text) = get_at(host, address, "/metrics", accept)?;
        ensure!(status == 200, "status {status}: {text}");
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(sample)
            .collect::<Result<_>>()?;
        Ok(Self {
            content_type,
            text,
            samples,
        })
    }

    /// What one line says, a whole number.
    pub fn value(&self, line: &str) -> Result<u64> {
        let text = self.written(line)?;
        text.parse()
            .with_context(|| format!("no whole number in {line} {text}"))
    }

    /// What one line says.
    pub fn real(&self, line: &str) -> Result<f64> {
        let text = self.written(line)?;
        text.parse().with_context(|| format!("no number in {line} {text}"))
    }

    fn written(&self, line: &str) -> Result<&str> {
        let text = self.samples.get(line).map(String::as_str);
        text.with_context(|| format!("no {line} in\n{}", self.text))
    }

    /// The lines of `metric`, with their labels.
    pub fn rows(&self, metric: &str) -> Vec<&str> {
        let is_of = |line: &&str| {
            line.strip_prefix(metric)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        self.samples.keys().map(String::as_str).filter(is_of).collect()
    }

    /// The type of each family, by the name that its comment has.
    pub fn types(&self) -> BTreeMap<&str, &str> {
        let families = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        families.filter_map(|family| family.split_once(' ')).collect()
    }

    /// Every series, without what it says.
    pub fn series(&self) -> BTreeSet<&str> {
        self.samples.keys().map(String::as_str).collect()
    }

    /// The ports that have a row of `metric`.
    pub fn ports(&self, metric: &str) -> Vec<u16> {
        let prefix = format!("{metric}{{port=\"");
        let mut ports: Vec<u16> = self
            .samples
            .keys()
            .filter_map(|line| line.strip_prefix(&prefix)?.strip_suffix("\"}")?.parse().ok())
            .collect();
        ports.sort_unstable();
        ports
    }

    /// The traffic of `ports`.
    pub fn counts(&self, ports: &[u16]) -> Result<Counts> {
        let count = |port: u16| self.count("port", &format!("port=\"{port}\""));
        ports.iter().map(|&port| Ok((port, count(port)?))).collect()
    }

    /// The traffic of one key in its life.
    pub fn count_of_key(&self, key_id: &str) -> Result<Count> {
        self.count("key", &format!("key=\"{key_id}\""))
    }

    /// The connections of one port.
    pub fn connections(&self, port: u16) -> Result<Connections> {
        self.connections_of("port", &format!("port=\"{port}\""))
    }

    /// The connections of one key.
    pub fn connections_of_key(&self, key_id: &str) -> Result<Connections> {
        self.connections_of("key", &format!("key=\"{key_id}\""))
    }

    fn connections_of(&self, whose: &str, label: &str) -> Result<Connections> {
        Ok(Connections {
            active: self.value(&format!("portmeter_{whose}_connections{{{label}}}"))?,
            opened: self.value(&format!("portmeter_{whose}_connections_opened_total{{{label}}}"))?,
        })
    }

    fn count(&self, whose: &str, label: &str) -> Result<Count> {
        let figure = |what: &str| self.value(&format!("portmeter_{whose}_{what}_total{{{label}}}"));
        Ok(Count {
            rx_bytes: figure("receive_bytes")?,
            rx_packets: figure("receive_packets")?,
            tx_bytes: figure("transmit_bytes")?,
            tx_packets: figure("transmit_packets")?,
        })
    }
}

/// Asks the metrics listener on `host`; gives status, content type and body.
pub fn get(host: &Namespace, path: &str, accept: &str) -> Result<(u16, String, String)> {
    get_at(host, METRICS_ADDRESS, path, accept)
}

/// Asks whoever listens at `address` on `host`.
fn get_at(host: &Namespace, address: &str, path: &str, accept: &str) -> Result<(u16, String, String)> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER_TIMEOUT));
    let client = config.build().new_agent();
    let url = format!("http://{address}{path}");
    let mut response = host
        .enter(|| client.get(&url).header("Accept", accept).call())
        .with_context(|| format!("GET {url}"))?;
    let content_type = response.headers().get("content-type");
    let content_type = content_type
        .map(|value| value.to_str().map(str::to_owned))
        .transpose()?;
    Ok((
        response.status().as_u16(),
        content_type.unwrap_or_default(),
        response.body_mut().read_to_string().context("reading the answer")?,
    ))
}

fn sample(line: &str) -> Result<(String, String)> {
    let (name, value) = line.rsplit_once(' ').with_context(|| format!("no value in: {line}"))?;
    let _: f64 = value.parse().with_context(|| format!("no number in: {line}"))?;
    Ok((name.to_owned(), value.to_owned()))
}
