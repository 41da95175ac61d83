//! `cargo xtask deb`: the Debian package, with manual pages and completions made from the program's own command line.
//!
//! What is in it stands in `agent/Cargo.toml`, `[package.metadata.deb]`; units, maintainer scripts and the configuration file
//! lie in `agent/packaging/`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, tools, workspace_root};

/// What builds the package. Later versions of it go on to read the same table.
const CARGO_DEB: &str = "cargo-deb";
const CARGO_DEB_VERSION: &str = "3.8.0";

/// What finds out which libraries the program needs.
const TOOLS: &[(&str, &str)] = &[("dpkg-shlibdeps", "dpkg-dev"), ("dpkg-deb", "dpkg")];

/// Where pages, completions and the package itself are made, below the workspace.
const FOLDER: &str = "target/package";

/// Tells the tests where the package is.
pub(crate) const VARIABLE: &str = "PORTMETER_DEB";

/// Set where no test may be left out.
const NOTHING_LEFT_OUT: &str = "CI";

/// Options of `cargo xtask deb`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Package the release build that is there instead of building it
    #[arg(long)]
    no_build: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let how: &[&str] = if arguments.no_build { &["--no-build"] } else { &[] };
    let package = build(how)?;
    println!("{}", package.display());
    Ok(())
}

/// The package of the release build that is there, for the tests. Where it cannot be made this says why and gives `None`:
/// the tests that need it then say so too. In CI, where none may be left out, it is an error at once.
pub(crate) fn for_tests() -> Result<Option<PathBuf>> {
    // Nobody keeps this package, so it may be large.
    match build(&["--no-build", "--fast"]) {
        Ok(package) => Ok(Some(package)),
        Err(error) if env::var(NOTHING_LEFT_OUT).is_ok_and(|value| value == "true") => Err(error),
        Err(error) => {
            println!("no Debian package for the tests: {error:#}");
            Ok(None)
        }
    }
}

/// `how` are cargo-deb's own words.
fn build(how: &[&str]) -> Result<PathBuf> {
    tools::install_missing(TOOLS)?;
    let cargo_deb = tools::cargo_program(CARGO_DEB, CARGO_DEB_VERSION)?;
    let folder = workspace_root().join(FOLDER);
    // Of a command that is no more, no page stays.
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    write_pages(&folder)?;
    let packages = folder.join("deb");
    fs::create_dir_all(&packages).with_context(|| format!("making {}", packages.display()))?;
    let mut build = Command::new(cargo_deb);
    build.args(["--package", "portmeter", "--locked", "--quiet", "--output"]);
    build.arg(&packages).args(how).current_dir(workspace_root());
    command::output(&mut build).context("building the Debian package")?;
    the_only_file(&packages)
}

/// The program tells its own commands, so it has to be built for this; the debug build will do.
fn write_pages(folder: &Path) -> Result<()> {
    let mut pages = command::cargo();
    pages.args(["run", "--quiet", "--package", "portmeter", "--example", "pages", "--"]);
    command::output(pages.arg(folder).current_dir(workspace_root())).context("writing manual pages and completions")?;
    Ok(())
}

fn the_only_file(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    match entries.as_slice() {
        [entry] => Ok(entry.path()),
        _ => bail!(
            "{} files in {} where one package is due",
            entries.len(),
            folder.display()
        ),
    }
}
