//! `cargo xtask reproducible`: the program is built twice, from copies of the sources at different places, and both files
//! are the same to the byte; and none of the places is named in it.
//!
//! Two release builds take a while: `.ci/nightly` runs this, `cargo xtask test` does not.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSection, ObjectSymbol};

use crate::{checkout, release, tools};

/// Options of `cargo xtask reproducible`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The profile to build in; `dev` is the quicker one
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Names of different lengths at different depths, so that nothing fits by chance.
const PLACES: [&str; 2] = ["one", "another/place/further/down"];

/// As many symbols as a difference names.
const SYMBOLS_SHOWN_MAX: usize = 8;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let cache = tools::tools_folder()?;
    fs::create_dir_all(&cache)?;
    // Not below the sources, which are copied, and not in memory.
    let folder = tempfile::Builder::new().prefix("reproducible-").tempdir_in(cache)?;
    let mut programs = Vec::new();
    for place in PLACES {
        let (sources, target) = (
            folder.path().join(place).join("sources"),
            folder.path().join(place).join("built"),
        );
        checkout::copy_to(&sources)?;
        println!("building in {}", sources.display());
        let built = release::build(&sources, &target, &arguments.profile)?;
        programs.push(keep(
            &built,
            &folder.path().join(format!("portmeter-{}", programs.len())),
        )?);
        // Room for the next one.
        fs::remove_dir_all(&target)?;
    }
    let [one, other] = [&programs[0], &programs[1]].map(|path| fs::read(path).context("reading a program"));
    let (one, other) = (one?, other?);
    if one != other {
        let kept = folder.keep();
        bail!(
            "the two programs differ {}; both are kept in {}",
            difference(&one, &other)?,
            kept.display()
        );
    }
    for place in [folder.path(), &release::cargo_home()?] {
        ensure!(
            !names(&one, place),
            "the program says where it was built: {}",
            place.display()
        );
    }
    println!(
        "both are the same: {} bytes, SHA-256 {}",
        one.len(),
        release::digest(&programs[0])?
    );
    Ok(())
}

fn keep(built: &Path, to: &Path) -> Result<PathBuf> {
    fs::copy(built, to).with_context(|| format!("copying {}", built.display()))?;
    Ok(to.to_path_buf())
}

/// Whether a path stands in a file.
fn names(program: &[u8], place: &Path) -> bool {
    let place = place.as_os_str().as_encoded_bytes();
    program.windows(place.len()).any(|window| window == place)
}

/// In which sections two programs differ, and which symbols only one of them has: where to look for the reason.
fn difference(one: &[u8], other: &[u8]) -> Result<String> {
    let (one, other) = (object::File::parse(one)?, object::File::parse(other)?);
    let mut different = Vec::new();
    for section in one.sections() {
        let name = section.name()?;
        let found = other.section_by_name(name).map(|section| section.data()).transpose()?;
        if found != Some(section.data()?) {
            different.push(name.to_owned());
        }
    }
    let mut told = format!("in the sections {}", different.join(", "));
    let (ones, others) = (symbols(&one)?, symbols(&other)?);
    let only_one: Vec<_> = ones.symmetric_difference(&others).copied().collect();
    if !only_one.is_empty() {
        let shown = &only_one[..only_one.len().min(SYMBOLS_SHOWN_MAX)];
        write!(
            told,
            "; {} symbols are in one of them only: {}",
            only_one.len(),
            shown.join(", ")
        )?;
    }
    Ok(told)
}

fn symbols<'a>(program: &object::File<'a>) -> Result<BTreeSet<&'a str>> {
    Ok(program
        .symbols()
        .map(|symbol| symbol.name())
        .collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_program_is_found() {
        assert!(names(
            b"\0/home/somebody/portmeter/agent\0",
            Path::new("/home/somebody")
        ));
        assert!(!names(b"\0/portmeter/agent\0", Path::new("/home/somebody")));
    }

    #[test]
    fn programs_that_differ_say_where() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut changed = own.clone();
        let file = object::File::parse(own.as_slice()).unwrap();
        let (offset, _) = file.section_by_name(".rodata").unwrap().file_range().unwrap();
        changed[usize::try_from(offset).unwrap()] ^= 1;
        assert_eq!(difference(&own, &changed).unwrap(), "in the sections .rodata");
    }

    #[test]
    fn a_symbol_of_one_program_alone_is_named() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut changed = own.clone();
        let file = object::File::parse(own.as_slice()).unwrap();
        let (offset, length) = file.section_by_name(".strtab").unwrap().file_range().unwrap();
        let names = usize::try_from(offset).unwrap()..usize::try_from(offset + length).unwrap();
        let place = own[names.clone()]
            .windows(6)
            .position(|name| name == b"\0main\0")
            .unwrap();
        changed[names][place + 1] = b'M';
        assert_eq!(
            difference(&own, &changed).unwrap(),
            "in the sections .strtab; 2 symbols are in one of them only: Main, main"
        );
    }
}
