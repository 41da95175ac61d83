//! What is wrong with a configuration, in sentences that name the setting, where it was set, and the way out.

use std::fmt;
use std::path::PathBuf;

use figment::error::Kind;

use super::reference;

/// How alike two names must be for one to be taken for the other, by Jaro and Winkler: a letter more, less or exchanged.
const LIKENESS_MIN: f64 = 0.85;

/// A value that has the right type and cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The setting's dotted name.
    pub setting: String,
    /// One sentence that begins with it and ends with the way out.
    pub sentence: String,
}

impl Invalid {
    /// `predicate` goes on after the setting's name: `is 0; keep at least 1`.
    pub fn new(setting: impl Into<String>, predicate: impl fmt::Display) -> Self {
        let setting = setting.into();
        Self {
            sentence: format!("`{setting}` {predicate}"),
            setting,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

/// Where a setting was set; the file's first, line by line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the file.
    File { path: PathBuf, line: Option<usize> },
    /// In the environment, by this variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(formatter, "{}, line {line}", path.display()),
            Self::File { path, line: None } => write!(formatter, "{}", path.display()),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `None` where a flag has set it, or nothing.
    pub(super) place: Option<Place>,
    pub(super) sentence: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(formatter, "{place}: {}", self.sentence),
            None => formatter.write_str(&self.sentence),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The named file cannot be read.
    #[error("the configuration file {} cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Values are unknown, of the wrong type or unusable; at least one.
    #[error("the configuration is wrong: {}", summary(.0))]
    Wrong(Vec<Problem>),
}

impl ConfigError {
    /// Of problems, which come in the order in which somebody mends them: the file's line by line, then what is in the
    /// environment, then what is wrong with a flag or a default beside those.
    pub(super) fn wrong(mut problems: Vec<Problem>) -> Self {
        let order = |problem: &Problem| (problem.place.is_none(), problem.place.clone());
        problems.sort_by_key(order);
        Self::Wrong(problems)
    }

    /// Everything that is wrong, one sentence each.
    pub fn sentences(&self) -> Vec<String> {
        match self {
            Self::File { .. } => vec![self.to_string()],
            Self::Wrong(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The first one whole: a start says one sentence.
fn summary(problems: &[Problem]) -> String {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    match problems.len() {
        0 | 1 => first,
        count => format!("{first} (and {} more: `portmeter check-config` tells all)", count - 1),
    }
}

/// One sentence of a value that serde cannot read, naming the setting.
pub(super) fn sentence(error: &figment::Error) -> (String, String) {
    let setting = error.path.join(".");
    let example = || match reference::find(&setting) {
        Some(known) => format!("; write for example `{} = {}`", known.name(), known.value.text()),
        None => String::new(),
    };
    let what = match &error.kind {
        Kind::UnknownField(name, known) => unknown(&setting, name, known),
        Kind::UnknownVariant(value, known) => {
            let choices: Vec<String> = known.iter().map(|one| format!("\"{one}\"")).collect();
            let meant = nearest(value, known).map(|name| format!("; did you mean \"{name}\"?"));
            format!(
                "\"{}\" is none of {}{}",
                value.escape_debug(),
                choices.join(", "),
                meant.unwrap_or_default()
            )
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("found {found}, expected {expected}{}", example())
        }
        Kind::Message(text) if text.contains("; ") => text.clone(),
        kind => format!("{kind}{}", example()),
    };
    // An arrow of a library's message, or a value of several lines, must not break the line.
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    (setting.clone(), format!("`{setting}`: {what}"))
}

/// What is said of a name that no setting has.
fn unknown(setting: &str, name: &str, known: &[&str]) -> String {
    let section = setting.rsplit_once('.').map(|(section, _)| section);
    let what = match section {
        Some(_) => "there is no such setting",
        None => "there is no such section",
    };
    match nearest(name, known) {
        Some(meant) => match section {
            Some(section) => format!("{what}; did you mean `{section}.{meant}`?"),
            None => format!("{what}; did you mean [{meant}]?"),
        },
        None => format!("{what}; there are {}", known.join(", ")),
    }
}

/// The known name that was probably meant.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let alike = known.iter().map(|known| (strsim::jaro_winkler(&name, known), *known));
    let best = alike.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_recognized() {
        let known = ["listen", "panel_auth", "public_url", "connections_max"];
        for (name, meant) in [
            ("lissten", Some("listen")),
            ("Listen", Some("listen")),
            ("panelauth", Some("panel_auth")),
            ("connection_max", Some("connections_max")),
            ("colour", None),
        ] {
            assert_eq!(nearest(name, &known), meant, "{name}");
        }
    }

    #[test]
    fn a_start_says_one_sentence_and_how_many_there_are() {
        let problem = |line| Problem {
            place: Some(Place::File {
                path: "/f".into(),
                line: Some(line),
            }),
            sentence: "`a.b` is 0; keep at least 1".to_owned(),
        };
        let one = ConfigError::Wrong(vec![problem(3)]);
        assert_eq!(
            one.to_string(),
            "the configuration is wrong: /f, line 3: `a.b` is 0; keep at least 1"
        );
        let three = ConfigError::Wrong(vec![problem(3), problem(4), problem(5)]);
        assert!(three.to_string().contains("(and 2 more"), "{three}");
        assert_eq!(three.sentences()[2], "/f, line 5: `a.b` is 0; keep at least 1");
    }
}
