//! `portmeter export` and `portmeter import --dry-run`, the real program over a real ledger. What takes root is among the
//! stories.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use portmeter::transfer::import::{File, Options, read};
use support::Lab;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// A ledger with the old server's history in it, and nobody at work on it.
async fn lab() -> Lab {
    let lab = Lab {
        kernel: support::FakeKernel::with_ports((10_001..=10_010).collect()),
        ..Lab::new()
    };
    let contents =
        ["keys.json", "traffic_history.json"].map(|name| std::fs::read(format!("{FIXTURES}/{name}")).unwrap());
    let files = [0, 1].map(|at| File {
        name: "file",
        bytes: &contents[at],
    });
    let options = Options {
        time_zone: Some(chrono_tz::Tz::UTC),
        key: None,
    };
    let store = lab.start();
    store.import(read(&files, &options).unwrap(), |_, _| {}).await.unwrap();
    store.close().await.unwrap();
    lab
}

fn portmeter(lab: &Lab, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portmeter"));
    command
        .args(words)
        .arg("--data-dir")
        .arg(lab.folder.path())
        .current_dir(FIXTURES);
    command.stdin(Stdio::null());
    command
}

fn run(lab: &Lab, words: &[&str]) -> Output {
    portmeter(lab, words).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// It failed with one sentence, which this is a part of.
fn refused(output: &Output, part: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("portmeter: ") && said.lines().count() == 1 && said.contains(part),
        "{said}"
    );
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn rows_go_to_standard_output_or_into_a_file() {
    let lab = lab().await;
    let days = ["export", "--from", "2025-08-21", "--to", "2025-08-22", "--format"];
    let csv = run(&lab, &[&days[..], &["csv"]].concat());
    assert!(csv.status.success(), "{}", text(&csv.stderr));
    // Two keys on the first day, three on the second, below the header.
    assert_eq!(text(&csv.stdout).lines().count(), 6, "{}", text(&csv.stdout));
    let jsonl = run(&lab, &[&days[..], &["jsonl"]].concat());
    for line in text(&jsonl.stdout).lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            ["2025-08-21", "2025-08-22"].contains(&row["period_start"].as_str().unwrap()),
            "{row}"
        );
    }
    let months = run(&lab, &[&days[..], &["jsonl", "--granularity", "month"]].concat());
    assert_eq!(text(&months.stdout).lines().count(), 3);

    let out = tempfile::tempdir().unwrap();
    for (name, beginning) in [
        ("csv", &b"granularity,"[..]),
        ("jsonl", b"{\"granularity\""),
        ("parquet", b"PAR1"),
    ] {
        let path = out.path().join(name);
        std::fs::write(&path, "what was there").unwrap();
        let words = [&days[..], &[name, "--output", path.to_str().unwrap()]].concat();
        let written = run(&lab, &words);
        assert!(written.status.success(), "{}", text(&written.stderr));
        assert_eq!(text(&written.stdout), "");
        assert!(std::fs::read(&path).unwrap().starts_with(beginning), "{name}");
    }
    assert_eq!(files(out.path()).len(), 3, "something stays beside the files");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let lab = lab().await;
    let words = [
        "export",
        "--from",
        "2025-08-01",
        "--to",
        "2026-08-01",
        "--format",
        "csv",
    ];
    let mut export = portmeter(&lab, &words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(export.stdout.take());
    let ended = export.wait_with_output().unwrap();
    assert!(
        ended.status.success() && ended.stderr.is_empty(),
        "{}",
        text(&ended.stderr)
    );
}

#[tokio::test]
async fn an_export_that_fails_says_why_and_leaves_nothing() {
    let lab = lab().await;
    let export = |words: &[&str]| run(&lab, &[&["export"], words].concat());
    let days = ["--from", "2025-08-01", "--to", "2025-08-02"];
    refused(
        &export(&[&days[..], &["--format", "parquet"]].concat()),
        "name it with --output",
    );
    refused(
        &export(&["--from", "2025-08-02", "--to", "2025-08-01", "--format", "csv"]),
        "--from (2025-08-02) is after --to (2025-08-01)",
    );
    refused(
        &export(&["--from", "2025-8-2", "--to", "2025-08-01", "--format", "csv"]),
        "--from is \"2025-8-2\": a date looks like",
    );
    refused(
        &export(&[&days[..], &["--format", "csv", "--output", "/dev/null"]].concat()),
        "/dev/null is no ordinary file",
    );
    // A ledger that is damaged below its first pages: found while a file is on its way.
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("days.csv");
    let ledger = lab.folder.path().join("ledger.db");
    let mut bytes = std::fs::read(&ledger).unwrap();
    bytes[8_192..].fill(0xff);
    std::fs::write(&ledger, bytes).unwrap();
    let words = [&days[..], &["--format", "csv", "--output", path.to_str().unwrap()]].concat();
    refused(&export(&words), "is damaged");
    assert!(files(out.path()).is_empty(), "half a file stays behind");
}

#[tokio::test]
async fn a_dry_run_shows_what_would_come_and_changes_nothing() {
    let lab = lab().await;
    let before = files(lab.folder.path());
    let import = |words: &[&str]| {
        run(
            &lab,
            &[&["import", "--dry-run", "--time-zone", "Europe/Berlin"], words].concat(),
        )
    };
    let again = import(&["keys.json", "ports.json", "traffic_history.json"]);
    let said = text(&again.stdout);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert!(said.contains("key is there  Bob Müller"), "{said}");
    assert!(
        said.ends_with("would come: new keys 0, days 0, bytes 0; as they were: keys 5, histories 4\n"),
        "{said}"
    );

    let key = "--key=00000000-0000-4000-8000-000000000000";
    refused(&import(&[key, "vnstat.json"]), "no key has the id or uuid 00000000");
    refused(
        &import(&["vnstat.json"]),
        "name the key that its traffic belongs to with --key",
    );
    refused(&import(&["missing.json"]), "missing.json cannot be read");
    let broken = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(broken.path(), "[{\"name\": \"a\",\n \"uuid\": 5}]").unwrap();
    let name = broken.path().to_str().unwrap();
    refused(
        &import(&["traffic_history.json", name]),
        &format!("{name}, line 2, column 10, at [0].uuid: "),
    );
    assert!(files(lab.folder.path()) == before, "a dry run changed a file");
}
