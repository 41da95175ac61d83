//! One page, with every family that there is, in both formats.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use portmeter_gateway::RequestFigures;
use portmeter_metrics::{Durations, Format, Process, text};
use uuid::Uuid;

use super::families;
use super::scrape::{AgentFigures, CoreFigures, KernelFigures, PortFigures, Scrape};
use crate::counters::Counter;
use crate::grpc::CallFigures;
use crate::kernel::{Dropped, MapUse, ProgramRuns, Unattributed};
use crate::ledger::Tally;
use crate::store::{Entry, Figures, Key, KeyId, Snapshot};
use crate::xray::core::CoreState;

const COUNTER: Counter = Counter {
    rx_bytes: u64::MAX,
    rx_packets: 20,
    tx_bytes: 30,
    tx_packets: 40,
    connections_opened: 50,
};

/// A key at a port, of which two of each were booked before the checkpoint, and eight lie between that and the counter.
fn key(number: u128, port: Option<u16>) -> Entry {
    let less = |figure: u64| figure - 8;
    let checkpoint = Counter {
        rx_bytes: less(COUNTER.rx_bytes),
        rx_packets: less(COUNTER.rx_packets),
        tx_bytes: less(COUNTER.tx_bytes),
        tx_packets: less(COUNTER.tx_packets),
        connections_opened: less(COUNTER.connections_opened),
    };
    let booked = Counter {
        rx_bytes: 2,
        rx_packets: 2,
        tx_bytes: 2,
        tx_packets: 2,
        connections_opened: 2,
    };
    Entry {
        position: 0,
        key: Arc::new(Key {
            id: KeyId(Uuid::from_u128(number)),
            uuid: Uuid::from_u128(number + 100),
            name: "Zoë \"the\" first\n".to_owned(),
            alias: String::new(),
            is_active: port.is_some(),
            created_at: DateTime::<Utc>::UNIX_EPOCH,
            port,
            assigned_at: None,
            cycle: None,
            subscription_token: None,
            identity: None,
        }),
        figures: Figures {
            booked: Tally {
                traffic: booked,
                ..Tally::default()
            },
            checkpoint,
            // What is shown after a reset; nothing of it is told here.
            baseline: COUNTER,
            ..Figures::default()
        },
    }
}

fn scrape() -> Scrape {
    let mut snapshot = Snapshot::default();
    snapshot.entries = vec![key(1, Some(10_001)), key(2, None)];
    let durations = Durations::default();
    durations.record(Duration::from_millis(2));
    Scrape {
        ports: vec![PortFigures {
            port: 10_001,
            counter: COUNTER,
            active_connections: 6,
        }],
        kernel: KernelFigures {
            unattributed: vec![Unattributed {
                reason: "forwarded",
                packets: 7,
                bytes: 8,
            }],
            dropped: vec![Dropped {
                reason: "cut_off",
                packets: 9,
                bytes: 10,
            }],
            programs: vec![ProgramRuns {
                program: "portmeter_rx",
                count: 11,
                time: Duration::from_millis(1_500),
            }],
            maps: vec![MapUse {
                map: "fragments",
                entries: 12,
                entries_max: 16,
            }],
        },
        agent: AgentFigures {
            is_ready: true,
            counted_interfaces: 2,
            failed_interfaces: 0,
            connection_corrections: 13,
            samples: durations.read(),
            commits: durations.read(),
            commit_failures: 14,
            ledger_lag_seconds: Some(2.5),
            is_collecting: true,
        },
        core: CoreFigures {
            state: Some(CoreState::Starting),
            restart_count: 15,
            drift_count: 16,
        },
        snapshot: Arc::new(snapshot),
        with_key_names: false,
        calls: CallFigures::default(),
        requests: Some(RequestFigures::default()),
        process: Process::read(),
    }
}

fn page(scrape: Scrape, format: Format) -> String {
    let page = text(scrape, format, 0).unwrap();
    assert!(page.ends_with('\n'));
    page
}

fn lines<'page>(page: &'page str, begin: &str) -> Vec<&'page str> {
    page.lines().filter(|line| line.starts_with(begin)).collect()
}

