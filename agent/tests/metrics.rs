//! What is promised of metrics: names, types, labels and meaning in a file that a change has to touch, and a reference
//! that is made from the same constants as the page.
//!
//! `PORTMETER_WRITE_REFERENCE=1`, which `cargo xtask codegen` sets, writes both anew.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use portmeter::metrics::{families, reference};
use portmeter_metrics::lines;

/// Says that the files are to be written rather than compared.
const WRITE: &str = "PORTMETER_WRITE_REFERENCE";

/// Names are a promise: whoever changes one sees it here, and in the dashboards and alerts of others.
#[test]
fn names_types_labels_and_meanings_are_those_of_the_golden_file() {
    check("agent/tests/metrics/families.txt", &lines(&families()));
}

#[test]
fn the_reference_is_made_from_the_code() {
    check("docs/metrics.md", &reference());
}

/// What Prometheus asks of names, whatever checks it: base units, `_total` for counters alone, no label that is a
/// reserved word.
#[test]
fn names_follow_the_conventions() {
    for family in families() {
        let name = family.name();
        let is_counter = family.kind.name() == "counter";
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        assert!(
            name.starts_with("portmeter_") || name.starts_with("process_"),
            "{name} is nobody's"
        );
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{name}"
        );
        for reserved in ["_count", "_sum", "_bucket", "_created", "_info_info", "__"] {
            assert!(!name.ends_with(reserved) && !family.stem.contains("__"), "{name}");
        }
        for label in family.labels {
            assert!(
                !["le", "quantile", "job", "instance"].contains(label),
                "{name}: {label}"
            );
        }
        assert!(
            !family.help.is_empty() && !family.help.ends_with('.'),
            "{name}: {}",
            family.help
        );
    }
}

fn check(path: &str, expected: &str) {
    let file = root().join(path);
    if env::var_os(WRITE).is_some() {
        fs::write(&file, expected).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        found, expected,
        "{path} is not what the code says: run `cargo xtask codegen`, and look at what it changes"
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
