//! What the machine starts with: busybox, the modules that lead to the host's files, two scripts, and the job.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::archive::Archive;
use super::package::Package;
use super::{Job, modules};

/// The way to the host's files. Every other module is loaded from there when it is needed.
const MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

const FIRST: &str = include_str!("first.sh");
const SECOND: &str = include_str!("second.sh");

/// Begins the line that says how the job went.
pub(super) const STATUS_MARK: &str = "portmeter-machine-status:";

/// The initial file system that makes a machine do the job.
pub(super) fn build(package: &Package, job: &Job) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "modules", "proc", "dev", "host", "changes", "root"] {
        archive.folder(folder);
    }
    archive.executable("bin/busybox", &read(&package.busybox())?);
    add_modules(&mut archive, &package.modules())?;
    archive.executable("init", FIRST.as_bytes());
    archive.executable("second.sh", SECOND.as_bytes());
    archive.executable("job.sh", script(package, job).as_bytes());
    Ok(archive.finish())
}

fn add_modules(archive: &mut Archive, folder: &Path) -> Result<()> {
    let text = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let (dependencies, built_in) = (text("modules.dep")?, text("modules.builtin")?);
    let mut order = String::new();
    for path in modules::in_loading_order(&dependencies, &built_in, &MODULES)? {
        let name = path.rsplit('/').next().unwrap_or(path);
        archive.executable(&format!("modules/{name}"), &read(&folder.join(path))?);
        order.push_str(name);
        order.push('\n');
    }
    archive.executable("modules/order", order.as_bytes());
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// The job as a shell reads it. The last command that fails gives the status.
fn script(package: &Package, job: &Job) -> String {
    let at = format!("/lib/modules/{}", package.release());
    let mut lines = vec![
        format!("STATUS_MARK={}", quoted(STATUS_MARK)),
        format!("mkdir -p {}", quoted(&at)),
        format!(
            "mount --bind {} {}",
            quoted(&package.modules().to_string_lossy()),
            quoted(&at)
        ),
        format!("cd {}", quoted(&job.folder.to_string_lossy())),
    ];
    for (name, value) in &job.environment {
        lines.push(format!("export {name}={}", quoted(value)));
    }
    for command in &job.commands {
        let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
        lines.push(format!("{} || status=$?", words.join(" ")));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_command_as_they_are() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