/// The lines that carry figures, but for histograms and what nobody can foretell.
const SAMPLES: [&str; 46] = [
    r#"portmeter_port_receive_bytes_total{port="10001"} 18446744073709551615"#,
    r#"portmeter_port_transmit_bytes_total{port="10001"} 30"#,
    r#"portmeter_port_receive_packets_total{port="10001"} 20"#,
    r#"portmeter_port_transmit_packets_total{port="10001"} 40"#,
    r#"portmeter_port_connections{port="10001"} 6"#,
    r#"portmeter_port_connections_opened_total{port="10001"} 50"#,
    r#"portmeter_key_receive_bytes_total{key="00000000-0000-0000-0000-000000000001"} 10"#,
    r#"portmeter_key_receive_bytes_total{key="00000000-0000-0000-0000-000000000002"} 2"#,
    r#"portmeter_key_transmit_bytes_total{key="00000000-0000-0000-0000-000000000001"} 10"#,
    r#"portmeter_key_transmit_bytes_total{key="00000000-0000-0000-0000-000000000002"} 2"#,
    r#"portmeter_key_receive_packets_total{key="00000000-0000-0000-0000-000000000001"} 10"#,
    r#"portmeter_key_receive_packets_total{key="00000000-0000-0000-0000-000000000002"} 2"#,
    r#"portmeter_key_transmit_packets_total{key="00000000-0000-0000-0000-000000000001"} 10"#,
    r#"portmeter_key_transmit_packets_total{key="00000000-0000-0000-0000-000000000002"} 2"#,
    r#"portmeter_key_connections{key="00000000-0000-0000-0000-000000000001"} 6"#,
    r#"portmeter_key_connections{key="00000000-0000-0000-0000-000000000002"} 0"#,
    r#"portmeter_key_connections_opened_total{key="00000000-0000-0000-0000-000000000001"} 10"#,
    r#"portmeter_key_connections_opened_total{key="00000000-0000-0000-0000-000000000002"} 2"#,
    r#"portmeter_key_info{key="00000000-0000-0000-0000-000000000001",port="10001"} 1"#,
    r#"portmeter_key_info{key="00000000-0000-0000-0000-000000000002",port=""} 1"#,
    r#"portmeter_keys{state="enabled"} 1"#,
    r#"portmeter_keys{state="disabled"} 1"#,
    r#"portmeter_unattributed_packets_total{reason="forwarded"} 7"#,
    r#"portmeter_unattributed_bytes_total{reason="forwarded"} 8"#,
    r#"portmeter_dropped_packets_total{reason="cut_off"} 9"#,
    r#"portmeter_dropped_bytes_total{reason="cut_off"} 10"#,
    "portmeter_connection_corrections_total 13",
    r#"portmeter_interfaces{state="counted"} 2"#,
    r#"portmeter_interfaces{state="failed"} 0"#,
    r#"portmeter_program_runs_total{program="portmeter_rx"} 11"#,
    r#"portmeter_program_run_seconds_total{program="portmeter_rx"} 1.5"#,
    r#"portmeter_map_entries{map="fragments"} 12"#,
    r#"portmeter_map_max_entries{map="fragments"} 16"#,
    "portmeter_ready 1",
    "portmeter_commit_failures_total 14",
    "portmeter_ledger_lag_seconds 2.5",
    "portmeter_collector_running 1",
    "portmeter_xray_drift 16",
    "portmeter_xray_running 0",
    r#"portmeter_xray_state{state="running"} 0"#,
    r#"portmeter_xray_state{state="starting"} 1"#,
    r#"portmeter_xray_state{state="down"} 0"#,
    r#"portmeter_xray_state{state="unknown"} 0"#,
    "portmeter_xray_restarts_total 15",
    "portmeter_sample_duration_seconds_count 1",
    concat!(
        r#"portmeter_build_info{version=""#,
        env!("CARGO_PKG_VERSION"),
        r#""} 1"#
    ),
];

#[test]
fn both_formats_carry_the_same_samples() {
    for format in [Format::OpenMetrics, Format::Prometheus] {
        let page = page(scrape(), format);
        let is_foretold = |line: &&str| {
            let is_histogram = line.contains("_bucket{") || line.contains("_duration_seconds_sum");
            !is_histogram && !line.starts_with("portmeter_commit_duration_seconds_count")
        };
        let found: BTreeSet<&str> = lines(&page, "portmeter_").into_iter().filter(is_foretold).collect();
        assert_eq!(found, BTreeSet::from(SAMPLES));
    }
}

/// Everything that is told is documented and guarded, in this order, and the other way round.
#[test]
fn a_page_has_every_family_that_is_documented() {
    let page = page(scrape(), Format::Prometheus);
    let told: Vec<String> = lines(&page, "# TYPE ")
        .iter()
        .filter_map(|line| line.split(' ').nth(2))
        .map(str::to_owned)
        .collect();
    let documented: Vec<String> = families().iter().map(|family| family.name()).collect();
    assert_eq!(told, documented);
}

#[test]
fn each_format_has_its_own_comments() {
    let open_metrics = page(scrape(), Format::OpenMetrics);
    assert!(
        open_metrics.starts_with("# HELP portmeter_port_receive_bytes "),
        "{open_metrics}"
    );
    assert_eq!(lines(&open_metrics, "# EOF"), ["# EOF"]);
    assert!(open_metrics.contains("# TYPE portmeter_build info\n"));
    assert!(open_metrics.contains("# UNIT portmeter_port_receive_bytes bytes\n"));

    let classic = page(scrape(), Format::Prometheus);
    assert!(
        classic.starts_with("# HELP portmeter_port_receive_bytes_total "),
        "{classic}"
    );
    assert!(classic.contains("# TYPE portmeter_build_info gauge\n"));
    assert!(!classic.contains("# EOF") && !classic.contains("# UNIT"), "{classic}");
}

#[test]
fn names_are_told_where_that_is_wanted() {
    assert!(!page(scrape(), Format::Prometheus).contains("Zoë"));
    let with_names = Scrape {
        with_key_names: true,
        ..scrape()
    };
    let page = page(with_names, Format::Prometheus);
    let row =
        r#"portmeter_key_info{key="00000000-0000-0000-0000-000000000001",port="10001",name="Zoë \"the\" first\n"} 1"#;
    assert_eq!(lines(&page, "portmeter_key_info")[0], row);
}

#[test]
fn nobody_s_core_has_no_state() {
    let mut scrape = scrape();
    scrape.core.state = None;
    let page = page(scrape, Format::Prometheus);
    assert_eq!(lines(&page, "portmeter_xray_"), ["portmeter_xray_drift 16"]);
}
