//! The units that the product ships, read as systemd reads them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where they lie in the workspace.
const FOLDER: &str = "../agent/packaging";

/// A unit's settings.
#[derive(Debug)]
pub struct UnitFile {
    path: PathBuf,
    /// Names and values, in the order of the file.
    settings: Vec<(String, String)>,
}

impl UnitFile {
    /// The unit of this name, for example `portmeter.service`.
    pub fn read(name: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let lines = text.lines().filter(|line| !line.starts_with(['#', ';', '[']));
        let settings = lines.filter_map(|line| line.split_once('='));
        Ok(Self {
            path,
            settings: settings
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .collect(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The words of a setting that is a list: each assignment adds to it, an empty one begins it anew.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let mut words = Vec::new();
        for (_, value) in self.settings.iter().filter(|(found, _)| found == name) {
            match value.as_str() {
                "" => words.clear(),
                value => words.extend(value.split_whitespace()),
            }
        }
        words
    }

    /// Every value of a setting.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let found = self.settings.iter().filter(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// The last value of a setting.
    pub fn value(&self, name: &str) -> Result<&str> {
        let value = self.values(name).last().copied();
        value.with_context(|| format!("{} has no {name}=", self.path.display()))
    }
}
