//! An agent's state as people and programs read it. JSON has the words of the gRPC services.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use portmeter_proto::v1::{AttachedInterface, Collector, ConnectionSource, GetXrayStateResponse, Hook};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::Status;
use crate::cli::figures::{byte_rate, count, printable, span};
use crate::cli::moment::moment;
use crate::cli::table::facts;

/// One line a subject.
pub(super) fn as_text(status: &Status) -> String {
    let mut lines = vec![("agent", agent(status))];
    lines.extend(status.state.problems.iter().map(|problem| ("", printable(problem))));
    lines.push(("kernel", kernel(status)));
    lines.push(("connections", connections(status)));
    lines.push(("traffic", traffic(status)));
    lines.push(("ledger", ledger(status)));
    lines.push(("collector", collector(&collector_of(status))));
    lines.push(("xray", xray(&status.xray, now(status))));
    if !status.xray.last_error.is_empty() {
        lines.push(("", printable(&status.xray.last_error)));
    }
    lines.push(("keys", keys(status)));
    facts(&lines)
}

fn agent(status: &Status) -> String {
    let state = if status.state.is_ready { "ready" } else { "NOT READY" };
    let (version, instance) = (&status.version.version, &status.state.instance);
    let up = since(status.state.started_at, now(status)).map_or_else(String::new, |up| format!(", up {}", span(up)));
    format!("{state}, version {version}, instance {instance}{up}")
}

fn kernel(status: &Status) -> String {
    let interfaces: Vec<String> = status.state.interfaces.iter().map(interface).collect();
    let on = match interfaces.is_empty() {
        true => "no interface".to_owned(),
        false => interfaces.join(", "),
    };
    let unattributed = status.state.unattributed.iter().map(|row| row.packets).sum();
    format!(
        "counts on {on}; {} packet(s) unattributed; map life {}",
        count(unattributed),
        status.state.map_life
    )
}

fn interface(interface: &AttachedInterface) -> String {
    format!("{} ({})", printable(&interface.name), hook(interface.hook()))
}

fn connections(status: &Status) -> String {
    let source = match status.state.connection_source() {
        ConnectionSource::Kernel => "counted by the kernel programs",
        ConnectionSource::SocketTables => "listed from the socket tables",
        ConnectionSource::Unspecified => "counted in an unknown way",
    };
    let corrections = match status.state.connection_corrections {
        0 => String::new(),
        corrections => format!(", {} corrected", count(corrections)),
    };
    format!("{} open, {source}{corrections}", count(active_connections(status)))
}

fn traffic(status: &Status) -> String {
    format!("{} now", byte_rate(rate_bytes_per_second(status)))
}

fn ledger(status: &Status) -> String {
    let collector = collector_of(status);
    let booked = since(status.state.last_booked_at, now(status));
    let lag = booked.map_or_else(
        || "nothing booked yet".to_owned(),
        |lag| format!("booked {} ago", span(lag)),
    );
    match collector.newest_day {
        Some(day) => format!("{lag}, newest day {day}"),
        None => format!("{lag}, no day yet"),
    }
}

fn collector(collector: &Collector) -> String {
    let intervals = format!(
        "samples every {} s, books every {} s",
        collector.sample_interval_seconds, collector.commit_interval_seconds
    );
    match collector.is_enabled {
        true => format!("runs, {intervals}"),
        false => format!("PAUSED: {}; {intervals}", printable(&collector.disabled_reason)),
    }
}

fn xray(xray: &GetXrayStateResponse, now: Option<DateTime<Utc>>) -> String {
    let mut words = vec![match xray.state.as_str() {
        state @ ("failed" | "stopped") => state.to_uppercase(),
        state => state.to_owned(),
    }];
    words.push(format!("mode {}", xray.mode));
    if !xray.version.is_empty() {
        words.push(format!("version {}", printable(&xray.version)));
    }
    if let Some(process_id) = xray.process_id {
        words.push(format!("process {process_id}"));
    }
    if let Some(up) = since(xray.started_at, now) {
        words.push(format!("up {}", span(up)));
    }
    words.push(format!("{} restart(s)", count(xray.restart_count)));
    words.push(match xray.drift_count {
        0 => "no drift".to_owned(),
        drift => format!("DRIFT of {drift} key(s)"),
    });
    words.join(", ")
}

