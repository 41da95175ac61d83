//! Which checks there are, and what each is made of.

use super::{Check, Status, Verdict};
use crate::doctor::{Level, Report};

/// A check as it is known before it has run.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    description: &'static str,
    pub(super) source: Source,
}

/// Where a result comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// The doctor's findings about these subjects.
    Doctor(&'static [&'static str]),
    /// What the agent knows of itself.
    Inside(Inside),
}

/// What only the agent can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    Configuration,
    Ports,
    Storage,
    Sampling,
    Xray,
    XrayKeys,
}

/// Every check, in the order they are run and listed.
pub(super) const CATALOGUE: [Kind; 19] = [
    inside(
        "configuration",
        "The settings as the next start would read them",
        Inside::Configuration,
    ),
    inside(
        "ports",
        "Every enabled key has a port of the configured ones",
        Inside::Ports,
    ),
    inside(
        "storage",
        "What is counted can be written to the ledger",
        Inside::Storage,
    ),
    inside("sampling", "Counters are read every second", Inside::Sampling),
    inside("xray", "The core runs and answers", Inside::Xray),
    inside(
        "xray_keys",
        "The core and its configuration file have every key and no other",
        Inside::XrayKeys,
    ),
    doctor("agent", "The agent is ready and books", &["agent", "addresses"]),
    doctor("rights", "The agent may load and attach programs", &["rights"]),
    doctor(
        "kernel",
        "The kernel has what exact counting takes",
        &["kernel", "hook", "btf", "adoption", "loading"],
    ),
    doctor(
        "cutting_off",
        "Connections of a key that is cut off can be ended",
        &["cutting off"],
    ),
    doctor("bpffs", "The file system of pins is the agent's own", &["bpffs"]),
    doctor("interfaces", "The interfaces to count on are there", &["interfaces"]),
    doctor(
        "maps",
        "The counters are pinned, and this ledger books them",
        &["maps", "booking", "slots"],
    ),
    doctor(
        "unattributed",
        "Packets of tracked ports can be attributed",
        &["unattributed"],
    ),
    doctor(
        "programs",
        "The programs are attached, and nobody's are in their way",
        &["programs", "order"],
    ),
    doctor(
        "connections",
        "Connections are counted as they open and close",
        &["cgroup", "connections"],
    ),
    doctor(
        "ledger",
        "The ledger is whole, and there is room on its disk",
        &["ledger", "disk"],
    ),
    doctor(
        "clock",
        "The clock is right and is kept right",
        &["clock", "synchronisation"],
    ),
    doctor(
        "listeners",
        "Nobody but the core is on tracked ports",
        &["ephemeral ports", "listeners"],
    ),
];

const fn inside(name: &'static str, description: &'static str, inside: Inside) -> Kind {
    Kind {
        name,
        description,
        source: Source::Inside(inside),
    }
}

const fn doctor(name: &'static str, description: &'static str, subjects: &'static [&'static str]) -> Kind {
    Kind {
        name,
        description,
        source: Source::Doctor(subjects),
    }
}

impl Kind {
    /// The check before it has run.
    pub(super) fn not_run(&self) -> Check {
        Check {
            name: self.name,
            description: self.description,
            status: Status::NotRun,
            output: String::new(),
            last_run_at: None,
        }
    }
}

/// The checks of these names in the catalogue's order, or all; otherwise the first name that none has.
pub(super) fn select(names: &[String]) -> Result<Vec<&'static Kind>, &str> {
    if let Some(unknown) = names
        .iter()
        .find(|name| CATALOGUE.iter().all(|kind| kind.name != **name))
    {
        return Err(unknown);
    }
    let is_wanted = |kind: &&Kind| names.is_empty() || names.iter().any(|name| name == kind.name);
    Ok(CATALOGUE.iter().filter(is_wanted).collect())
}

/// The worst of the findings about these subjects, and all of them as sentences.
pub(super) fn verdict(report: &Report, subjects: &[&str]) -> Verdict {
    let findings = report.findings.iter().filter(|finding| {
        let is_about = |subject: &&str| finding.name.strip_prefix(subject).is_some_and(is_end);
        subjects.iter().any(is_about)
    });
    let mut verdict = Verdict {
        status: Status::NotRun,
        lines: Vec::new(),
    };
    for finding in findings {
        verdict.status = verdict.status.max(match finding.level {
            Level::Ok => Status::Passed,
            Level::Warning => Status::Warning,
            Level::Error => Status::Failed,
        });
        verdict.lines.push(format!("{}: {}", finding.name, finding.found));
        if let Some(remedy) = &finding.remedy {
            verdict.lines.push(format!("→ {remedy}"));
        }
    }
    match verdict.status {
        Status::NotRun => Verdict::new(Status::Error, "it could not be looked at"),
        _ => verdict,
    }
}

/// Whether a subject ends before this: a finding may name its interface after it.
fn is_end(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Finding;

    #[test]
    fn names_are_words_of_a_query_and_unlike() {
        let mut names: Vec<&str> = CATALOGUE.iter().map(|kind| kind.name).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    #[test]
    fn a_selection_is_all_or_those_of_the_names() {
        assert_eq!(select(&[]).unwrap().len(), CATALOGUE.len());
        let names = ["kernel".to_owned(), "ports".to_owned(), "kernel".to_owned()];
        let selected: Vec<&str> = select(&names).unwrap().iter().map(|kind| kind.name).collect();
        assert_eq!(selected, ["ports", "kernel"]);
        assert_eq!(
            select(&["ports".to_owned(), "Kernel".to_owned()]).unwrap_err(),
            "Kernel"
        );
    }

    #[test]
    fn the_worst_finding_decides_and_all_are_told() {
        let report = Report {
            findings: vec![
                Finding::ok("order eth0", "first"),
                Finding::warning("order lo", "second", "move it"),
                Finding::error("orders", "another subject", "no"),
                Finding::error("agent", "another", "no"),
            ],
        };
        let found = verdict(&report, &["programs", "order"]);
        assert_eq!(found.status, Status::Warning);
        assert_eq!(found.lines, ["order eth0: first", "order lo: second", "→ move it"]);
        assert_eq!(verdict(&report, &["agent"]).status, Status::Failed);
        assert_eq!(verdict(&report, &["maps"]).status, Status::Error);
    }
}
