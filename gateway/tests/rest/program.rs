//! The binary: what it refuses to start with, in one sentence, and how it stops.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use crate::ask::API_KEY;

fn gateway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portmeter-gateway"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// What the program says when it does not start.
fn refusal(output: Output) -> String {
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn says_in_one_sentence_why_it_does_not_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let agent = ["--agent", "127.0.0.1:1"];
    let with_key = |command: &mut Command| command.env("PORTMETER_API_KEY", API_KEY).output().unwrap();

    let text = refusal(gateway(&agent).output().unwrap());
    assert!(text.contains("no API key") && text.contains("--api-key-file"), "{text}");
    let text = refusal(gateway(&agent).env("PORTMETER_API_KEY", "short").output().unwrap());
    assert!(text.contains("at least 16") && !text.contains("`short`"), "{text}");
    let text = refusal(
        gateway(&agent)
            .args(["--api-key-file", "/nonexistent"])
            .output()
            .unwrap(),
    );
    assert!(text.contains("/nonexistent: No such file"), "{text}");
    let text = refusal(with_key(gateway(&agent).args(["--http", &taken])));
    assert!(
        text.contains(&format!("cannot listen on {taken}: Address already in use")),
        "{text}"
    );
    let text = refusal(with_key(&mut gateway(&["--agent", "nowhere"])));
    assert!(text.contains("`nowhere` is no address of an agent"), "{text}");
    let open = ["--agent", "nowhere", "--http", "0.0.0.0:0", "--panel-auth", "open"];
    let text = refusal(with_key(&mut gateway(&open)));
    assert!(text.contains("allow_open_panel"), "{text}");
}

#[test]
fn serves_until_it_is_told_to_stop() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("api.key");
        fs::write(&key_file, API_KEY).unwrap();
        let mut program = gateway(&["--agent", "127.0.0.1:1", "--http", "127.0.0.1:0", "--api-key-file"])
            .arg(&key_file)
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(program.stderr.take().unwrap()).lines();
        let first = log.next().unwrap().unwrap();
        assert!(
            first.contains("REST is served") && first.contains("127.0.0.1:"),
            "{first}"
        );
        let kill = format!("kill -s {signal} {}", program.id());
        let killed = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(killed.success());
        assert!(program.wait().unwrap().success());
        let last = log.map_while(Result::ok).last().unwrap();
        assert!(last.contains("REST has stopped"), "{last}");
    }
}
