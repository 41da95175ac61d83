//! Which of the two text formats a scraper gets.

use prometheus_client::encoding::prometheus_text;

/// The formats that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0, which Prometheus prefers.
    OpenMetrics,
    /// The classic text format 0.0.4, for everybody else.
    Prometheus,
}

impl Format {
    /// The format that the values of `Accept` headers ask for. Classic text, unless OpenMetrics is named and text is
    /// not preferred to it.
    pub(super) fn accepted<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let (mut open_metrics, mut classic) = (0.0_f64, 0.0_f64);
        for range in headers.flat_map(|header| header.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let best = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => &mut open_metrics,
                "text/plain" => &mut classic,
                _ => continue,
            };
            *best = best.max(quality(parts));
        }
        if open_metrics > 0.0 && open_metrics >= classic {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The answer's `Content-Type`.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// The weight among a media range's parameters (RFC 9110, section 12.4.2); 1 when there is none that can be read.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> f64 {
    let weight = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("q").then_some(value)
    });
    weight.and_then(|weight| weight.parse().ok()).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
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
        for header in [prometheus_2, prometheus_3, "Application/OpenMetrics-Text"] {
            assert_eq!(accepted(header), Format::OpenMetrics, "{header}");
        }
    }

    #[test]
    fn everybody_else_gets_classic_text() {
        for header in [
            "*/*",
            "",
            "text/html, */*;q=0.1",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;q=0",
            "text/plain, application/openmetrics-text;q=0.9",
        ] {
            assert_eq!(accepted(header), Format::Prometheus, "{header}");
        }
        assert_eq!(Format::accepted(std::iter::empty()), Format::Prometheus);
    }
}
