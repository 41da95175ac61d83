//! A page of metrics: written family by family, in either format, by the library that knows both.

use std::fmt;
use std::sync::LazyLock;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, LabelValueEncoder,
    MetricEncoder, NoLabelSet, prometheus_text, text as openmetrics_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as LibraryUnit};

use crate::{Family, Format, Kind, Recorded, Unit};

/// Everything that one scrape tells, read at one moment.
pub trait Figures: Send + Sync + 'static {
    /// Writes all of it.
    fn write(&self, page: &mut Page<'_>) -> fmt::Result;
}

/// The page's text. `capacity_bytes` is how long it is expected to be; more costs copies, less costs memory.
pub fn text(figures: impl Figures, format: Format, capacity_bytes: usize) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(figures)));
    let mut body = String::with_capacity(capacity_bytes);
    match format {
        Format::OpenMetrics => openmetrics_text::encode(&mut body, &registry)?,
        Format::Prometheus => prometheus_text::encode(&mut body, &registry)?,
    }
    Ok(body)
}

/// [`Figures`] as the library wants them.
struct Collected<F>(F);

impl<F> fmt::Debug for Collected<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Collected")
    }
}

impl<F: Figures> Collector for Collected<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.write(&mut Page { encoder })
    }
}

/// Where families are written.
pub struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    /// Begins a family. Each is written once on a page, with all its rows.
    pub fn family<'page>(&'page mut self, family: &'page Family) -> Result<Rows<'page>, fmt::Error> {
        let unit = family.unit.map(library_unit);
        let encoder = self
            .encoder
            .encode_descriptor(family.stem, family.help, unit, metric_type(family.kind))?;
        Ok(Rows {
            encoder,
            kind: family.kind,
            labels: family.labels,
        })
    }

    /// A family whose only row has no labels.
    pub fn figure(&mut self, family: &Family, figure: impl Into<Figure>) -> fmt::Result {
        self.family(family)?.row([], figure)
    }
}

/// Where the rows of one family are written.
pub struct Rows<'page> {
    encoder: MetricEncoder<'page>,
    kind: Kind,
    labels: &'static [&'static str],
}

impl Rows<'_> {
    /// One row of a counter or a gauge; `values` are those of the family's labels, in their order.
    pub fn row<const N: usize>(&mut self, values: [Value<'_>; N], figure: impl Into<Figure>) -> fmt::Result {
        let labels = Labels::new(self.labels, &values);
        let mut encoder = self.encoder.encode_family(&labels)?;
        match (self.kind, figure.into()) {
            (Kind::Counter, Figure::Whole(number)) => encoder.encode_counter::<NoLabelSet, u64, u64>(&number, None),
            (Kind::Counter, Figure::Real(number)) => encoder.encode_counter::<NoLabelSet, f64, u64>(&number, None),
            (Kind::Gauge, Figure::Whole(number)) => encoder.encode_gauge(&number),
            (Kind::Gauge, Figure::Real(number)) => encoder.encode_gauge(&number),
            (Kind::Histogram | Kind::Info, _) => Err(fmt::Error),
        }
    }

    /// One row of a histogram.
    pub fn durations<const N: usize>(&mut self, values: [Value<'_>; N], recorded: &Recorded) -> fmt::Result {
        let labels = Labels::new(self.labels, &values);
        let mut encoder = self.encoder.encode_family(&labels)?;
        let buckets = recorded.buckets();
        encoder.encode_histogram::<NoLabelSet>(recorded.sum_seconds(), recorded.count(), &buckets, None)
    }

    /// One row of an info.
    pub fn info<const N: usize>(&mut self, values: [Value<'_>; N]) -> fmt::Result {
        self.encoder.encode_info(&Labels::new(self.labels, &values))
    }
}

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// A whole number.
    Whole(u64),
    /// Any other.
    Real(f64),
}

impl From<u64> for Figure {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for Figure {
    fn from(number: usize) -> Self {
        Self::Whole(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

/// Yes is 1, no is 0.
impl From<bool> for Figure {
    fn from(is_so: bool) -> Self {
        Self::Whole(is_so.into())
    }
}

impl From<f64> for Figure {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

/// What a label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A word. Prometheus takes an empty one for a label that is not there.
    Text(&'a str),
    /// A port.
    Port(u16),
}

impl EncodeLabelValue for Value<'_> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => EncodeLabelValue::encode(text, encoder),
            Self::Port(port) => EncodeLabelValue::encode(port, encoder),
        }
    }
}

/// Labels as the library wants them.
struct Labels<'a> {
    names: &'static [&'static str],
    values: &'a [Value<'a>],
}

