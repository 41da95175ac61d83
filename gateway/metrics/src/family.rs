//! What there is to say of a metric: one constant, from which it is written, documented and guarded.

/// What a metric measures in. Base units only; the name ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Packets.
    Packets,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// As it stands in a name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Seconds => "seconds",
        }
    }
}

/// How a metric's figures are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, but for starting at zero again with what it counts.
    Counter,
    /// It rises and falls.
    Gauge,
    /// How many times something took how long.
    Histogram,
    /// Always 1: the labels are what it tells.
    Info,
}

impl Kind {
    /// As OpenMetrics calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// What its names end with, behind the unit.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Gauge | Self::Histogram => "",
            Self::Info => "_info",
        }
    }
}

/// A metric with all its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The name without what follows from unit and kind.
    pub stem: &'static str,
    /// What it measures in, where that is no plain number.
    pub unit: Option<Unit>,
    /// How its figures are to be read.
    pub kind: Kind,
    /// The names of its rows' labels. A row may have fewer, but for the first ones.
    pub labels: &'static [&'static str],
    /// One sentence, without a full stop.
    pub help: &'static str,
    /// What a reader should know besides; may be empty.
    pub note: &'static str,
}

impl Family {
    const fn new(kind: Kind, stem: &'static str, help: &'static str) -> Self {
        Self {
            stem,
            unit: None,
            kind,
            labels: &[],
            help,
            note: "",
        }
    }

    /// A counter.
    pub const fn counter(stem: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Counter, stem, help)
    }

    /// A gauge.
    pub const fn gauge(stem: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Gauge, stem, help)
    }

    /// A histogram of durations.
    pub const fn durations(stem: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Histogram, stem, help).of(Unit::Seconds)
    }

    /// Something that is told by labels.
    pub const fn info(stem: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Info, stem, help)
    }

    /// The same, in a unit.
    pub const fn of(self, unit: Unit) -> Self {
        Self {
            unit: Some(unit),
            ..self
        }
    }

    /// The same with labels.
    pub const fn by(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    /// The same with something that a reader should know.
    pub const fn noting(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// The name as PromQL asks for it; of a histogram, without `_bucket`, `_sum` and `_count`.
    pub fn name(&self) -> String {
        let unit = self.unit.map(|unit| format!("_{}", unit.name())).unwrap_or_default();
        format!("{}{unit}{}", self.stem, self.kind.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_with_unit_and_suffix() {
        let bytes = Family::counter("portmeter_port_receive", "").of(Unit::Bytes);
        assert_eq!(bytes.name(), "portmeter_port_receive_bytes_total");
        assert_eq!(
            Family::durations("portmeter_commit_duration", "").name(),
            "portmeter_commit_duration_seconds"
        );
        assert_eq!(Family::info("portmeter_build", "").name(), "portmeter_build_info");
        assert_eq!(Family::gauge("portmeter_ready", "").name(), "portmeter_ready");
    }
}
