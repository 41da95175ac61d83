//! The table of settings.

use std::fmt::Write as _;

use portmeter_daemon::log::LEVELS;

use super::Given;
use super::value::{Kind, Value};

/// Whether sampling and booking go on by the clock.
pub const COLLECTOR_ENABLED: &str = "collector.enabled";
/// How much the log tells.
pub const LOG_LEVEL: &str = "log.level";
/// The TLS handshake that links have clients imitate.
pub const XRAY_FINGERPRINT: &str = "xray.fp";
/// The VLESS flow of links and inbounds.
pub const XRAY_FLOW: &str = "xray.flow";
/// The public name or address in links.
pub const XRAY_SERVER_HOST: &str = "xray.server_host";
/// The server name in links.
pub const XRAY_SNI: &str = "xray.sni";

/// The fingerprints that a core's client can imitate by a short name.
const FINGERPRINTS: &[&str] = &[
    "chrome",
    "firefox",
    "safari",
    "ios",
    "android",
    "edge",
    "360",
    "qq",
    "random",
    "randomized",
];

/// A leaf: one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Its section and name, with a point between.
    pub path: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is while nothing is stored.
    pub origin: Origin,
    /// What becomes of a new value.
    pub effect: Effect,
    /// What it means, for the documentation.
    pub meaning: &'static str,
}

/// What a leaf is while nothing is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This text.
    Text(&'static str),
    /// This number.
    Whole(u32),
    /// This.
    Switch(bool),
    /// What the configuration or the host says; the words name what.
    Given(&'static str),
}

/// What becomes of a new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// There is none: the leaf is shown and cannot be set here.
    ReadOnly,
    /// It is kept for who asks.
    Shown,
    /// Every link carries it from then on.
    Links,
    /// Links carry it and the core is told. Where no core can be told, it is the core's next start that brings it.
    Core,
    /// The collector pauses or goes on.
    Collector,
    /// The log tells more or less.
    Log,
}

const SECONDS_OF_A_DAY: u32 = 24 * 60 * 60;

/// Every setting there is, section by section.
pub const LEAVES: [Leaf; 20] = [
    shown(
        "ui.theme",
        Kind::Choice(&["dark", "light"]),
        Origin::Text("dark"),
        "The panel's colours.",
    ),
    shown(
        "ui.lang",
        Kind::Choice(&["ru", "en"]),
        Origin::Text("ru"),
        "The panel's language.",
    ),
    shown(
        "ui.realtime_mode",
        Kind::Choice(&["eco", "live"]),
        Origin::Text("eco"),
        "Whether the panel asks now and then or all the time.",
    ),
    shown(
        "ui.eco_poll_sec",
        whole(1, SECONDS_OF_A_DAY),
        Origin::Whole(300),
        "How often it asks in the mode `eco`, in seconds.",
    ),
    shown(
        "ui.live_push_sec",
        whole(1, 3600),
        Origin::Whole(5),
        "How often it asks in the mode `live`, in seconds.",
    ),
    fixed(
        "xray.service_name",
        "`xray.service`, without `.service`",
        "The systemd unit of the core.",
    ),
    fixed(
        "xray.config_path",
        "`xray.config`, without its folder",
        "The core's configuration file.",
    ),
    shown(
        "xray.inbound_tag",
        Kind::Line { most: 128 },
        Origin::Text(""),
        "A name that panels show.",
    ),
    Leaf {
        path: XRAY_SERVER_HOST,
        kind: Kind::Host,
        origin: Origin::Given("`xray.server_host`, or this host's address"),
        effect: Effect::Links,
        meaning: "The public name or address in links.",
    },
    shown(
        "xray.server_port",
        whole(1, 65_535),
        Origin::Whole(443),
        "A port that panels show; each key has its own.",
    ),
    Leaf {
        path: XRAY_SNI,
        kind: Kind::HostName,
        origin: Origin::Given("the first of `xray.server_names`"),
        effect: Effect::Core,
        meaning: "The server name in links. Inbounds accept it before the configured ones.",
    },
    Leaf {
        path: XRAY_FINGERPRINT,
        kind: Kind::Choice(FINGERPRINTS),
        origin: Origin::Text("chrome"),
        effect: Effect::Links,
        meaning: "The TLS handshake that links have clients imitate.",
    },
    Leaf {
        path: XRAY_FLOW,
        kind: Kind::Choice(&["", "xtls-rprx-vision"]),
        origin: Origin::Given("`xray.flow`"),
        effect: Effect::Core,
        meaning: "The VLESS flow of links and inbounds.",
    },
    fixed(
        "xray.reality_pbk",
        "the server's REALITY identity",
        "The public half of the server's key.",
    ),
    Leaf {
        path: COLLECTOR_ENABLED,
        kind: Kind::Switch,
        origin: Origin::Switch(true),
        effect: Effect::Collector,
        meaning: "Whether counters are sampled and booked by the clock.",
    },
    fixed(
        "collector.usage_dir",
        "`agent.data_dir`, its last part",
        "Where the ledger is.",
    ),
    Leaf {
        path: LOG_LEVEL,
        kind: Kind::Choice(&LEVELS),
        origin: Origin::Given("`log.level`"),
        effect: Effect::Log,
        meaning: "How much the log tells; at `debug` it names clients' addresses. Shown once it is set here.",
    },
    fixed("paths.data_dir", "`agent.data_dir`, its last part", "The data folder."),
    fixed(
        "paths.usage_dir",
        "`agent.data_dir`, its last part",
        "Where the ledger is.",
    ),
    fixed(
        "paths.access_log",
        "the core's configuration, without its folder",
        "The core's access log.",
    ),
];

