//! What `portmeter doctor` says of an agent.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::command;

/// One examination.
#[derive(Debug)]
pub struct Diagnosis {
    /// What a person reads.
    pub text: String,
    checks: Vec<Value>,
    /// Whether it called everything healthy, by its exit status and in JSON alike.
    pub is_healthy: bool,
}

impl Diagnosis {
    /// Has the agent examined, for people and for programs, and checks that both are told the same.
    pub fn of(agent: &Agent<'_>) -> Result<Self> {
        let run = |arguments: &[&str]| {
            let mut command = agent.doctor();
            command.args(arguments);
            agent.host().enter(|| command::output_in_time(&mut command))
        };
        let text = run(&[])?;
        let json = run(&["--json"])?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(text.stderr.is_empty(), "doctor wrote {}", said(&text.stderr));
        let body: Value = serde_json::from_slice(&json.stdout).with_context(|| said(&json.stdout))?;
        let diagnosis = Self {
            text: said(&text.stdout),
            checks: body["checks"].as_array().context("checks are no list")?.clone(),
            is_healthy: body["is_healthy"].as_bool().context("is_healthy")?,
        };
        let status = if diagnosis.is_healthy { 0 } else { 1 };
        ensure!(
            text.status.code() == Some(status) && json.status.code() == Some(status),
            "{} and {} where {status} is due:\n{}",
            text.status,
            json.status,
            diagnosis.text
        );
        diagnosis.faces_agree()?;
        Ok(diagnosis)
    }

    /// Each check has its line, and a remedy on the next where something is to be done.
    fn faces_agree(&self) -> Result<()> {
        let mut lines = self.text.lines().filter(|line| !line.starts_with(' '));
        for check in &self.checks {
            let (level, has_remedy) = match check["status"].as_str() {
                Some("ok") => ("ok", false),
                Some("warning") => ("warn", true),
                Some("error") => ("FAIL", true),
                other => anyhow::bail!("{other:?} is no status: {check}"),
            };
            let line = lines.next().with_context(|| format!("no line for {check}"))?;
            let name = check["name"].as_str().context("a check without a name")?;
            ensure!(
                line.starts_with(level) && line.contains(name),
                "{line:?} is not {check}"
            );
            ensure!(check["remedy"].is_string() == has_remedy, "{check}");
        }
        ensure!(
            self.is_healthy != self.text.contains("FAIL"),
            "the exit status and the lines differ:\n{}",
            self.text
        );
        Ok(())
    }

    /// Checks that `name` has this status and names `part`; returns the remedy.
    pub fn expect(&self, name: &str, status: &str, part: &str) -> Result<String> {
        let check = self.checks.iter().find(|check| check["name"] == name);
        let check = check.with_context(|| format!("no check {name} in\n{}", self.text))?;
        let found = check["found"].as_str().context("found")?;
        ensure!(
            check["status"] == status && found.contains(part),
            "{name} should be {status} and name {part:?}:\n{}",
            self.text
        );
        Ok(check["remedy"].as_str().unwrap_or_default().to_owned())
    }
}
