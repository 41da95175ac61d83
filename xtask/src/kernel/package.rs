//! Debian's kernel of a series, and a busybox to start with, unpacked into a folder of their own: nothing is
//! installed system-wide. Which package is the newest of the series is asked of apt rather than written down here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Series;
use crate::tools::tools_folder;
use crate::{apt, command};

/// Depends on the kernel of the Debian that apt is set up for.
const NEWEST: &str = "linux-image-amd64";
const PACKAGE_PREFIX: &str = "linux-image-";
/// Linked statically, so it runs before there is a library.
const BUSYBOX: &str = "busybox-static";

const FOLDER_PREFIX: &str = "debian-kernel-";

/// An unpacked kernel with its modules, and busybox.
pub(super) struct Package {
    folder: PathBuf,
    release: String,
}

impl Package {
    /// The newest of a series, fetched unless that was done before.
    pub(super) fn newest_of(series: &Series) -> Result<Self> {
        ensure!(
            apt::is_there(),
            "other kernels are Debian's packages, and there is no apt here: run this on Debian"
        );
        if apt::candidate_version(NEWEST)?.is_none() {
            // A fresh machine has no package lists.
            apt::update();
        }
        let package = apt::dependency(NEWEST, &format!("{PACKAGE_PREFIX}{series}."))
            .with_context(|| format!("apt offers no kernel {series} here (Debian 12 has 6.1)"))?;
        let version =
            apt::candidate_version(&package)?.with_context(|| format!("apt knows no version of {package}"))?;
        let release = package.trim_start_matches(PACKAGE_PREFIX).to_owned();
        let folder = tools_folder()?.join(format!("{FOLDER_PREFIX}{release}_{version}").replace(':', "-"));
        if !folder.exists() {
            fetch(&[format!("{package}={version}"), BUSYBOX.to_owned()], &release, &folder)?;
        }
        Ok(Self { folder, release })
    }

    /// What `uname -r` says there.
    pub(super) fn release(&self) -> &str {
        &self.release
    }

    /// The kernel itself.
    pub(super) fn kernel(&self) -> PathBuf {
        self.folder.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The folder of its modules.
    pub(super) fn modules(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.release)
    }

    /// A busybox that needs no library.
    pub(super) fn busybox(&self) -> PathBuf {
        self.folder.join("bin/busybox")
    }
}

/// The folder appears when everything is in it, so one that is there is whole.
fn fetch(packages: &[String], release: &str, folder: &Path) -> Result<()> {
    let tools = tools_folder()?;
    fs::create_dir_all(&tools).with_context(|| format!("creating {}", tools.display()))?;
    let scratch = tempfile::tempdir_in(&tools).context("creating a folder to unpack packages in")?;
    let unpacked = scratch.path().join("unpacked");
    apt::download(packages, scratch.path()).context("fetching Debian's kernel")?;
    apt::unpack(scratch.path(), &unpacked)?;
    command::output(Command::new("depmod").arg("--basedir").arg(&unpacked).arg(release))
        .context("listing what each module needs")?;
    fs::rename(&unpacked, folder).with_context(|| format!("moving the kernel to {}", folder.display()))
}