/// The leaf at a path.
pub fn find(path: &str) -> Option<&'static Leaf> {
    LEAVES.iter().find(|leaf| leaf.path == path)
}

/// Whether some leaf is in this section.
pub(super) fn is_section(name: &str) -> bool {
    LEAVES.iter().any(|leaf| leaf.section() == name)
}

impl Leaf {
    /// The part of the path before the point.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// What the leaf is while nothing is stored. Nothing given is an empty text: all leaves of that kind are texts.
    pub fn unset(&self, given: &Given) -> Value {
        match self.origin {
            Origin::Text(text) => Value::from(text),
            Origin::Whole(number) => Value::Whole(number),
            Origin::Switch(is_on) => Value::Switch(is_on),
            Origin::Given(_) => given.0.get(self.path).cloned().unwrap_or_else(|| Value::from("")),
        }
    }
}

const fn whole(least: u32, most: u32) -> Kind {
    Kind::Whole { least, most }
}

const fn shown(path: &'static str, kind: Kind, origin: Origin, meaning: &'static str) -> Leaf {
    Leaf {
        path,
        kind,
        origin,
        effect: Effect::Shown,
        meaning,
    }
}

/// A leaf that cannot be set. Its value is a text of the configuration's or the host's.
const fn fixed(path: &'static str, source: &'static str, meaning: &'static str) -> Leaf {
    Leaf {
        path,
        kind: Kind::Line { most: usize::MAX },
        origin: Origin::Given(source),
        effect: Effect::ReadOnly,
        meaning,
    }
}

/// The table as the documentation has it.
pub fn markdown() -> String {
    let mut text =
        "| setting | value | unless it is set | takes effect | meaning |\n|---|---|---|---|---|\n".to_owned();
    for leaf in &LEAVES {
        let value = match (leaf.effect, leaf.kind) {
            (Effect::ReadOnly, _) => "read-only".to_owned(),
            (_, Kind::Choice(choices)) => {
                let choices: Vec<String> = choices.iter().map(|choice| code(choice)).collect();
                choices.join(", ")
            }
            (_, Kind::Whole { least, most }) => format!("{least} to {most}"),
            (_, Kind::Switch) => "`true`, `false`".to_owned(),
            (_, Kind::Host) => "a host name or an IP address".to_owned(),
            (_, Kind::HostName) => "a host name".to_owned(),
            (_, Kind::Line { most }) => format!("a line of at most {most} characters"),
        };
        let unset = match leaf.origin {
            Origin::Text(text) => code(text),
            Origin::Whole(number) => format!("`{number}`"),
            Origin::Switch(is_on) => format!("`{is_on}`"),
            Origin::Given(words) => words.to_owned(),
        };
        let effect = match leaf.effect {
            Effect::ReadOnly => "never here",
            Effect::Shown => "at once, in the answers",
            Effect::Links => "at once, in every link",
            Effect::Core => "at once, in links and in the core; where no core can be told, at its next start",
            Effect::Collector | Effect::Log => "at once",
        };
        let _ = writeln!(
            text,
            "| `{}` | {value} | {unset} | {effect} | {} |",
            leaf.path, leaf.meaning
        );
    }
    text
}

fn code(text: &str) -> String {
    match text {
        "" => "empty".to_owned(),
        text => format!("`{text}`"),
    }
}
