//! The core's binary: where it is, whether it is an Xray, and what it says to a configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};

use super::command::{Output, RunError, run};
use super::text::{reason, telling_line};

/// How long a core may take to say its version, and to read a configuration of thousands of keys.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);
const VALIDATION_DEADLINE: Duration = Duration::from_secs(30);

/// What the first line of every Xray's `version` begins with.
const VERSION_BEGINNING: &str = "Xray ";

/// Why there is no core to run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// There is no such file.
    #[error(
        "the Xray core {0} is not there: install it, or set `xray.binary` to where it is, or `xray.mode` to \"none\""
    )]
    NotFound(String),
    /// It is there and may not be run.
    #[error("{} may not be run: make it executable (`chmod +x`), or set `xray.binary` to another", .0.display())]
    NotExecutable(PathBuf),
    /// It is another program.
    #[error("{} is not Xray: its `version` answers {answer}; set `xray.binary` to the core", binary.display())]
    NotXray {
        /// The program.
        binary: PathBuf,
        /// What it said.
        answer: String,
    },
    /// It does not run.
    #[error("{0}: set `xray.binary` to a core that runs on this machine")]
    Broken(String),
}

/// Finds the binary that the configuration names, by path or in PATH.
pub fn find(configured: &Path) -> Result<PathBuf, BinaryError> {
    find_in(configured, std::env::var_os("PATH").as_deref())
}

fn find_in(configured: &Path, search: Option<&std::ffi::OsStr>) -> Result<PathBuf, BinaryError> {
    let is_name = configured.components().count() == 1 && !configured.to_string_lossy().contains('/');
    let candidates: Vec<PathBuf> = if is_name {
        let folders = std::env::split_paths(search.unwrap_or_default()).filter(|folder| folder.is_absolute());
        folders.map(|folder| folder.join(configured)).collect()
    } else {
        vec![std::path::absolute(configured).unwrap_or_else(|_| configured.to_owned())]
    };
    let files: Vec<&PathBuf> = candidates.iter().filter(|path| path.is_file()).collect();
    if let Some(binary) = files.iter().find(|path| access(**path, AccessFlags::X_OK).is_ok()) {
        return Ok((**binary).clone());
    }
    match files.first() {
        Some(file) => Err(BinaryError::NotExecutable((*file).clone())),
        None if is_name => Err(BinaryError::NotFound(format!(
            "`{}` (looked for in PATH)",
            configured.display()
        ))),
        None => Err(BinaryError::NotFound(configured.display().to_string())),
    }
}

/// The first line of what the core says about itself, which names its version.
pub async fn version(binary: &Path) -> Result<String, BinaryError> {
    let output = run(binary, vec!["version".into()], Path::new("/"), VERSION_DEADLINE).await;
    let output = output.map_err(|error| BinaryError::Broken(error.to_string()))?;
    version_in(binary, &output.text)
}

fn version_in(binary: &Path, text: &str) -> Result<String, BinaryError> {
    let first = text.lines().next().unwrap_or_default().trim();
    if first.starts_with(VERSION_BEGINNING) {
        return Ok(reason(first));
    }
    let answer = match reason(first) {
        empty if empty.is_empty() => "nothing".to_owned(),
        line => format!("\"{line}\""),
    };
    Err(BinaryError::NotXray {
        binary: binary.to_owned(),
        answer,
    })
}

/// Asks the core whether it would take a configuration; otherwise the reason in its words.
pub async fn validate(binary: &Path, configuration: &Path) -> Result<(), String> {
    let configuration = std::path::absolute(configuration).unwrap_or_else(|_| configuration.to_owned());
    let folder = configuration.parent().unwrap_or(Path::new("/"));
    let arguments = ["run", "-test", "-c"].map(Into::into).into_iter();
    let arguments = arguments.chain([configuration.clone().into_os_string()]).collect();
    verdict(run(binary, arguments, folder, VALIDATION_DEADLINE).await)
}

fn verdict(answer: Result<Output, RunError>) -> Result<(), String> {
    let output = answer.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(telling_line(&output.text).unwrap_or_else(|| format!("the core gives no reason ({})", output.status)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn finds_a_path_or_a_name_and_says_what_is_wrong() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("first"), root.path().join("second"));
        for folder in [&first, &second] {
            fs::create_dir(folder).unwrap();
        }
        let search = std::env::join_paths([&first, &second]).unwrap();
        let found = |name: &Path| find_in(name, Some(&search));
        let name = Path::new("xray");
        assert_eq!(
            found(name).unwrap_err().to_string(),
            "the Xray core `xray` (looked for in PATH) is not there: install it, or set `xray.binary` to where it is, or \
             `xray.mode` to \"none\""
        );
        fs::write(first.join("xray"), "").unwrap();
        fs::set_permissions(first.join("xray"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(found(name), Err(BinaryError::NotExecutable(first.join("xray"))));
        fs::write(second.join("xray"), "").unwrap();
        fs::set_permissions(second.join("xray"), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(found(name), Ok(second.join("xray")));
        assert_eq!(found(&second.join("xray")), Ok(second.join("xray")));
        assert_eq!(found(&second), Err(BinaryError::NotFound(second.display().to_string())));
        assert!(matches!(find_in(name, None), Err(BinaryError::NotFound(_))));
    }

    #[test]
    fn only_an_xray_is_one() {
        let binary = Path::new("/bin/cat");
        let line = "Xray 26.10.10 (Xray, Penetrates Everything.)";
        assert_eq!(
            version_in(binary, &format!("{line}\nA unified platform\n")).unwrap(),
            line
        );
        for (text, said) in [
            ("", "answers nothing"),
            ("\nXray 1\n", "answers nothing"),
            ("cat: version: No such file\n", "answers \"cat: version: No such file\""),
            ("Xrayed 1.0\n", "answers \"Xrayed 1.0\""),
        ] {
            let error = version_in(binary, text).unwrap_err().to_string();
            assert!(
                error.starts_with("/bin/cat is not Xray: ") && error.contains(said),
                "{error}"
            );
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_core_s_words() {
        let output = |code: i32, text: &str| {
            use std::os::unix::process::ExitStatusExt as _;
            Ok(Output {
                status: std::process::ExitStatus::from_raw(code << 8),
                text: text.to_owned(),
            })
        };
        assert_eq!(verdict(output(0, "Configuration OK.\n")), Ok(()));
        let refused = "Xray 26\nFailed to start: main: bad \u{1b}[1mthing\n";
        assert_eq!(
            verdict(output(23, refused)),
            Err("Failed to start: main: bad thing".to_owned())
        );
        assert_eq!(
            verdict(output(23, "")),
            Err("the core gives no reason (exit status: 23)".to_owned())
        );
    }
}
