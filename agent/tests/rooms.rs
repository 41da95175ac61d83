//! House rules of ARCHITECTURE.md that a reader could break without noticing: one dependency, one door.

use std::fs;
use std::path::{Path, PathBuf};

/// A word, and where alone in the product's sources it may stand.
const DOORS: [(&str, &[&str]); 18] = [
    ("aya::", &["agent/src/kernel/"]),
    ("use aya", &["agent/src/kernel/"]),
    ("unsafe {", &["agent/src/kernel/"]),
    ("rusqlite", &["agent/src/store/"]),
    ("sock_diag::", &["agent/src/network/"]),
    ("rtnetlink::new", &["agent/src/network/"]),
    ("axum::", &["gateway/src/", "gateway/metrics/src/"]),
    ("use parquet", &["agent/src/transfer/"]),
    ("rustls::", &["gateway/listener/src/"]),
    ("use rcgen", &["gateway/listener/src/"]),
    ("prometheus_client", &["gateway/metrics/src/"]),
    (
        "Family::counter(",
        &[
            "agent/src/metrics/",
            "agent/src/grpc/calls.rs",
            "gateway/src/requests.rs",
            "gateway/metrics/src/",
        ],
    ),
    ("sysinfo::", &["agent/src/host/"]),
    ("sd_notify", &["gateway/daemon/src/service_manager.rs"]),
    ("tracing_subscriber", &["gateway/daemon/src/log.rs"]),
    ("figment", &["gateway/daemon/src/configuration/"]),
    ("use ratatui", &["agent/src/cli/top/"]),
    ("use comfy_table", &["agent/src/cli/table.rs"]),
];

#[test]
fn each_dependency_has_one_door() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut strays = Vec::new();
    for file in [
        "agent/src",
        "gateway/src",
        "gateway/daemon/src",
        "gateway/listener/src",
        "gateway/metrics/src",
        "proto/src",
    ]
    .map(|room| root.join(room))
    .into_iter()
    .flat_map(sources)
    {
        let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        // The logs' filter names the migration library's target; that is no use of it.
        let text = text.replace("rusqlite_migration=warn", "");
        for (word, doors) in DOORS {
            if text.contains(word) && !doors.iter().any(|door| name.starts_with(door)) {
                strays.push(format!("{name}: {word} belongs to {}", doors.join(" and ")));
            }
        }
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

/// Every Rust file below a folder.
fn sources(folder: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
