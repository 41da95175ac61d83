//! Why files cannot be imported; each text is one sentence with the way out.

/// A set of files that cannot be imported. Nothing has been changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The file is damaged or not what it looks like.
    #[error("{file}, {place}: {what}")]
    Broken {
        /// The file.
        file: String,
        /// Line, column and field.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// JSON of another kind.
    #[error(
        "{file} is none of the files that can be imported: keys.json, ports.json and traffic_history.json of the old \
         server, an Xray configuration, and what `vnstat --json` prints"
    )]
    UnknownKind {
        /// The file.
        file: String,
    },
    /// Two files of a kind that there is one of.
    #[error("{first} and {second} are both {kind}: import one after the other")]
    Twice {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// What both are.
        kind: &'static str,
    },
    /// Local times, and nobody said of which zone.
    #[error(
        "{file} has times without a zone, such as {time} ({field}): say what the clock of that machine showed, for \
         example --time-zone Europe/Berlin, or --time-zone UTC"
    )]
    TimeZoneNeeded {
        /// The file.
        file: String,
        /// One of the times.
        time: String,
        /// Where it stands.
        field: String,
    },
    /// vnStat counts an interface, and nobody said whose traffic that is.
    #[error("{file} counts the interface {interface}: name the key that its traffic belongs to with --key")]
    KeyNeeded {
        /// The file.
        file: String,
        /// vnStat's interface.
        interface: String,
    },
    /// Keys come with the other files.
    #[error("--key goes with what `vnstat --json` prints, and none of the files is that: leave it out")]
    KeyUnused,
}
