//! What every setting means, for people: the one table behind the annotated example file, the documentation, the manual
//! page, examples in error messages, and what a reload takes over.
//!
//! The programs declare the settings as types; tests hold both against each other, names, defaults and all.

mod render;
mod table;

pub use render::{example_file, markdown};
pub use table::SETTINGS;

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its section and name, with a point between.
    pub path: &'static str,
    /// What it is, or can be.
    pub value: Value,
    /// What it means, and what it may be.
    pub meaning: &'static str,
    /// When a new value counts.
    pub effect: Effect,
}

/// A setting's value, as TOML has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// The default.
    Default(&'static str),
    /// There is no default. This is an example, and `otherwise` says what counts without one.
    Unset {
        /// A value that it can have.
        example: &'static str,
        /// What counts while it has none.
        otherwise: &'static str,
    },
}

/// When a new value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A reload takes it over, without a break in anything.
    Reload,
    /// The next start does.
    Restart,
}

impl Value {
    /// The TOML text of the default or of the example.
    pub fn text(self) -> &'static str {
        match self {
            Self::Default(text) | Self::Unset { example: text, .. } => text,
        }
    }
}

impl Setting {
    /// The part of the path before the point.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// The part behind it.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("PORTMETER_{}", self.path.replace('.', "__").to_uppercase())
    }
}

/// The setting of this dotted name.
pub fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// Sections in their order, each with what it is about.
pub const SECTIONS: [(&str, &str); 11] = [
    ("agent", "The process: where it keeps its data and what it is called."),
    ("capture", "What is counted, and where."),
    (
        "http",
        "REST: of the agent with its gateway in one process, or of a gateway apart.",
    ),
    (
        "grpc",
        "gRPC. The unix socket /run/portmeter/<instance>/agent.sock is always there, for its owner alone.",
    ),
    ("metrics", "The Prometheus endpoint."),
    ("ledger", "The history."),
    ("events", "What is kept of what happened."),
    ("xray", "The Xray core."),
    (
        "panel",
        "A front end that somebody else made and runs: its state is shown, and it can be restarted.",
    ),
    ("log", "The log, on standard error."),
    ("gateway", "A gateway apart from its agent, `portmeter gateway`."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_stands_once_in_a_section_that_is_told_of() {
        let paths: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.path).collect();
        assert_eq!(paths.len(), SETTINGS.len());
        let mut order = SETTINGS.iter().map(Setting::section).collect::<Vec<_>>();
        order.dedup();
        let sections: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        assert_eq!(order, sections);
    }

    #[test]
    fn every_value_is_toml_and_every_meaning_a_sentence() {
        for setting in SETTINGS {
            let text = format!("{} = {}\n", setting.name(), setting.value.text());
            assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{}: {text}", setting.path);
            assert!(setting.meaning.ends_with(['.', '?']), "{}", setting.path);
            assert!(setting.meaning.starts_with(char::is_uppercase), "{}", setting.path);
        }
    }

    #[test]
    fn the_files_are_what_the_table_says() {
        let example = include_str!("../../../../agent/packaging/portmeter.toml");
        let expected = example_file();
        assert!(
            example == expected,
            "agent/packaging/portmeter.toml is to be:\n{expected}"
        );
        let documentation = include_str!("../../../../docs/configuration.md");
        let expected = markdown();
        assert!(
            documentation.contains(&expected),
            "docs/configuration.md is to have:\n{expected}"
        );
    }
}
