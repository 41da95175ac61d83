//! How a core has ended, in words.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use super::text::{complaint, telling_line};

/// What the core ends with where it does not like its configuration, and where it cannot start with it.
const CONFIGURATION_REFUSED: i32 = 23;
const CANNOT_START: i32 = 255;

/// How it ended and, where it said so, why. An adopted core leaves no status.
pub(super) fn describe(status: Option<ExitStatus>, said: &str) -> String {
    // Who was killed has not said why; the last line of its log is about something else.
    let has_failed = status.and_then(|status| status.code()).is_some_and(|code| code != 0);
    let why = if has_failed {
        telling_line(said)
    } else {
        complaint(said)
    };
    let how = match status.map(|status| (status.code(), status.signal())) {
        Some((Some(0), _)) => "it has ended by itself".to_owned(),
        Some((Some(CONFIGURATION_REFUSED), _)) => {
            format!("it refuses its configuration (exit status {CONFIGURATION_REFUSED})")
        }
        Some((Some(CANNOT_START), _)) => {
            format!(
                "it cannot start, as with a port that is taken or a folder that is missing (exit status {CANNOT_START})"
            )
        }
        Some((Some(code), _)) => format!("it has ended with exit status {code}"),
        Some((None, Some(signal))) => format!("it was killed by signal {signal}"),
        _ => "it has ended".to_owned(),
    };
    why.map_or_else(|| how.clone(), |line| format!("{how}: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_how_and_why() {
        let exit = |code: i32| Some(ExitStatus::from_raw(code << 8));
        let said = "Xray 26.10.10\nFailed to start: main: bad thing\n";
        assert_eq!(
            describe(exit(23), said),
            "it refuses its configuration (exit status 23): Failed to start: main: bad thing"
        );
        assert!(describe(exit(255), "").starts_with("it cannot start"));
        assert_eq!(describe(exit(2), ""), "it has ended with exit status 2");
        assert_eq!(describe(exit(0), ""), "it has ended by itself");
        assert_eq!(describe(Some(ExitStatus::from_raw(9)), ""), "it was killed by signal 9");
        assert_eq!(
            describe(exit(1), "last words\n"),
            "it has ended with exit status 1: last words"
        );
        assert_eq!(describe(None, "[Warning] started\n"), "it has ended");
        assert_eq!(describe(None, "panic: x\ngoroutine 1:\n"), "it has ended: panic: x");
    }
}
