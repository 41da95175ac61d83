//! JSON read so that an error says where it is.

use serde::de::DeserializeOwned;

use super::error::ImportError;
use super::source::File;

/// Reads a whole file as `T`.
pub(super) fn parse<T: DeserializeOwned>(file: &File<'_>) -> Result<T, ImportError> {
    let mut reader = serde_json::Deserializer::from_slice(file.bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        broken(file, error.inner(), &path)
    })?;
    reader.end().map_err(|error| broken(file, &error, "."))?;
    Ok(value)
}

fn broken(file: &File<'_>, error: &serde_json::Error, path: &str) -> ImportError {
    let at = format!(" at line {} column {}", error.line(), error.column());
    let mut place = format!("line {}, column {}", error.line(), error.column());
    if path != "." {
        place = format!("{place}, at {path}");
    }
    ImportError::Broken {
        file: file.name.to_owned(),
        place,
        what: error.to_string().replace(&at, ""),
    }
}