fn keys(status: &Status) -> String {
    format!(
        "{} of {} possible, {} enabled, {} with a port, on {}",
        count(status.keys.keys.len() as u64),
        count(status.ports.max_ports.into()),
        count(active_keys(status) as u64),
        count(status.ports.assignments.len() as u64),
        status.ports.port_range
    )
}

/// Everything that [`as_text`] shows, and how often what could not be attributed.
pub(super) fn as_json(status: &Status) -> String {
    let (state, xray, collector) = (&status.state, &status.xray, collector_of(status));
    let now = now(status);
    let seconds = |at| since(at, now).map(|span| span.as_secs_f64());
    let value = json!({
        "version": status.version.version,
        "kernel_source_digest": status.version.kernel_source_digest,
        "is_ready": state.is_ready,
        "problems": state.problems,
        "instance": state.instance,
        "started_at": time(state.started_at),
        "uptime_seconds": seconds(state.started_at),
        "read_at": time(status.traffic.read_at),
        "kernel": {
            "map_life": state.map_life,
            "interfaces": Value::from_iter(state.interfaces.iter().map(|interface| json!({
                "name": interface.name,
                "index": interface.index,
                "hook": hook(interface.hook()).to_lowercase(),
            }))),
            "unattributed": Value::from_iter(state.unattributed.iter().map(|row| json!({
                "reason": row.reason,
                "packets": row.packets,
                "bytes": row.bytes,
            }))),
        },
        "connections": {
            "active": active_connections(status),
            "source": match state.connection_source() {
                ConnectionSource::Kernel => "kernel",
                ConnectionSource::SocketTables => "socket_tables",
                ConnectionSource::Unspecified => "unspecified",
            },
            "corrections": state.connection_corrections,
        },
        "rate_bytes_per_second": rate_bytes_per_second(status),
        "ledger": {
            "last_booked_at": time(state.last_booked_at),
            "lag_seconds": seconds(state.last_booked_at),
            "newest_day": collector.newest_day,
            "lag_days": collector.lag_days,
        },
        "collector": {
            "is_enabled": collector.is_enabled,
            "disabled_reason": collector.disabled_reason,
            "last_sampled_at": time(collector.last_sampled_at),
            "last_booked_at": time(collector.last_booked_at),
            "sample_interval_seconds": collector.sample_interval_seconds,
            "commit_interval_seconds": collector.commit_interval_seconds,
        },
        "xray": {
            "mode": xray.mode,
            "state": xray.state,
            "version": xray.version,
            "process_id": xray.process_id,
            "started_at": time(xray.started_at),
            "restart_count": xray.restart_count,
            "api_address": xray.api_address,
            "last_error": xray.last_error,
            "drift_count": xray.drift_count,
        },
        "keys": {
            "count": status.keys.keys.len(),
            "active_count": active_keys(status),
        },
        "ports": {
            "assignment_count": status.ports.assignments.len(),
            "max_ports": status.ports.max_ports,
            "port_range": status.ports.port_range,
        },
    });
    format!("{value}\n")
}

fn hook(hook: Hook) -> &'static str {
    match hook {
        Hook::Tcx => "TCX",
        Hook::Clsact => "clsact",
        Hook::Xdp => "XDP",
        Hook::Unspecified => "unknown",
    }
}

fn collector_of(status: &Status) -> Collector {
    status.collector.collector.clone().unwrap_or_default()
}

fn active_connections(status: &Status) -> u64 {
    let traffic = status.traffic.key_traffic.iter().filter_map(|row| row.traffic.as_ref());
    traffic.map(|traffic| traffic.connections).sum()
}

fn rate_bytes_per_second(status: &Status) -> f64 {
    let traffic = status.traffic.key_traffic.iter().filter_map(|row| row.traffic.as_ref());
    // An empty sum of floats is negative zero.
    traffic.fold(0.0, |sum, traffic| sum + traffic.rate_bytes_per_second)
}

fn active_keys(status: &Status) -> usize {
    status.keys.keys.iter().filter(|key| key.is_active).count()
}

/// The agent's own now.
fn now(status: &Status) -> Option<DateTime<Utc>> {
    moment(status.traffic.read_at?)
}

fn since(at: Option<Timestamp>, now: Option<DateTime<Utc>>) -> Option<Duration> {
    let passed = now?.signed_duration_since(moment(at?)?);
    Some(passed.to_std().unwrap_or_default())
}

