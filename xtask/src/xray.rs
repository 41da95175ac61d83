//! The Xray core of the tests: a pinned wheel in a virtual environment of its own, and the command line that the
//! tests give it (`tests/xray/xray.py`), as the executable `bin/xray`.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{command, python, tools, workspace_root};

/// The wheel that holds the core, and its version.
const WHEEL: &str = "Xray-core";
const WHEEL_VERSION: &str = "1.8.26.13";

/// Tells the tests where the executable is.
pub(crate) const VARIABLE: &str = "PORTMETER_XRAY";

/// The command line that the wheel lacks.
const COMMAND_LINE: &str = "tests/xray/xray.py";

/// Set where no test may be left out.
const NOTHING_LEFT_OUT: &str = "CI";

/// The executable, made if need be. Where it cannot be made this says why and gives `None`: the tests that need it then
/// say so too. In CI, where none may be left out, it is an error at once.
pub(crate) fn core() -> Result<Option<PathBuf>> {
    match installed() {
        Ok(executable) => Ok(Some(executable)),
        Err(error) if env::var(NOTHING_LEFT_OUT).is_ok_and(|value| value == "true") => Err(error),
        Err(error) => {
            println!("no Xray core for the tests: {error:#}");
            Ok(None)
        }
    }
}

/// The executable, made if need be.
pub(crate) fn installed() -> Result<PathBuf> {
    let folder = tools::tools_folder()?.join(format!("xray-core-{WHEEL_VERSION}"));
    let source = workspace_root().join(COMMAND_LINE);
    let source = fs::read_to_string(&source).with_context(|| format!("reading {}", source.display()))?;
    if !has_core(&folder) {
        println!("installing {WHEEL} {WHEEL_VERSION}");
        make(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    write_executable(&folder, &source)
}

/// Whether this environment has a core that its Python can load.
fn has_core(folder: &Path) -> bool {
    python::can_import(folder, "xray")
}

fn make(folder: &Path) -> Result<()> {
    python::make_environment(folder, |environment| {
        let wheel = format!("{WHEEL}=={WHEEL_VERSION}");
        let install = ["install", "--no-deps", "--only-binary", ":all:", &wheel];
        command::output(&mut python::pip(environment, &install))?;
        ensure!(
            has_core(environment),
            "the wheel {wheel} cannot be loaded by this machine's Python"
        );
        Ok(())
    })
}

/// Writes the executable where it differs from what it should be, in one step: a core that runs keeps its own.
fn write_executable(folder: &Path, source: &str) -> Result<PathBuf> {
    let executable = folder.join("bin/xray");
    let text = format!("#!{}\n{source}", python::interpreter(folder).display());
    let is_current = fs::read_to_string(&executable).is_ok_and(|found| found == text);
    if !is_current {
        let written = tempfile::NamedTempFile::new_in(folder.join("bin"))?;
        fs::write(&written, text)?;
        fs::set_permissions(&written, fs::Permissions::from_mode(0o755))?;
        written.persist(&executable)?;
    }
    Ok(executable)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_executable_follows_its_source() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        let executable = write_executable(folder.path(), "one").unwrap();
        let first = fs::metadata(&executable).unwrap();
        assert_eq!(first.permissions().mode() & 0o777, 0o755);
        write_executable(folder.path(), "one").unwrap();
        assert_eq!(fs::metadata(&executable).unwrap().ino(), first.ino(), "left as it was");
        write_executable(folder.path(), "two").unwrap();
        let text = fs::read_to_string(&executable).unwrap();
        assert_eq!(text, format!("#!{}/bin/python3\ntwo", folder.path().display()));
    }

    #[test]
    fn a_folder_without_a_core_is_none() {
        assert!(!has_core(tempfile::tempdir().unwrap().path()));
    }
}
