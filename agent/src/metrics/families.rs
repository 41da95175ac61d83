//! Every metric of the agent: its name, what it means, how its rows are told apart.
//!
//! Names are a promise: dashboards and alerts of others rest on them. A label's values are bounded by what is configured or
//! compiled in: ports, keys, reasons, programs, maps, routes, methods, codes.

use portmeter_gateway::REQUEST_FAMILIES;
use portmeter_metrics::{BUILD_FAMILIES, Family, PROCESS_FAMILIES, Unit};

use crate::grpc::CALL_FAMILIES;

/// What belongs together, under its heading.
pub(super) struct Group {
    /// The heading.
    pub(super) title: &'static str,
    /// What all of them have in common.
    pub(super) text: &'static str,
    pub(super) families: &'static [&'static Family],
}

/// Every group, in the order of a page.
pub(super) const GROUPS: [Group; 10] = [
    Group {
        title: "Ports",
        text: "A row for each port that is or was tracked, with a key or without. The figures are the kernel's own counters, \
               read at the moment of the scrape: they know no resets of keys, and go on rising when the agent is started \
               anew. They begin at zero when the maps do: after a reboot, after `portmeter uninstall`, and after a move to \
               larger maps.",
        families: &PORTS,
    },
    Group {
        title: "Keys",
        text: "A row for each key there is. A key's figures are what it has moved in its life: what the ledger has booked \
               and what the kernel has counted since. They survive reboots, know no resets, move with the key to another \
               port, and are never another key's, also where one has had the port before. `key` is the key's id; \
               `portmeter_key_info` says which port that is.",
        families: &KEYS,
    },
    Group {
        title: "Packets that are nobody's",
        text: "",
        families: &STRAYS,
    },
    Group {
        title: "Kernel programs and maps",
        text: "",
        families: &KERNEL,
    },
    Group {
        title: "The agent",
        text: "",
        families: &AGENT,
    },
    Group {
        title: "Xray",
        text: "Where nobody runs a core (`xray.mode = \"none\"`) there are no rows but that of the drift.",
        families: &XRAY,
    },
    Group {
        title: "gRPC",
        text: "",
        families: &CALL_FAMILIES,
    },
    Group {
        title: "REST",
        text: "Told by the process that serves REST: the agent, where it runs the gateway, otherwise the gateway itself.",
        families: &REQUEST_FAMILIES,
    },
    Group {
        title: "The process",
        text: "By the names that all Prometheus client libraries use.",
        families: &PROCESS_FAMILIES,
    },
    Group {
        title: "The build",
        text: "",
        families: &BUILD_FAMILIES,
    },
];

const PORTS: [&Family; 6] = [
    &PORT_RECEIVE_BYTES,
    &PORT_TRANSMIT_BYTES,
    &PORT_RECEIVE_PACKETS,
    &PORT_TRANSMIT_PACKETS,
    &PORT_CONNECTIONS,
    &PORT_CONNECTIONS_OPENED,
];
const PORT: &[&str] = &["port"];

pub(super) const PORT_RECEIVE_BYTES: Family = Family::counter(
    "portmeter_port_receive",
    "IP-layer bytes received from clients of the port",
)
.of(Unit::Bytes)
.by(PORT);
pub(super) const PORT_TRANSMIT_BYTES: Family =
    Family::counter("portmeter_port_transmit", "IP-layer bytes sent to clients of the port")
        .of(Unit::Bytes)
        .by(PORT);
pub(super) const PORT_RECEIVE_PACKETS: Family =
    Family::counter("portmeter_port_receive", "Packets received from clients of the port")
        .of(Unit::Packets)
        .by(PORT);
pub(super) const PORT_TRANSMIT_PACKETS: Family =
    Family::counter("portmeter_port_transmit", "Packets sent to clients of the port")
        .of(Unit::Packets)
        .by(PORT);
pub(super) const PORT_CONNECTIONS: Family = Family::gauge(
    "portmeter_port_connections",
    "Incoming TCP connections of the port that are not closed",
)
.by(PORT);
pub(super) const PORT_CONNECTIONS_OPENED: Family = Family::counter(
    "portmeter_port_connections_opened",
    "Incoming TCP connections of the port whose handshake was completed",
)
.by(PORT);