fn time(at: Option<Timestamp>) -> Option<String> {
    Some(moment(at?)?.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::{Key, KeyTraffic, PortAssignment, Traffic, Unattributed};

    use super::*;

    const NOW: i64 = 1_754_395_200;

    fn at(seconds_before: i64) -> Option<Timestamp> {
        Some(Timestamp {
            seconds: NOW - seconds_before,
            nanos: 0,
        })
    }

    fn status() -> Status {
        let mut status = Status::default();
        status.version.version = "0.1.0".to_owned();
        status.state.is_ready = true;
        status.state.instance = "default".to_owned();
        status.state.map_life = "6f2b3c1e".to_owned();
        status.state.started_at = at(273_600);
        status.state.last_booked_at = at(3);
        status.state.connection_source = ConnectionSource::Kernel.into();
        status.state.interfaces = vec![AttachedInterface {
            name: "eth0".to_owned(),
            index: 2,
            hook: Hook::Tcx.into(),
        }];
        status.state.unattributed = vec![Unattributed {
            reason: "forwarded".to_owned(),
            packets: 1_234,
            bytes: 99_000,
        }];
        status.collector.collector = Some(Collector {
            is_enabled: true,
            newest_day: Some("2025-08-05".to_owned()),
            lag_days: Some(0),
            sample_interval_seconds: 1,
            commit_interval_seconds: 5,
            ..Collector::default()
        });
        status.xray.mode = "supervised".to_owned();
        status.xray.state = "running".to_owned();
        status.xray.version = "26.10.10".to_owned();
        status.xray.process_id = Some(4_711);
        status.xray.started_at = at(60);
        status.ports.max_ports = 100;
        status.ports.port_range = "10001-10100".to_owned();
        status.ports.assignments = vec![PortAssignment::default()];
        status.keys.keys = vec![
            Key {
                is_active: true,
                ..Key::default()
            },
            Key::default(),
        ];
        status.traffic.read_at = at(0);
        status.traffic.key_traffic = vec![KeyTraffic {
            key: None,
            traffic: Some(Traffic {
                connections: 12,
                rate_bytes_per_second: 1_500_000.0,
                ..Traffic::default()
            }),
        }];
        status
    }

    #[test]
    fn a_page_has_a_line_for_each_subject() {
        assert_eq!(
            as_text(&status()),
            "agent        ready, version 0.1.0, instance default, up 3 d 4 h\n\
             kernel       counts on eth0 (TCX); 1,234 packet(s) unattributed; map life 6f2b3c1e\n\
             connections  12 open, counted by the kernel programs\n\
             traffic      1.50 MB/s now\n\
             ledger       booked 3 s ago, newest day 2025-08-05\n\
             collector    runs, samples every 1 s, books every 5 s\n\
             xray         running, mode supervised, version 26.10.10, process 4711, up 1 min, 0 restart(s), no drift\n\
             keys         2 of 100 possible, 1 enabled, 1 with a port, on 10001-10100\n"
        );
    }

    #[test]
    fn what_is_wrong_stands_out_without_a_colour() {
        let mut status = status();
        status.state.is_ready = false;
        status.state.problems = vec!["the ledger cannot be written".to_owned()];
        status.xray.state = "failed".to_owned();
        status.xray.last_error = "exit status 1\u{1b}[2J".to_owned();
        status.xray.drift_count = 2;
        status.collector.collector = Some(Collector {
            disabled_reason: "an operator has paused it".to_owned(),
            ..Collector::default()
        });
        let text = as_text(&status);
        for part in [
            "agent        NOT READY, version",
            "\n             the ledger cannot be written\n",
            "xray         FAILED, mode supervised",
            "DRIFT of 2 key(s)\n             exit status 1\\u{1b}[2J\n",
            "collector    PAUSED: an operator has paused it; ",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn json_is_exact() {
        let text = as_json(&status());
        assert_eq!(text.lines().count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        for (pointer, expected) in [
            ("/is_ready", json!(true)),
            ("/uptime_seconds", json!(273_600.0)),
            ("/kernel/interfaces/0/hook", json!("tcx")),
            ("/kernel/unattributed/0/packets", json!(1_234)),
            ("/connections/active", json!(12)),
            ("/ledger/lag_seconds", json!(3.0)),
            ("/xray/process_id", json!(4_711)),
            ("/keys/active_count", json!(1)),
            ("/started_at", json!("2025-08-02T08:00:00.000000Z")),
        ] {
            assert_eq!(value.pointer(pointer), Some(&expected), "{pointer} in {text}");
        }
    }
}
