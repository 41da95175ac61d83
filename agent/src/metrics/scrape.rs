//! One scrape: what was read, and how it is written.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelValue, EncodeMetric, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::format::Format;
use crate::counters::Counter;
use crate::kernel::Unattributed;

/// Everything a scrape tells.
#[derive(Debug, Clone)]
pub(super) struct Scrape {
    /// Every port that is or was tracked.
    pub(super) ports: Vec<PortFigures>,
    pub(super) unattributed: Vec<Unattributed>,
    pub(super) connection_corrections: u64,
    pub(super) core: CoreFigures,
}

/// The Xray core.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CoreFigures {
    /// `None` where nobody runs one.
    pub(super) is_running: Option<bool>,
    pub(super) restart_count: u64,
    /// Keys that are no clients of it, and clients that are no keys.
    pub(super) drift_count: usize,
}

/// One port as the kernel counted it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PortFigures {
    pub(super) port: u16,
    pub(super) counter: Counter,
    pub(super) active_connections: u64,
}

impl Scrape {
    /// The answer's body.
    pub(super) fn text(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut body = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut body, &registry)?,
            Format::Prometheus => prometheus_text::encode(&mut body, &registry)?,
        }
        Ok(body)
    }

    fn encode_ports(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (bytes, packets) = (Unit::Bytes, packets());
        let figure = |read: fn(&Counter) -> u64| self.ports.iter().map(move |row| (row.port, read(&row.counter)));
        Family::new(
            "portmeter_port_receive",
            "IP-layer bytes received from clients of the port",
        )
        .unit(&bytes)
        .counters(encoder, "port", figure(|counter| counter.rx_bytes))?;
        Family::new("portmeter_port_transmit", "IP-layer bytes sent to clients of the port")
            .unit(&bytes)
            .counters(encoder, "port", figure(|counter| counter.tx_bytes))?;
        Family::new("portmeter_port_receive", "Packets received from clients of the port")
            .unit(&packets)
            .counters(encoder, "port", figure(|counter| counter.rx_packets))?;
        Family::new("portmeter_port_transmit", "Packets sent to clients of the port")
            .unit(&packets)
            .counters(encoder, "port", figure(|counter| counter.tx_packets))?;
        Family::new(
            "portmeter_port_connections",
            "Incoming TCP connections of the port that are not closed",
        )
        .gauges(
            encoder,
            "port",
            self.ports.iter().map(|row| (row.port, row.active_connections)),
        )?;
        Family::new(
            "portmeter_port_connections_opened",
            "Incoming TCP connections of the port whose handshake was completed",
        )
        .counters(encoder, "port", figure(|counter| counter.connections_opened))
    }

    fn encode_agent(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (bytes, packets) = (Unit::Bytes, packets());
        let figure = |read: fn(&Unattributed) -> u64| self.unattributed.iter().map(move |row| (row.reason, read(row)));
        Family::new(
            "portmeter_unattributed",
            "Packets that may belong to a tracked port but cannot be attributed to one",
        )
        .unit(&packets)
        .counters(encoder, "reason", figure(|row| row.packets))?;
        Family::new("portmeter_unattributed", "IP-layer bytes of those packets")
            .unit(&bytes)
            .counters(encoder, "reason", figure(|row| row.bytes))?;
        let corrections = encoder.encode_descriptor(
            "portmeter_connection_corrections",
            "Connections by which the count of active ones was corrected; should stay 0",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(self.connection_corrections).encode(corrections)?;
        self.encode_core(encoder)?;
        encoder
            .encode_descriptor("portmeter_build", "The running build", None, MetricType::Info)?
            .encode_info(&[("version", crate::VERSION)])
    }

    fn encode_core(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let drift = encoder.encode_descriptor(
            "portmeter_xray_drift",
            "Enabled keys that the Xray core or its configuration file lacks, and clients in them that are no keys",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::try_from(self.core.drift_count).unwrap_or(i64::MAX)).encode(drift)?;
        let Some(is_running) = self.core.is_running else {
            return Ok(());
        };
        let running = encoder.encode_descriptor(
            "portmeter_xray_running",
            "Whether the Xray core runs and answers: 1 or 0",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(is_running)).encode(running)?;
        let restarts = encoder.encode_descriptor(
            "portmeter_xray_restarts",
            "How often the Xray core was started again",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(self.core.restart_count).encode(restarts)
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_ports(&mut encoder)?;
        self.encode_agent(&mut encoder)
    }
}

fn packets() -> Unit {
    Unit::Other("packets".to_owned())
}

/// A metric with one row for each value of one label.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: Option<&'a Unit>,
}

