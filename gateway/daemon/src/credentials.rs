//! Secrets that the service manager hands over as files (`systemd.exec(5)`, "Credentials").

use std::path::{Path, PathBuf};

/// Where the service manager says that they are.
const FOLDER_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The API key's name among them.
pub const API_KEY: &str = "portmeter.api-key";

/// The file of a credential, where this process was given one of that name.
pub fn find(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(FOLDER_VARIABLE)?;
    within(Path::new(&folder), name)
}

/// A service manager names a folder of its own; a relative path is no such thing.
fn within(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    (folder.is_absolute() && path.exists()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_a_file_in_the_folder_that_was_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(within(folder.path(), API_KEY), None);
        std::fs::write(folder.path().join(API_KEY), "secret").unwrap();
        assert_eq!(within(folder.path(), API_KEY), Some(folder.path().join(API_KEY)));
        assert_eq!(within(Path::new("src"), "lib.rs"), None);
    }
}
