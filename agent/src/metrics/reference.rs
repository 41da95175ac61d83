//! The metrics as people read them: `docs/metrics.md` is made of this.

use std::fmt::Write as _;

use portmeter_metrics::{Family, table};

use super::families::GROUPS;

const BEGINNING: &str = "\
# Metrics

`GET /metrics` on `metrics.listen` (127.0.0.1:9435 unless something else is set), without a key, as OpenMetrics 1.0 or as
the classic text format 0.0.4, whichever the scraper's `Accept` header prefers; text where it says nothing.

Names, types and labels are kept from version to version. Units are bytes, packets and seconds. No label's values come from
callers or from traffic: there are as many rows as there are ports, keys, reasons, programs, maps, routes, methods and codes.
Every scrape is read at that moment; nothing is kept between scrapes but the histograms and the counts of requests.

A gateway that runs apart from its agent tells nothing unless `portmeter gateway --metrics ADDR` says where; then it tells
what stands under REST, the process and the build. Rules, a dashboard and how to use them are in
[monitoring.md](monitoring.md).

This file is made from the code: `cargo xtask codegen` writes it.
";

const HISTOGRAMS: &str = "\
## Histograms

A histogram `x` is told as `x_bucket` (with `le`, the upper bound), `x_sum` and `x_count`. All of them have the same bounds,
from 0.1 ms to 10 s.
";

/// Every family of the agent, in the order of a page.
pub fn families() -> Vec<&'static Family> {
    GROUPS.iter().flat_map(|group| group.families).copied().collect()
}

/// The text of `docs/metrics.md`.
pub fn reference() -> String {
    let mut text = String::from(BEGINNING);
    for group in &GROUPS {
        let _ = write!(text, "\n## {}\n\n", group.title);
        if !group.text.is_empty() {
            let _ = write!(text, "{}\n\n", wrapped(group.text));
        }
        text.push_str(&table(group.families));
    }
    text.push('\n');
    text.push_str(HISTOGRAMS);
    text
}

/// Lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always one");
        if !last.is_empty() && last.len() + 1 + word.len() > 120 {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_stands_once() {
        let names: Vec<String> = families().iter().map(|family| family.name()).collect();
        let different: BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }

    #[test]
    fn words_are_wrapped_and_none_is_lost() {
        let text = "word ".repeat(60);
        let wrapped = wrapped(&text);
        assert!(wrapped.lines().all(|line| line.len() <= 120) && wrapped.lines().count() == 3);
        assert_eq!(wrapped.split_whitespace().count(), 60);
    }
}
