//! `cargo xtask schemathesis`: asks a real agent whatever its OpenAPI document allows, and what it does not.
//!
//! schemathesis and all that it needs are pinned (`tests/schemathesis/requirements.txt`) and live in an environment of
//! their own. The story `documented::schemathesis_finds_the_document_true` runs it, for a minute or two in
//! `cargo xtask test`, and here for as long as one likes.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{command, python, test, tools, workspace_root};

/// Tells the tests which interpreter has schemathesis.
pub(crate) const VARIABLE: &str = "PORTMETER_SCHEMATHESIS";

/// Tells the story how many cases to make.
const CASES_VARIABLE: &str = "PORTMETER_SCHEMATHESIS_CASES";

const STORY: &str = "documented::schemathesis";

/// Other versions get another folder.
const VERSION: &str = "4.32.5";

const REQUIREMENTS: &str = "tests/schemathesis/requirements.txt";

/// Options of `cargo xtask schemathesis`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many cases each phase makes for each operation; beside them are the boundaries of every value
    #[arg(long, default_value_t = 150)]
    cases: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    test::run_stories(STORY, &[(CASES_VARIABLE, arguments.cases.to_string())])
}

/// The interpreter of an environment with schemathesis, made if need be. Where it cannot be made this says why and gives
/// `None`: the story that needs it then says so too. In CI, where none may be left out, it is an error at once.
pub(crate) fn program() -> Result<Option<PathBuf>> {
    match installed() {
        Ok(interpreter) => Ok(Some(interpreter)),
        Err(error) if env::var("CI").is_ok_and(|value| value == "true") => Err(error),
        Err(error) => {
            println!("no schemathesis for the tests: {error:#}");
            Ok(None)
        }
    }
}

fn installed() -> Result<PathBuf> {
    let folder = tools::tools_folder()?.join(format!("schemathesis-{VERSION}"));
    if !is_whole(&folder) {
        println!("installing schemathesis {VERSION}");
        python::make_environment(&folder, fill).with_context(|| format!("making {}", folder.display()))?;
    }
    Ok(python::interpreter(&folder))
}

fn is_whole(environment: &Path) -> bool {
    python::can_import(environment, "schemathesis.cli")
}

fn fill(environment: &Path) -> Result<()> {
    let requirements = workspace_root().join(REQUIREMENTS);
    command::output(
        python::pip(environment, &["install", "--only-binary", ":all:", "--no-deps", "-r"]).arg(requirements),
    )?;
    ensure!(
        is_whole(environment),
        "this machine's Python cannot load what was installed"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_schemathesis_is_none() {
        assert!(!is_whole(tempfile::tempdir().unwrap().path()));
    }
}
