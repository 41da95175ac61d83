//! What the core says, as the agent says it: at which level, and without what is nobody's business.

use super::text::{one_line, without_addresses, without_secrets};

/// What a line of the core is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Error,
    Warning,
    Information,
    /// Of single connections: who came, and where they went.
    Detail,
}

/// What the core says of each key's inbound at each start, whatever is wrong or right: two lines a key.
const ADVICE: [&str; 2] = ["REALITY: Choosing ", "REALITY: Listening on non-443 ports"];

fn weight(line: &str) -> Weight {
    const ENDS: [&str; 3] = ["Failed to start", "panic: ", "fatal error: "];
    if line.contains("[Error]") || ENDS.iter().any(|start| line.starts_with(start)) {
        Weight::Error
    } else if ADVICE.iter().any(|advice| line.contains(advice)) {
        Weight::Detail
    } else if line.contains("[Warning]") {
        Weight::Warning
    } else if line.contains("[Info]") || line.contains("[Debug]") || is_access(line) {
        Weight::Detail
    } else {
        Weight::Information
    }
}

/// `2026/10/10 10:20:30.1 from 192.0.2.7:5000 accepted tcp:example.org:443 …`; older cores leave out the `from`.
fn is_access(line: &str) -> bool {
    [" accepted ", " rejected "]
        .iter()
        .any(|verdict| line.contains(verdict))
}

/// A line as it may be told: addresses of others only among the details, secrets nowhere.
pub(super) fn told(line: &str) -> Option<(Weight, String)> {
    let line = without_secrets(&one_line(line));
    match weight(&line) {
        _ if line.is_empty() => None,
        Weight::Detail => Some((Weight::Detail, line)),
        weight => Some((weight, without_addresses(&line))),
    }
}

/// Tells a line in the agent's log.
pub(super) fn tell(line: &str) {
    match told(line) {
        Some((Weight::Error, line)) => tracing::error!(source = "core", "{line}"),
        Some((Weight::Warning, line)) => tracing::warn!(source = "core", "{line}"),
        Some((Weight::Information, line)) => tracing::info!(source = "core", "{line}"),
        Some((Weight::Detail, line)) => tracing::debug!(source = "core", "{line}"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_named_among_the_details_only() {
        let access = "2026/10/10 10:20:30.1 from 192.0.2.7:5000 accepted tcp:example.org:443 email: \
                      c0ffee00-1111-4222-8333-444455556666";
        let (weight, line) = told(access).unwrap();
        assert_eq!(weight, Weight::Detail);
        assert!(
            line.contains("192.0.2.7") && line.ends_with("email: c0ffee00…"),
            "{line}"
        );
        let warning = "2026/10/10 10:20:30.1 [Warning] [7] proxy: failed > read 192.0.2.7:5000: reset\n";
        let (weight, line) = told(warning).unwrap();
        assert_eq!(weight, Weight::Warning);
        assert!(line.ends_with("read (address):5000: reset"), "{line}");
        for (line, weight) in [
            ("Xray 26.10.10 (Xray, Penetrates Everything.)", Weight::Information),
            ("Failed to start: main: x", Weight::Error),
            ("2026/10/10 10:20:30 [Error] x", Weight::Error),
            (
                "2026/10/10 10:20:30 [Info] [7] x received request from 192.0.2.7",
                Weight::Detail,
            ),
        ] {
            assert_eq!(told(line).unwrap().0, weight, "{line}");
        }
        assert_eq!(told("\n"), None);
    }
}
