//! What the doctor says: for people a line each, as JSON for programs.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it must be.
    Ok,
    /// Worth knowing; counting goes on.
    Warning,
    /// Figures are wrong or will be, or the next start fails.
    Error,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// How bad it is.
    #[serde(rename = "status")]
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What helps; nothing where all is well.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            level: Level::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    /// Something is worth knowing.
    pub fn warning(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            remedy: Some(remedy.into()),
            ..Self::ok(name, found)
        }
    }

    /// Something is wrong.
    pub fn error(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Error,
            ..Self::warning(name, found, remedy)
        }
    }
}

/// All findings of one examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The findings, in the order they were looked for.
    pub findings: Vec<Finding>,
}

/// [`Report`] as JSON has it.
#[derive(Serialize)]
struct Json<'a> {
    checks: &'a [Finding],
    is_healthy: bool,
}

impl Report {
    /// Whether nothing is wrong; warnings are not.
    pub fn is_healthy(&self) -> bool {
        self.count(Level::Error) == 0
    }

    /// The report as JSON, ending in a line break.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let json = Json {
            checks: &self.findings,
            is_healthy: self.is_healthy(),
        };
        Ok(serde_json::to_string_pretty(&json)? + "\n")
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.findings.iter().map(|finding| finding.name.chars().count());
        let width = names.max().unwrap_or_default();
        for finding in &self.findings {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warn",
                Level::Error => "FAIL",
            };
            // Names of programs and interfaces are anybody's text: they must not steer the terminal.
            let found = printable(&finding.found);
            writeln!(formatter, "{level:<4}  {:<width$}  {found}", printable(&finding.name))?;
            if let Some(remedy) = &finding.remedy {
                writeln!(formatter, "{:<4}  {:<width$}  → {}", "", "", printable(remedy))?;
            }
        }
        let (errors, warnings) = (self.count(Level::Error), self.count(Level::Warning));
        match (errors, warnings) {
            (0, 0) => writeln!(formatter, "all is well"),
            (0, _) => writeln!(formatter, "nothing is wrong; warnings: {warnings}"),
            _ => writeln!(formatter, "wrong: {errors}; warnings: {warnings}"),
        }
    }
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { '?' } else { character })
        .collect()
}

/// A few of many, as people read them: `a, b, c and 4 more`.
pub(super) fn some_of<T: fmt::Display>(items: &[T]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    match items.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_lines_and_programs_read_json() {
        let report = Report {
            findings: vec![
                Finding::ok("store", "whole"),
                Finding::error("order eth0", "\u{1b}[2J runs first", "move it"),
            ],
        };
        assert_eq!(
            report.to_string(),
            "ok    store       whole\nFAIL  order eth0  ?[2J runs first\n                  → move it\nwrong: 1; warnings: 0\n"
        );
        let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        assert_eq!(json["is_healthy"], false);
        assert_eq!(json["checks"][0]["status"], "ok");
        assert_eq!(json["checks"][0]["remedy"], serde_json::Value::Null);
        assert_eq!(json["checks"][1]["status"], "error");
    }

    #[test]
    fn warnings_are_not_wrong() {
        let report = Report {
            findings: vec![Finding::warning("clock", "free", "steer it")],
        };
        assert!(report.is_healthy());
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(some_of(&[1, 2]), "1, 2");
        assert_eq!(
            some_of(&(1..=10).collect::<Vec<_>>()),
            "1, 2, 3, 4, 5, 6, 7, 8 and 2 more"
        );
    }
}
