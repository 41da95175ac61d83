//! The product's Prometheus face, scraped from inside the agent's namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::count::{Connections, Count, Counts};
use crate::namespace::Namespace;

/// Where metrics are served when nothing else is said.
pub const METRICS_ADDRESS: &str = "127.0.0.1:9435";

/// How long a scrape may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// The answer's `Content-Type`.
    pub content_type: String,
    /// The answer's body.
    pub text: String,
    /// What a line says, by its metric with its labels as they are written.
    pub samples: BTreeMap<String, u64>,
}

impl Scrape {
    /// Scrapes the agent on `host`, as a client that accepts `accept`.
    pub fn of(host: &Namespace, accept: &str) -> Result<Self> {
        let (status, content_type, text) = get(host, "/metrics", accept)?;
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

    /// What one line says.
    pub fn value(&self, line: &str) -> Result<u64> {
        let value = self.samples.get(line).copied();
        value.with_context(|| format!("no {line} in\n{}", self.text))
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
        ports.iter().map(|&port| Ok((port, self.count(port)?))).collect()
    }

    /// The connections of one port.
    pub fn connections(&self, port: u16) -> Result<Connections> {
        Ok(Connections {
            active: self.of_port("portmeter_port_connections", port)?,
            opened: self.of_port("portmeter_port_connections_opened_total", port)?,
        })
    }

    fn count(&self, port: u16) -> Result<Count> {
        Ok(Count {
            rx_bytes: self.of_port("portmeter_port_receive_bytes_total", port)?,
            rx_packets: self.of_port("portmeter_port_receive_packets_total", port)?,
            tx_bytes: self.of_port("portmeter_port_transmit_bytes_total", port)?,
            tx_packets: self.of_port("portmeter_port_transmit_packets_total", port)?,
        })
    }

    fn of_port(&self, metric: &str, port: u16) -> Result<u64> {
        self.value(&format!("{metric}{{port=\"{port}\"}}"))
    }
}

/// Asks the metrics listener on `host`; gives status, content type and body.
pub fn get(host: &Namespace, path: &str, accept: &str) -> Result<(u16, String, String)> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER_TIMEOUT));
    let client = config.build().new_agent();
    let url = format!("http://{METRICS_ADDRESS}{path}");
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

fn sample(line: &str) -> Result<(String, u64)> {
    let (name, value) = line.rsplit_once(' ').with_context(|| format!("no value in: {line}"))?;
    let value = value.parse().with_context(|| format!("no whole number in: {line}"))?;
    Ok((name.to_owned(), value))
}
