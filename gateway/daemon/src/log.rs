//! The log: one line for each event, on standard error. For people on a terminal, JSON otherwise. How much is told can be
//! changed while the process runs.
//!
//! `info` is for what an operator wants to have read afterwards, `warn` for what somebody should look at, `error` for what
//! has failed; addresses of clients stand at `debug` and below, secrets nowhere. Libraries speak at `info` at most unless
//! they are named, since nobody here has looked at what they would tell.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{self as formats, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::configuration::text;

/// The levels that one word names, the quietest first.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// What the migration library says of a fresh database is of no use to an operator.
const QUIET_LIBRARY: &str = "rusqlite_migration=warn";

/// `[log]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How much is told.
    pub level: LogLevel,
    /// What a line looks like.
    #[serde(deserialize_with = "text::choice")]
    pub format: LogFormat,
}

/// What a line looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people where standard error is a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object.
    Json,
}

impl LogFormat {
    fn is_json(self, is_terminal: bool) -> bool {
        match self {
            Self::Auto => !is_terminal,
            Self::Human => false,
            Self::Json => true,
        }
    }
}

/// How much is told: one of [`LEVELS`], `off`, or directives such as `info,portmeter::network=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(String);

/// The text is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{}\" is no level: use error, warn, info, debug or trace, or directives such as \"info,portmeter::network=debug\"",
    .0.escape_debug()
)]
pub struct InvalidLogLevel(String);

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogLevel {
    type Err = InvalidLogLevel;

    fn from_str(text: &str) -> Result<Self, InvalidLogLevel> {
        let text = text.trim();
        let is_word = LEVELS.contains(&text) || text == "off";
        // A single word that is no level would be the name of a part that does not exist.
        let has_level = text.contains('=') || text.split(',').any(|part| LEVELS.contains(&part.trim()));
        let is_usable = is_word || (has_level && EnvFilter::try_new(text).is_ok());
        match is_usable {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidLogLevel(text.to_owned())),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for LogLevel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::string(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl LogLevel {
    fn directives(&self) -> String {
        match self.0.as_str() {
            quiet @ ("off" | "error" | "warn") => quiet.to_owned(),
            "info" => format!("info,{QUIET_LIBRARY}"),
            // Every part of Portmeter has a name that begins so.
            talkative @ ("debug" | "trace") => format!("info,portmeter={talkative},{QUIET_LIBRARY}"),
            directives => directives.to_owned(),
        }
    }

    fn filter(&self) -> EnvFilter {
        EnvFilter::new(self.directives())
    }
}

/// The log that runs; a clone is the same one.
#[derive(Clone)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Starts logging; once in a process.
pub fn start(config: &LogConfig) -> Log {
    let (filter, handle) = reload::Layer::new(config.level.filter());
    let registry = tracing_subscriber::registry().with(filter);
    let is_terminal = io::stderr().is_terminal();
    match config.format.is_json(is_terminal) {
        true => registry.with(json(io::stderr)).init(),
        false => registry.with(human(io::stderr, is_terminal)).init(),
    }
    Log { filter: handle }
}

impl Log {
    /// Tells this much from now on.
    pub fn set_level(&self, level: &LogLevel) {
        // Fails only where the log is gone, and then there is nobody to tell.
        let _ = self.filter.reload(level.filter());
    }
}

fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    formats::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
}

fn human<S, W>(writer: W, has_colours: bool) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let fields = debug_fn(|writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let text = one_line(&format!("{value:?}"));
        match field.name() {
            "message" => writer.write_str(&text),
            name => write!(writer, "{name}={text}"),
        }
    });
    formats::layer()
        .with_target(false)
        .with_ansi(has_colours)
        .fmt_fields(fields.delimited(" "))
        .with_writer(writer)
}

/// What other programs say may have lines and colours of its own; an event is one line of ours.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split(|letter: char| letter.is_control()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn level(text: &str) -> LogLevel {
        text.parse().unwrap()
    }

    #[test]
    fn a_level_is_a_word_or_directives() {
        for text in [
            "error",
            "debug",
            "off",
            " info ",
            "info,portmeter::network=debug",
            "portmeter=trace",
        ] {
            assert_eq!(level(text).to_string(), text.trim());
        }
        for text in ["", "verbose", "portmeter", "info,portmeter=loud", "debug extra", "="] {
            let error = text.parse::<LogLevel>().unwrap_err().to_string();
            assert!(error.contains("use error, warn, info, debug or trace"), "{error}");
        }
    }

    #[test]
    fn libraries_stay_at_info_unless_they_are_named() {
        assert_eq!(
            level("debug").directives(),
            "info,portmeter=debug,rusqlite_migration=warn"
        );
        assert_eq!(level("warn").directives(), "warn");
        assert_eq!(level("h2=debug").directives(), "h2=debug");
    }

    #[test]
    fn json_is_for_programs_unless_something_else_is_said() {
        let is_json = |format: LogFormat| [format.is_json(true), format.is_json(false)];
        assert_eq!(is_json(LogFormat::Auto), [false, true]);
        assert_eq!(is_json(LogFormat::Human), [false, false]);
        assert_eq!(is_json(LogFormat::Json), [true, true]);
    }

    /// Two events, one of them with text of several lines, and the level in between changed.
    fn tell(is_json: bool) -> String {
        let sink = Sink::default();
        let writer = {
            let sink = sink.clone();
            move || sink.clone()
        };
        let (filter, handle) = reload::Layer::new(level("info").filter());
        let log = Log { filter: handle };
        let registry = tracing_subscriber::registry().with(filter);
        let events = || {
            tracing::debug!("too quiet");
            tracing::info!(target: "portmeter", port = 7, error = %"a\nb\u{1b}[0m", "it has\nhappened");
            log.set_level(&level("debug"));
            tracing::debug!(target: "portmeter", "loud enough");
            tracing::debug!(target: "h2", "a library's");
        };
        match is_json {
            true => tracing::subscriber::with_default(registry.with(json(writer)), events),
            false => tracing::subscriber::with_default(registry.with(human(writer, false)), events),
        }
        sink.text()
    }

    #[test]
    fn an_event_is_one_line_for_people() {
        let text = tell(false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].ends_with("INFO it has happened port=7 error=a b [0m"),
            "{text}"
        );
        assert!(lines[1].ends_with("DEBUG loud enough"), "{text}");
    }

    #[test]
    fn an_event_is_one_object_for_programs() {
        let text = tell(true);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!((&lines[0]["port"], &lines[0]["level"]), (&7.into(), &"INFO".into()));
        assert_eq!(lines[0]["message"], "it has\nhappened");
        assert_eq!(lines[1]["message"], "loud enough");
    }
}
