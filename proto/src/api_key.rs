//! The API key: the one secret that opens REST and gRPC over TCP.

use std::fmt;

use subtle::ConstantTimeEq;

/// The gRPC metadata entry that carries the API key over TCP.
pub const METADATA_NAME: &str = "x-api-key";

/// The fewest characters an API key may have.
pub const MIN_LENGTH: usize = 16;

/// An API key. It never shows its text in a log: `Debug` prints a placeholder and there is no `Display`.
#[derive(Clone)]
pub struct ApiKey(String);

/// Why a text cannot be an API key. The text itself is left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiKey {
    /// Fewer than [`MIN_LENGTH`] characters.
    #[error("the API key has {0} characters, it needs at least {MIN_LENGTH}")]
    TooShort(usize),
    /// A character that an HTTP header cannot carry unchanged.
    #[error("the API key may hold only visible ASCII characters, no spaces")]
    Character,
}

impl ApiKey {
    /// Takes the key's text; white space around it (a file's last line break) does not belong to it.
    pub fn new(text: &str) -> Result<Self, InvalidApiKey> {
        let text = text.trim();
        if text.len() < MIN_LENGTH {
            return Err(InvalidApiKey::TooShort(text.chars().count()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidApiKey::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether `candidate` is this key, in a time that does not depend on where they differ.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(candidate).into()
    }

    /// The key's text, for the file that keeps it and the header that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_only_itself() {
        let key = ApiKey::new("0123456789abcdef\n").unwrap();
        assert!(key.matches(b"0123456789abcdef"));
        assert!(!key.matches(b"0123456789abcdeF"));
        assert!(!key.matches(b"0123456789abcdef0"));
        assert!(!key.matches(b""));
    }

    #[test]
    fn refuses_short_and_unprintable_keys() {
        assert_eq!(ApiKey::new("short").unwrap_err(), InvalidApiKey::TooShort(5));
        assert_eq!(ApiKey::new("0123456789 abcdef").unwrap_err(), InvalidApiKey::Character);
    }

    #[test]
    fn is_not_shown_by_debug() {
        assert!(!format!("{:?}", ApiKey::new("0123456789abcdef").unwrap()).contains("0123"));
    }
}