impl<'a> Family<'a> {
    /// The name is written with the unit, and a counter's with `_total`, behind it.
    fn new(name: &'a str, help: &'a str) -> Self {
        Self { name, help, unit: None }
    }

    fn unit(self, unit: &'a Unit) -> Self {
        Self {
            unit: Some(unit),
            ..self
        }
    }

    fn counters<L: EncodeLabelValue>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        label: &'static str,
        rows: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, self.help, self.unit, MetricType::Counter)?;
        for (value, figure) in rows {
            ConstCounter::new(figure).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelValue>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        label: &'static str,
        rows: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, self.help, self.unit, MetricType::Gauge)?;
        for (value, figure) in rows {
            ConstGauge::new(figure).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape() -> Scrape {
        let counter = Counter {
            rx_bytes: u64::MAX,
            rx_packets: 2,
            tx_bytes: 3,
            tx_packets: 4,
            connections_opened: 5,
        };
        Scrape {
            ports: vec![PortFigures {
                port: 10_001,
                counter,
                active_connections: 6,
            }],
            unattributed: vec![Unattributed {
                reason: "forwarded",
                packets: 7,
                bytes: 8,
            }],
            connection_corrections: 9,
            core: CoreFigures {
                is_running: Some(true),
                restart_count: 10,
                drift_count: 11,
            },
        }
    }

    /// The lines that carry figures are the same in both formats.
    const SAMPLES: [&str; 13] = [
        r#"portmeter_port_receive_bytes_total{port="10001"} 18446744073709551615"#,
        r#"portmeter_port_transmit_bytes_total{port="10001"} 3"#,
        r#"portmeter_port_receive_packets_total{port="10001"} 2"#,
        r#"portmeter_port_transmit_packets_total{port="10001"} 4"#,
        r#"portmeter_port_connections{port="10001"} 6"#,
        r#"portmeter_port_connections_opened_total{port="10001"} 5"#,
        r#"portmeter_unattributed_packets_total{reason="forwarded"} 7"#,
        r#"portmeter_unattributed_bytes_total{reason="forwarded"} 8"#,
        "portmeter_connection_corrections_total 9",
        "portmeter_xray_drift 11",
        "portmeter_xray_running 1",
        "portmeter_xray_restarts_total 10",
        concat!(
            r#"portmeter_build_info{version=""#,
            env!("CARGO_PKG_VERSION"),
            r#""} 1"#
        ),
    ];

    fn lines(format: Format, prefix: &str) -> Vec<String> {
        let text = scrape().text(format).unwrap();
        assert!(text.ends_with('\n'));
        text.lines()
            .filter(|line| line.starts_with(prefix))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn both_formats_carry_the_same_samples() {
        for format in [Format::OpenMetrics, Format::Prometheus] {
            assert_eq!(lines(format, "portmeter_"), SAMPLES);
        }
    }

    /// Classic text names a metric in full where it tells its type; OpenMetrics names the family and ends with a mark.
    #[test]
    fn each_format_has_its_own_comments() {
        let types = lines(Format::OpenMetrics, "# TYPE");
        assert_eq!(types[0], "# TYPE portmeter_port_receive_bytes counter");
        assert_eq!(types[4], "# TYPE portmeter_port_connections gauge");
        assert_eq!(types[12], "# TYPE portmeter_build info");
        assert_eq!(lines(Format::OpenMetrics, "# EOF"), ["# EOF"]);
        assert_eq!(lines(Format::OpenMetrics, "# UNIT").len(), 6);

        let types = lines(Format::Prometheus, "# TYPE");
        assert_eq!(types[0], "# TYPE portmeter_port_receive_bytes_total counter");
        assert_eq!(types[4], "# TYPE portmeter_port_connections gauge");
        assert_eq!(types[12], "# TYPE portmeter_build_info gauge");
        assert!(lines(Format::Prometheus, "# EOF").is_empty());
        assert!(lines(Format::Prometheus, "# UNIT").is_empty());
    }
}
