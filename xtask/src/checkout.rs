//! A copy of the sources at another place: what git knows of, as it is in the work tree, and nothing that a build left there.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, workspace_root};

/// Copies the sources into a folder, which is made.
pub(crate) fn copy_to(folder: &Path) -> Result<()> {
    let root = workspace_root();
    let listed = command::output(Command::new("git").args(["ls-files", "-z"]).current_dir(&root))
        .context("the sources are listed by git")?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), folder.join(name));
        // Removed, and the removal not committed.
        if !from.is_file() {
            continue;
        }
        let parent = to.parent().context("a file without a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        fs::copy(&from, &to).with_context(|| format!("copying {name}"))?;
    }
    Ok(())
}
