//! Which of the two text formats a scraper gets.

use std::cmp::Ordering;

use prometheus_client::encoding::prometheus_text;

/// The formats that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, which Prometheus prefers.
    OpenMetrics,
    /// The classic text format 0.0.4, for everybody else.
    Prometheus,
}

impl Format {
    /// The format that the values of `Accept` headers ask for (RFC 9110, section 12.5.1). Classic text, unless
    /// OpenMetrics is named, in the version that is spoken, and text is not preferred to it.
    pub fn accepted<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let mut open_metrics = 0.0_f64;
        // Of the ranges that classic text falls in the most specific one decides.
        let mut classic = (0, 0.0_f64);
        for range in headers.flat_map(|header| header.split(',')) {
            let range = Range::of(range);
            if let Some(weight) = range.open_metrics() {
                open_metrics = open_metrics.max(weight);
            }
            if let Some((precision, weight)) = range.classic() {
                classic = match precision.cmp(&classic.0) {
                    Ordering::Greater => (precision, weight),
                    Ordering::Equal => (precision, classic.1.max(weight)),
                    Ordering::Less => classic,
                };
            }
        }
        if open_metrics > 0.0 && open_metrics >= classic.1 {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The answer's `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// One media range of an `Accept` header.
struct Range {
    media_type: String,
    version: Option<String>,
    /// 1 where none is given that can be read.
    weight: f64,
}

impl Range {
    fn of(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut version, mut weight) = (None, 1.0);
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => version = Some(value.to_owned()),
                "q" => weight = value.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0),
                _ => {}
            }
        }
        Self {
            media_type,
            version,
            weight,
        }
    }

    fn is_of_version(&self, version: &str) -> bool {
        self.version.as_deref().is_none_or(|named| named == version)
    }

    /// Its weight, if it names OpenMetrics.
    fn open_metrics(&self) -> Option<f64> {
        let is_named = self.media_type == "application/openmetrics-text";
        (is_named && self.is_of_version("1.0.0")).then_some(self.weight)
    }

    /// Its weight, if classic text falls in it, and how precisely it says so.
    fn classic(&self) -> Option<(u8, f64)> {
        let precision = match self.media_type.as_str() {
            "text/plain" if self.is_of_version("0.0.4") => 3,
            "text/*" => 2,
            "*/*" => 1,
            _ => return None,
        };
        Some((precision, self.weight))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepted(header: &str) -> Format {
        Format::accepted([header].into_iter())
    }

    #[test]
    fn prometheus_gets_open_metrics() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
                            version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5, \
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for header in [
            prometheus_2,
            prometheus_3,
            "Application/OpenMetrics-Text",
            "application/openmetrics-text; version=\"1.0.0\", */*",
            "text/plain;q=0.1, */*, application/openmetrics-text;q=0.2",
            "application/openmetrics-text;q=not-a-number",
        ] {
            assert_eq!(accepted(header), Format::OpenMetrics, "{header}");
        }
        assert_eq!(
            Format::accepted(["text/plain;q=0.5", "application/openmetrics-text;q=0.6"].into_iter()),
            Format::OpenMetrics,
            "two headers are one list"
        );
    }

    #[test]
    fn everybody_else_gets_classic_text() {
        for header in [
            "*/*",
            "",
            ";;q=,=",
            "text/html, */*;q=0.1",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0;q=1",
            "application/*",
            "text/plain, application/openmetrics-text;q=0.9",
            "application/openmetrics-text;q=0.5, */*;q=0.9",
            "application/openmetrics-text;q=0.5, text/*;q=0.9, */*;q=0.1",
        ] {
            assert_eq!(accepted(header), Format::Prometheus, "{header}");
        }
        assert_eq!(Format::accepted(std::iter::empty()), Format::Prometheus);
    }

    proptest! {
        /// Whoever does not name OpenMetrics can read text, and whoever sends anything gets an answer.
        #[test]
        fn only_who_names_open_metrics_gets_it(header in ".{0,60}") {
            if accepted(&header) == Format::OpenMetrics {
                prop_assert!(header.to_ascii_lowercase().contains("application/openmetrics-text"));
            }
        }

        /// Of two weights the higher one decides, and OpenMetrics where they are equal.
        #[test]
        fn the_higher_weight_decides(open_metrics in 0_u16..=1000, classic in 0_u16..=1000) {
            let weight = |thousandths: u16| f64::from(thousandths) / 1000.0;
            let header = format!(
                "text/plain;q={:.3}, application/openmetrics-text;q={:.3}",
                weight(classic),
                weight(open_metrics)
            );
            let expected = if open_metrics > 0 && open_metrics >= classic {
                Format::OpenMetrics
            } else {
                Format::Prometheus
            };
            prop_assert_eq!(accepted(&header), expected);
        }
    }
}
