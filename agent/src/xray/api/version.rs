//! Which core this is, and where its messages have their fields: two of them moved.

use std::fmt;
use std::str::FromStr;

/// The first core with VLESS encryption, whose settings pushed `decryption` from field 2 to field 3.
const DECRYPTION_MOVED: CoreVersion = CoreVersion(25, 8, 29);

/// The first core without the allocation strategy, whose field 3 the stream settings took over.
const STREAM_SETTINGS_MOVED: CoreVersion = CoreVersion(25, 10, 15);

/// Most characters of a foreign text that are repeated.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// A core's version, as `xray version` prints it: `26.10.10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreVersion(u16, u16, u16);

/// What was asked for its version is not an Xray core.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`xray version` must begin with \"Xray\" and a version of three numbers, but this begins with \"{0}\"; let xray.binary name an Xray core"
)]
pub struct NotXray(String);

impl CoreVersion {
    /// The latest one that this build was tried with.
    pub const LATEST_KNOWN: Self = Self(26, 10, 10);

    /// The numbers.
    pub const fn new(year: u16, month: u16, day: u16) -> Self {
        Self(year, month, day)
    }

    /// Reads it from the output of `xray version`; all but the first line is left alone.
    pub fn from_output(output: &str) -> Result<Self, NotXray> {
        output.parse()
    }

    /// Where this core's messages have their fields.
    pub fn numbering(self) -> Numbering {
        if self < DECRYPTION_MOVED {
            Numbering::Before25_8_29
        } else if self < STREAM_SETTINGS_MOVED {
            Numbering::Before25_10_15
        } else {
            Numbering::Current
        }
    }
}

impl FromStr for CoreVersion {
    type Err = NotXray;

    fn from_str(output: &str) -> Result<Self, NotXray> {
        let line = output.lines().next().unwrap_or_default();
        let not_xray = || {
            let shown = line.chars().filter(|character| !character.is_control());
            NotXray(shown.take(SHOWN_CHARACTERS_MAX).collect())
        };
        let mut words = line.split_whitespace();
        if words.next() != Some("Xray") {
            return Err(not_xray());
        }
        let mut numbers = words.next().unwrap_or_default().split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(year)), Some(Ok(month)), Some(Ok(day)), None) => Ok(Self(year, month, day)),
            _ => Err(not_xray()),
        }
    }
}

impl fmt::Display for CoreVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Where a core's messages have the two fields that moved. A core takes stream settings at their old place without a
/// word and then listens without REALITY, so the choice follows the version, and what was added is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// Stream settings at 4, `decryption` at 2.
    Before25_8_29,
    /// Stream settings at 4, `decryption` at 3.
    Before25_10_15,
    /// Stream settings at 3, `decryption` at 3.
    Current,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_on_the_first_line() {
        let output = "Xray 26.10.10 (Xray, Penetrates Everything.) 1a2b3c (go1.26 linux/amd64)\nA unified platform.\n";
        let version = CoreVersion::from_output(output).unwrap();
        assert_eq!(version, CoreVersion::new(26, 10, 10));
        assert_eq!(version.to_string(), "26.10.10");
        assert!(CoreVersion::new(25, 10, 15) > CoreVersion::new(25, 9, 30));
        assert!(CoreVersion::new(1, 8, 24) < CoreVersion::new(24, 9, 30));
    }

    #[test]
    fn anything_else_is_not_xray() {
        for output in [
            "",
            "V2Ray 5.16.1 (V2Fly, a community-driven edition of V2Ray.)",
            "sing-box version 1.12.0",
            "Xray",
            "Xray 26.10",
            "Xray 26.10.x (Xray)",
            "Xray 26.10.10.1",
            "Usage:\nXray 26.10.10 (Xray)",
        ] {
            assert!(CoreVersion::from_output(output).is_err(), "{output}");
        }
        let error = CoreVersion::from_output(&format!("\u{1b}[31m{}", "x".repeat(500))).unwrap_err();
        assert!(error.to_string().len() < 250, "{error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }

    #[test]
    fn the_numbering_changes_with_the_core_that_moved_the_field() {
        for (version, numbering) in [
            ((1, 8, 24), Numbering::Before25_8_29),
            ((25, 8, 28), Numbering::Before25_8_29),
            ((25, 8, 29), Numbering::Before25_10_15),
            ((25, 10, 14), Numbering::Before25_10_15),
            ((25, 10, 15), Numbering::Current),
            ((26, 10, 10), Numbering::Current),
        ] {
            let (year, month, day) = version;
            assert_eq!(CoreVersion::new(year, month, day).numbering(), numbering, "{version:?}");
        }
    }
}