const KEYS: [&Family; 8] = [
    &KEY_RECEIVE_BYTES,
    &KEY_TRANSMIT_BYTES,
    &KEY_RECEIVE_PACKETS,
    &KEY_TRANSMIT_PACKETS,
    &KEY_CONNECTIONS,
    &KEY_CONNECTIONS_OPENED,
    &KEY,
    &KEY_COUNT,
];
const BY_KEY: &[&str] = &["key"];

pub(super) const KEY_RECEIVE_BYTES: Family = Family::counter(
    "portmeter_key_receive",
    "IP-layer bytes received from the key's clients",
)
.of(Unit::Bytes)
.by(BY_KEY);
pub(super) const KEY_TRANSMIT_BYTES: Family =
    Family::counter("portmeter_key_transmit", "IP-layer bytes sent to the key's clients")
        .of(Unit::Bytes)
        .by(BY_KEY);
pub(super) const KEY_RECEIVE_PACKETS: Family =
    Family::counter("portmeter_key_receive", "Packets received from the key's clients")
        .of(Unit::Packets)
        .by(BY_KEY);
pub(super) const KEY_TRANSMIT_PACKETS: Family =
    Family::counter("portmeter_key_transmit", "Packets sent to the key's clients")
        .of(Unit::Packets)
        .by(BY_KEY);
pub(super) const KEY_CONNECTIONS: Family = Family::gauge(
    "portmeter_key_connections",
    "Incoming TCP connections of the key's port that are not closed",
)
.by(BY_KEY);
pub(super) const KEY_CONNECTIONS_OPENED: Family = Family::counter(
    "portmeter_key_connections_opened",
    "Incoming TCP connections of the key whose handshake was completed",
)
.by(BY_KEY);
pub(super) const KEY: Family = Family::info("portmeter_key", "The keys and their ports")
    .by(&["key", "port", "name"])
    .noting("`port` is empty for a key that has none. `name` is there only where `metrics.key_names` is set: names are free text, often of people.");
pub(super) const KEY_COUNT: Family = Family::gauge("portmeter_keys", "Keys")
    .by(&["state"])
    .noting("`state` is `enabled` or `disabled`.");

const STRAYS: [&Family; 5] = [
    &UNATTRIBUTED_PACKETS,
    &UNATTRIBUTED_BYTES,
    &DROPPED_PACKETS,
    &DROPPED_BYTES,
    &CONNECTION_CORRECTIONS,
];
const BY_REASON: &[&str] = &["reason"];

pub(super) const UNATTRIBUTED_PACKETS: Family = Family::counter(
    "portmeter_unattributed",
    "Packets that may belong to a tracked port but cannot be attributed to one",
)
.of(Unit::Packets)
.by(BY_REASON)
.noting("`forwarded`: the local end is no address of this host. `fragment`: its first fragment was not seen. `fragment_aged`: it came so late that it may be another datagram's. `malformed`, `header_chain`: it cannot be read. `slot_missing`: the maps contradict each other.");
pub(super) const UNATTRIBUTED_BYTES: Family =
    Family::counter("portmeter_unattributed", "IP-layer bytes of those packets")
        .of(Unit::Bytes)
        .by(BY_REASON);
pub(super) const DROPPED_PACKETS: Family = Family::counter(
    "portmeter_dropped",
    "Packets that Portmeter itself has dropped since the agent started",
)
.of(Unit::Packets)
.by(BY_REASON)
.noting("`cut_off`: of connections of a key that is cut off, where the kernel cannot end them. What was dropped on its way in had arrived, and is counted for its port; what was dropped on its way out is not.");
pub(super) const DROPPED_BYTES: Family = Family::counter("portmeter_dropped", "IP-layer bytes of those packets")
    .of(Unit::Bytes)
    .by(BY_REASON);
pub(super) const CONNECTION_CORRECTIONS: Family = Family::counter(
    "portmeter_connection_corrections",
    "Connections by which the count of active ones was corrected; should stay 0",
);