impl<'a> Labels<'a> {
    fn new(names: &'static [&'static str], values: &'a [Value<'a>]) -> Self {
        debug_assert!(values.len() <= names.len(), "{names:?} for {values:?}");
        Self { names, values }
    }
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for (&name, &value) in self.names.iter().zip(self.values) {
            EncodeLabel::encode(&(name, value), encoder.encode_label())?;
        }
        Ok(())
    }
}

static BYTES: LibraryUnit = LibraryUnit::Bytes;
static SECONDS: LibraryUnit = LibraryUnit::Seconds;
static PACKETS: LazyLock<LibraryUnit> = LazyLock::new(|| LibraryUnit::Other(Unit::Packets.name().to_owned()));

fn library_unit(unit: Unit) -> &'static LibraryUnit {
    match unit {
        Unit::Bytes => &BYTES,
        Unit::Packets => &PACKETS,
        Unit::Seconds => &SECONDS,
    }
}

const fn metric_type(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Durations;

    const BYTES_BY_PORT: Family = Family::counter("x_receive", "Bytes").of(Unit::Bytes).by(&["port"]);
    const PACKETS: Family = Family::counter("x_receive", "Packets").of(Unit::Packets);
    const READY: Family = Family::gauge("x_ready", "Whether");
    const TIMES: Family = Family::durations("x_duration", "How long").by(&["route"]);
    const KEY: Family = Family::info("x_key", "Keys").by(&["key", "name"]);

    struct Sample;

    impl Figures for Sample {
        fn write(&self, page: &mut Page<'_>) -> fmt::Result {
            let mut rows = page.family(&BYTES_BY_PORT)?;
            rows.row([Value::Port(1)], u64::MAX)?;
            rows.row([Value::Port(2)], 0_u64)?;
            page.figure(&PACKETS, 1.5)?;
            page.figure(&READY, true)?;
            let durations = Durations::default();
            durations.record(Duration::from_millis(3));
            page.family(&TIMES)?
                .durations([Value::Text("/{x}")], &durations.read())?;
            let mut keys = page.family(&KEY)?;
            keys.info([Value::Text("a"), Value::Text("\"\\\n")])?;
            keys.info([Value::Text("b")])
        }
    }

    #[test]
    fn the_classic_format() {
        let text = text(Sample, Format::Prometheus, 0).unwrap();
        let begin = "# HELP x_receive_bytes_total Bytes\n\
                     # TYPE x_receive_bytes_total counter\n\
                     x_receive_bytes_total{port=\"1\"} 18446744073709551615\n\
                     x_receive_bytes_total{port=\"2\"} 0\n\
                     # HELP x_receive_packets_total Packets\n\
                     # TYPE x_receive_packets_total counter\n\
                     x_receive_packets_total 1.5\n\
                     # HELP x_ready Whether\n\
                     # TYPE x_ready gauge\n\
                     x_ready 1\n\
                     # HELP x_duration_seconds How long\n\
                     # TYPE x_duration_seconds histogram\n\
                     x_duration_seconds_bucket{route=\"/{x}\",le=\"0.0001\"} 0\n";
        assert!(text.starts_with(begin), "{text}");
        let end = "x_duration_seconds_bucket{route=\"/{x}\",le=\"+Inf\"} 1\n\
                   x_duration_seconds_sum{route=\"/{x}\"} 0.003\n\
                   x_duration_seconds_count{route=\"/{x}\"} 1\n\
                   # HELP x_key_info Keys\n\
                   # TYPE x_key_info gauge\n\
                   x_key_info{key=\"a\",name=\"\\\"\\\\\\n\"} 1\n\
                   x_key_info{key=\"b\"} 1\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn open_metrics() {
        let text = text(Sample, Format::OpenMetrics, 0).unwrap();
        let begin = "# HELP x_receive_bytes Bytes\n\
                     # TYPE x_receive_bytes counter\n\
                     # UNIT x_receive_bytes bytes\n\
                     x_receive_bytes_total{port=\"1\"} 18446744073709551615\n";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains("# UNIT x_receive_packets packets\n"), "{text}");
        assert!(
            text.contains("x_duration_seconds_bucket{le=\"+Inf\",route=\"/{x}\"} 1\n"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "# TYPE x_key info\nx_key_info{key=\"a\",name=\"\\\"\\\\\\n\"} 1\nx_key_info{key=\"b\"} 1\n# EOF\n"
            ),
            "{text}"
        );
    }
}
