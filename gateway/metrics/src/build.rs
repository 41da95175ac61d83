//! Which build runs.

use std::fmt;

use crate::{Family, Page, Value};

/// What is told of the build.
pub const BUILD_FAMILIES: [&Family; 1] = [&BUILD];

const BUILD: Family = Family::info("portmeter_build", "The running build").by(&["version"]);

/// The running build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// Its version.
    pub version: &'static str,
}

impl Build {
    /// Writes [`BUILD_FAMILIES`].
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.family(&BUILD)?.info([Value::Text(self.version)])
    }
}
