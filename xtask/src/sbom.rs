//! `cargo xtask sbom`: the list of everything that the program is made of, as CycloneDX, by a pinned cargo-cyclonedx.
//!
//! The tool writes its lists into the sources, one for each package. So it works on a copy, and the program's own list is
//! taken from there. Without the random number and the time that it would write, the same sources give the same list.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{checkout, command, release, tools, workspace_root};

const CARGO_CYCLONEDX_VERSION: &str = "0.5.9";

/// The platform that the program is for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Options of `cargo xtask sbom`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the list goes
    #[arg(long, default_value = "target/distribution/portmeter.cdx.json")]
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    write(&workspace_root().join(&arguments.file))
}

/// Writes the list of the present sources.
pub(crate) fn write(file: &Path) -> Result<()> {
    let program = tools::cargo_program("cargo-cyclonedx", CARGO_CYCLONEDX_VERSION)?;
    let folder = tempfile::tempdir()?;
    checkout::copy_to(folder.path())?;
    command::run(
        Command::new(program)
            .current_dir(folder.path().join("agent"))
            .args(["cyclonedx", "--format", "json", "--spec-version", "1.5"])
            .args(["--describe", "crate", "--target", TARGET, "--quiet"])
            .env("SOURCE_DATE_EPOCH", release::date()),
    )?;
    let list =
        fs::read_to_string(folder.path().join("agent/portmeter.cdx.json")).context("reading what was written")?;
    let list = without_place(&list, folder.path())?;
    let facts = facts(&serde_json::from_str(&list)?)?;
    fs::create_dir_all(file.parent().context("a file without a folder")?)?;
    fs::write(file, &list).with_context(|| format!("writing {}", file.display()))?;
    println!("{}: {facts}", file.display());
    Ok(())
}

/// The tool names our own packages by the place where it has found them, which is another one each time.
fn without_place(list: &str, place: &Path) -> Result<String> {
    let place = place.to_str().context("a folder's name is no text")?;
    Ok(list.replace(&format!("path+file://{place}/"), "path+file:///portmeter/"))
}

/// What the list says, in words; a list of something else is an error.
fn facts(list: &Value) -> Result<String> {
    let (name, version) = (
        &list["metadata"]["component"]["name"],
        &list["metadata"]["component"]["version"],
    );
    let components = list["components"].as_array().context("no components")?;
    ensure!(
        list["bomFormat"] == "CycloneDX" && name == "portmeter" && version == env!("CARGO_PKG_VERSION"),
        "this is the list of {name} {version}"
    );
    let without_licence = components.iter().filter(|component| component["licenses"].is_null());
    let without_licence: Vec<&str> = without_licence
        .filter_map(|component| component["name"].as_str())
        .collect();
    ensure!(without_licence.is_empty(), "no licence is known of {without_licence:?}");
    Ok(format!(
        "portmeter {} and {} components",
        env!("CARGO_PKG_VERSION"),
        components.len()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list() -> Value {
        json!({
            "bomFormat": "CycloneDX",
            "metadata": {"component": {"name": "portmeter", "version": env!("CARGO_PKG_VERSION")}},
            "components": [{"name": "serde", "licenses": [{"expression": "MIT OR Apache-2.0"}]}],
        })
    }

    #[test]
    fn a_list_is_told_in_words() {
        let told = facts(&list()).unwrap();
        assert_eq!(
            told,
            format!("portmeter {} and 1 components", env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn no_list_says_where_it_was_made() {
        let list = r#"{"bom-ref": "path+file:///tmp/a1/agent#portmeter@0.1.0"}"#;
        assert_eq!(
            without_place(list, Path::new("/tmp/a1")).unwrap(),
            r#"{"bom-ref": "path+file:///portmeter/agent#portmeter@0.1.0"}"#
        );
    }

    #[test]
    fn the_list_of_something_else_is_refused() {
        let mut other = list();
        other["metadata"]["component"]["name"] = json!("xtask");
        assert!(facts(&other).is_err());
        let mut without = list();
        without["components"][0] = json!({"name": "serde"});
        assert!(facts(&without).unwrap_err().to_string().contains("serde"));
    }
}