const KERNEL: [&Family; 5] = [
    &INTERFACES,
    &PROGRAM_RUNS,
    &PROGRAM_RUN_TIME,
    &MAP_ENTRIES,
    &MAP_ENTRIES_MAX,
];

pub(super) const INTERFACES: Family = Family::gauge("portmeter_interfaces", "Network interfaces")
    .by(&["state"])
    .noting("`counted`, or `failed`: to be counted on, and the programs cannot be attached.");
pub(super) const PROGRAM_RUNS: Family = Family::counter(
    "portmeter_program_runs",
    "How often each kernel program has run since the agent started",
)
.by(&["program"])
.noting(
    "Only while the kernel keeps statistics (`sysctl kernel.bpf_stats_enabled=1`), which costs each run some 20 ns.",
);
pub(super) const PROGRAM_RUN_TIME: Family = Family::counter("portmeter_program_run", "How long those runs took")
    .of(Unit::Seconds)
    .by(&["program"]);
pub(super) const MAP_ENTRIES: Family = Family::gauge("portmeter_map_entries", "Entries of kernel maps that are in use")
    .by(&["map"])
    .noting("`port_counters`: ports that have or had a counter. `local_addresses_v4`, `local_addresses_v6`: this host's addresses. `fragments`: datagrams in fragments that are remembered; the kernel makes room there by itself. `blocked_connections`: connections that are cut off.");
pub(super) const MAP_ENTRIES_MAX: Family =
    Family::gauge("portmeter_map_max_entries", "Entries that the map has room for").by(&["map"]);

const AGENT: [&Family; 6] = [
    &READY,
    &SAMPLE_DURATION,
    &COMMIT_DURATION,
    &COMMIT_FAILURES,
    &LEDGER_LAG,
    &COLLECTOR_RUNNING,
];

pub(super) const READY: Family = Family::gauge(
    "portmeter_ready",
    "Whether everything is counted and booked that should be: 1 or 0",
)
.noting("What `/readyz` says.");
pub(super) const SAMPLE_DURATION: Family =
    Family::durations("portmeter_sample_duration", "Time that one sample of all ports takes");
pub(super) const COMMIT_DURATION: Family = Family::durations(
    "portmeter_commit_duration",
    "Time that one commit to the ledger takes, until it is on the disk",
)
.noting("Only commits with something in them: an idle host makes none.");
pub(super) const COMMIT_FAILURES: Family = Family::counter(
    "portmeter_commit_failures",
    "Commits to the ledger that failed; nothing is lost, the next one makes up for it",
);
pub(super) const LEDGER_LAG: Family = Family::gauge(
    "portmeter_ledger_lag",
    "Time since everything that was counted until then was last booked",
)
.of(Unit::Seconds)
.noting("It goes from 0 to `ledger.commit_interval_seconds` and back. What a power cut would lose is what was counted in this time.");
pub(super) const COLLECTOR_RUNNING: Family = Family::gauge(
    "portmeter_collector_running",
    "Whether sampling and booking by the clock go on: 1, or 0 while they are paused",
);

const XRAY: [&Family; 4] = [&XRAY_DRIFT, &XRAY_RUNNING, &XRAY_STATE, &XRAY_RESTARTS];

pub(super) const XRAY_DRIFT: Family = Family::gauge(
    "portmeter_xray_drift",
    "Enabled keys that the Xray core or its configuration file lacks, and clients in them that are no keys",
);
pub(super) const XRAY_RUNNING: Family = Family::gauge(
    "portmeter_xray_running",
    "Whether the Xray core runs and answers: 1 or 0",
);
pub(super) const XRAY_STATE: Family = Family::gauge(
    "portmeter_xray_state",
    "The state of the Xray core: 1 for the one it is in",
)
.by(&["state"])
.noting("`running`; `starting`: its API does not answer yet; `down`; `unknown`.");
pub(super) const XRAY_RESTARTS: Family =
    Family::counter("portmeter_xray_restarts", "How often the Xray core was started again");
