//! The settings, section by section.

use super::Effect::{Reload, Restart};
use super::Value::{Default, Unset};
use super::{Effect, Setting, Value};

const fn setting(path: &'static str, value: Value, effect: Effect, meaning: &'static str) -> Setting {
    Setting {
        path,
        value,
        meaning,
        effect,
    }
}

/// A value without a default.
const fn unset(example: &'static str, otherwise: &'static str) -> Value {
    Unset { example, otherwise }
}

/// Every setting there is.
pub const SETTINGS: &[Setting] = &[
    setting(
        "agent.data_dir",
        Default(r#""/var/lib/portmeter""#),
        Restart,
        "Folder of the ledger, of an API key made at the first start, and of the core's configuration. Under systemd another \
         one has to be named in ReadWritePaths= too.",
    ),
    setting(
        "agent.instance",
        Default(r#""default""#),
        Restart,
        "Name of this agent among others on the machine, 1 to 32 of a-z, 0-9 and -. Its pins, socket and lock lie in folders \
         of this name.",
    ),
    setting(
        "capture.interfaces",
        Default(r#""auto""#),
        Reload,
        "Interfaces to count on, a list of names, or \"auto\": every one that owns an IP address, followed while running. Of \
         those that see the same packets one is counted on: the parent of VLAN, macvlan and ipvlan devices, the bridge or bond \
         and not its ports.",
    ),
    setting(
        "capture.ports",
        Default(r#""10001-10100""#),
        Restart,
        "Ports to count and to give to keys, ranges and single ones; as many keys as ports, at most 32,768; none that \
         Portmeter itself listens on.",
    ),
    setting(
        "capture.hook",
        Default(r#""auto""#),
        Restart,
        "How programs are attached: \"tcx\" (Linux 6.6 and later), \"clsact\", \"auto\" for the better one that this kernel \
         has, or \"xdp\": what is received is counted in the drivers.",
    ),
    setting(
        "capture.kernel_log",
        Default("true"),
        Restart,
        "Whether the kernel programs tell of rare events (packets that cannot be read, full tables), each at most every ten \
         seconds.",
    ),
    setting(
        "http.listen",
        Default(r#""127.0.0.1:8000""#),
        Restart,
        "Address of REST. Under systemd a port below 1024 takes CAP_NET_BIND_SERVICE in a drop-in.",
    ),
    setting(
        "http.api_key_file",
        unset(
            r#""/etc/portmeter/other.key""#,
            "PORTMETER_API_KEY, or the credential portmeter.api-key, or one made at the first start",
        ),
        Restart,
        "File with the API key, 16 characters or more, readable for the user that the agent runs as.",
    ),
    setting(
        "http.panel_auth",
        Default(r#""key""#),
        Reload,
        "Whether the panel's routes need the API key (\"key\") or answer anybody (\"open\").",
    ),
    setting(
        "http.allow_open_panel_on_network",
        Default("false"),
        Reload,
        "Allows an open panel on an address that is not loopback.",
    ),
    setting(
        "http.public_url",
        unset(r#""https://vpn.example.com""#, "subscription addresses are paths alone"),
        Reload,
        "Where clients reach the gateway: what subscription addresses begin with.",
    ),
    setting(
        "http.tls",
        Default(r#""off""#),
        Restart,
        "Whether REST speaks TLS: \"off\", \"self-signed\" with a certificate made at the first start, \"files\" with your \
         own.",
    ),
    setting(
        "http.tls_certificate",
        unset(r#""/etc/portmeter/fullchain.pem""#, "none"),
        Restart,
        "The certificate in PEM form, with those between it and a root, for tls = \"files\". Its contents are read again when \
         they change, and at a reload.",
    ),
    setting(
        "http.tls_key",
        unset(r#""/etc/portmeter/privkey.pem""#, "none"),
        Restart,
        "Its private key, readable for the user that the agent runs as.",
    ),
    setting(
        "http.connections_max",
        Default("512"),
        Restart,
        "Most connections at a time, 1 to 1,000,000; beyond it those that wait longest are closed. Never more than open files \
         allow.",
    ),
    setting(
        "http.head_bytes_max",
        Default("32768"),
        Restart,
        "The largest request head in bytes, 8,192 to 1,048,576.",
    ),
    setting(
        "http.head_timeout_seconds",
        Default("60"),
        Restart,
        "How long a request head may take and a kept connection may be quiet, 1 to 3,600 seconds.",
    ),
    setting(
        "http.request_timeout_seconds",
        Default("60"),
        Restart,
        "How long an answer may take, 1 to 3,600 seconds.",
    ),
    setting(
        "http.failed_keys_per_minute",
        Default("1000"),
        Reload,
        "How many wrong API keys one address may send a minute over REST, and as many over gRPC, before further ones are \
         refused unseen; 0: any number. The right key is never refused.",
    ),
    setting(
        "grpc.listen",
        Default(r#""127.0.0.1:50051""#),
        Restart,
        "Address of gRPC over TCP.",
    ),
    setting(
        "grpc.tls",
        Default(r#""off""#),
        Restart,
        "Whether gRPC over TCP speaks TLS: \"off\", \"self-signed\", \"files\"; see http.tls.",
    ),
    setting(
        "grpc.tls_certificate",
        unset(r#""/etc/portmeter/agent.pem""#, "none"),
        Restart,
        "The certificate, for tls = \"files\".",
    ),
    setting(
        "grpc.tls_key",
        unset(r#""/etc/portmeter/agent-key.pem""#, "none"),
        Restart,
        "Its private key.",
    ),
    setting(
        "grpc.client_ca",
        unset(r#""/etc/portmeter/ca.pem""#, "clients need no certificate"),
        Restart,
        "The authority of which every client must show a certificate, beside the API key.",
    ),
    setting(
        "grpc.connections_max",
        Default("512"),
        Restart,
        "Most connections over TCP at a time, 1 to 1,000,000; beyond it those without the API key are closed.",
    ),
    setting(
        "metrics.listen",
        Default(r#""127.0.0.1:9435""#),
        Restart,
        "Address of the Prometheus endpoint, which needs no key.",
    ),
    setting(
        "metrics.allow_on_network",
        Default("false"),
        Reload,
        "Allows an address that is not loopback.",
    ),
    setting(
        "metrics.key_names",
        Default("false"),
        Reload,
        "Whether keys are told by their names too, and not by their ids alone.",
    ),
    setting(
        "ledger.commit_interval_seconds",
        Default("5"),
        Reload,
        "How often what was counted is committed, 1 to 60 seconds: what a power cut can lose. Nothing else loses anything.",
    ),
    setting(
        "ledger.time_zone",
        Default(r#""UTC""#),
        Restart,
        "IANA zone of days and months, such as \"Europe/Berlin\". A change counts from then on and rewrites nothing.",
    ),
    setting(
        "ledger.minute_retention_hours",
        Default("48"),
        Reload,
        "How long minutes are kept, in hours.",
    ),
    setting(
        "ledger.hour_retention_days",
        Default("60"),
        Reload,
        "How long hours are kept, in days; not less than minutes.",
    ),
    setting(
        "ledger.day_retention_days",
        Default("730"),
        Reload,
        "How long days are kept, in days; not less than hours. Months and totals are kept for ever.",
    ),
    setting(
        "events.retention_days",
        Default("90"),
        Reload,
        "How long events are kept, 1 to 36,500 days.",
    ),
    setting(
        "events.count_max",
        Default("100000"),
        Reload,
        "Most events that are kept, 1,000 to 10,000,000; the oldest go first.",
    ),
    setting(
        "xray.mode",
        unset(
            r#""supervised""#,
            "\"supervised\" where the binary is found, otherwise \"none\"",
        ),
        Restart,
        "Who runs the core: the agent (\"supervised\"), systemd (\"systemd\"), or nobody (\"none\", files only).",
    ),
    setting(
        "xray.binary",
        Default(r#""xray""#),
        Restart,
        "The core, a path or a name looked up in PATH. Its folder has to be one that the agent's user can read.",
    ),
    setting(
        "xray.config",
        unset(r#""/usr/local/etc/xray/config.json""#, "`<data_dir>/xray/config.json`"),
        Restart,
        "The core's configuration file, with its backups beside it in backups/. Under systemd a folder elsewhere than in \
         data_dir has to be named in ReadWritePaths= too.",
    ),
    setting(
        "xray.server_host",
        unset(r#""vpn.example.com""#, "the source address of the default route"),
        Reload,
        "The public name or address in links.",
    ),
    setting(
        "xray.dest",
        Default(r#""www.microsoft.com:443""#),
        Reload,
        "The TLS 1.3 server that REALITY borrows its handshake from, with its port.",
    ),
    setting(
        "xray.server_names",
        Default(r#"["www.microsoft.com"]"#),
        Reload,
        "Server names that REALITY accepts; links carry the first.",
    ),
    setting(
        "xray.flow",
        Default(r#""xtls-rprx-vision""#),
        Reload,
        "The VLESS flow in inbound and link alike; \"\": none.",
    ),
    setting(
        "xray.max_time_diff_seconds",
        Default("600"),
        Reload,
        "How far a client's clock may be off, in seconds; 0 switches the check off.",
    ),
    setting(
        "xray.listen",
        unset(r#""192.0.2.1""#, "all addresses"),
        Restart,
        "The address that keys' inbounds listen on.",
    ),
    setting(
        "xray.reality_identity",
        Default(r#""server""#),
        Restart,
        "Whether all keys share one REALITY identity (\"server\") or each new one gets its own (\"key\").",
    ),
    setting(
        "xray.stop_with_agent",
        Default("false"),
        Reload,
        "Whether a supervised core is stopped with the agent; otherwise it goes on and the next start takes it up.",
    ),
    setting(
        "xray.access_log",
        Default("false"),
        Restart,
        "Whether the domains that keys connect to are recorded, from the core's access log: what people visit. Switched off, \
         the next start removes the record.",
    ),
    setting(
        "xray.access_log_retention_days",
        Default("30"),
        Restart,
        "How many days of that are kept, today included.",
    ),
    setting(
        "xray.api_listen",
        Default(r#""127.0.0.1:9436""#),
        Restart,
        "Address of the core's own API.",
    ),
    setting(
        "xray.service",
        Default(r#""xray.service""#),
        Restart,
        "The core's systemd unit, for mode \"systemd\".",
    ),
    setting(
        "panel.url",
        unset(r#""http://127.0.0.1:3000""#, "none"),
        Reload,
        "Where the front end answers, in plain HTTP.",
    ),
    setting(
        "panel.service",
        unset(r#""panel.service""#, "it cannot be restarted from here"),
        Reload,
        "Its systemd unit.",
    ),
    setting(
        "log.level",
        Default(r#""info""#),
        Reload,
        "How much is told: \"error\", \"warn\", \"info\", \"debug\" (with clients' addresses), \"trace\", \"off\", or \
         directives such as \"info,portmeter::network=debug\". PORTMETER_LOG is short for its variable.",
    ),
    setting(
        "log.format",
        Default(r#""auto""#),
        Restart,
        "What a line looks like: \"human\", \"json\", or \"auto\": for people on a terminal, JSON otherwise.",
    ),
    setting(
        "gateway.agent",
        Default(r#""127.0.0.1:50051""#),
        Restart,
        "The agent: HOST:PORT, http://HOST:PORT, https://HOST:PORT, or unix:/absolute/path.",
    ),
    setting(
        "gateway.agent_ca",
        unset(r#""/etc/portmeter/ca.pem""#, "none, and no https"),
        Restart,
        "The certificate authority of an agent at https, or its self-signed certificate.",
    ),
    setting(
        "gateway.agent_certificate",
        unset(r#""/etc/portmeter/gateway.pem""#, "none"),
        Restart,
        "The certificate to show to an agent that asks for one (grpc.client_ca).",
    ),
    setting(
        "gateway.agent_key",
        unset(r#""/etc/portmeter/gateway-key.pem""#, "none"),
        Restart,
        "Its private key.",
    ),
    setting(
        "gateway.metrics_listen",
        unset(r#""127.0.0.1:9437""#, "none"),
        Restart,
        "Address of a Prometheus endpoint of the gateway's own, which needs no key.",
    ),
    setting(
        "gateway.allow_metrics_on_network",
        Default("false"),
        Reload,
        "Allows an address that is not loopback.",
    ),
];
