//! Another kernel than the host's, in a virtual machine that needs no rights and no hardware help.
//!
//! The machine's root file system is the host's own, read-only, with changes kept in memory: every tool, library and
//! built binary of the host runs in there unmodified, at the same path. There is no network.

mod archive;
mod boot;
mod image;
mod modules;
mod package;

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{apt, tools};
use package::Package;

/// Programs that this needs on the host, and the Debian packages that have them.
pub(crate) const TOOLS: [(&str, &str); 3] = [
    ("depmod", "kmod"),
    ("modprobe", "kmod"),
    ("qemu-system-x86_64", "qemu-system-x86"),
];

/// Kernels that go by the same two numbers, for example 6.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    major: u32,
    minor: u32,
}

impl FromStr for Series {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text
            .split_once('.')
            .map(|(major, minor)| (major.parse(), minor.parse()));
        match numbers {
            Some((Ok(major), Ok(minor))) => Ok(Self { major, minor }),
            _ => Err("a kernel is named by two numbers, for example 6.1".to_owned()),
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// What a machine is to do.
pub(crate) struct Job {
    /// Where to do it.
    pub(crate) folder: PathBuf,
    /// Environment variables.
    pub(crate) environment: Vec<(String, String)>,
    /// Commands with their arguments; each runs whatever became of the others.
    pub(crate) commands: Vec<Vec<String>>,
    /// How long it may take, boot included.
    pub(crate) limit: Duration,
}

/// Does the job on the newest Debian kernel of a series; fails unless every command succeeds.
pub(crate) fn run(series: &Series, job: &Job) -> Result<()> {
    let package = Package::newest_of(series)?;
    println!("booting {}", package.release());
    let image = image::build(&package, job)?;
    let scratch = tempfile::tempdir().context("creating a folder for the machine's image")?;
    let path = scratch.path().join("initramfs");
    std::fs::write(&path, image).context("writing the machine's image")?;
    boot::run(&package.kernel(), &path, job.limit).with_context(|| format!("on kernel {}", package.release()))
}

/// Why no other kernel can be run here, if so.
pub(crate) fn reason_to_leave_out() -> Option<String> {
    if env::consts::ARCH != "x86_64" {
        return Some(format!(
            "the other kernel is one for x86_64, this machine is {}",
            env::consts::ARCH
        ));
    }
    if !apt::is_there() {
        return Some("other kernels are Debian's packages, and there is no apt here".to_owned());
    }
    let missing: Vec<&str> = TOOLS
        .iter()
        .map(|(tool, _)| *tool)
        .filter(|tool| !tools::is_on_path(tool))
        .collect();
    (!missing.is_empty()).then(|| format!("{} is missing", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_two_numbers() {
        assert_eq!("6.1".parse(), Ok(Series { major: 6, minor: 1 }));
        for wrong in ["6", "6.1.0", "six.one", ""] {
            assert!(wrong.parse::<Series>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_series_is_shown_as_it_is_named() {
        assert_eq!("6.12".parse::<Series>().unwrap().to_string(), "6.12");
    }
}
