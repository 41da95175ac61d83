//! Names of backups: `YYYYMMDD_HHMMSS__label__config.json`, in UTC. Where several are made in one second, the later
//! ones have a number after the label: `…__label-2__config.json`.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};

/// What every name ends with.
const END: &str = "__config.json";

/// How the time is written.
const TIME: &str = "%Y%m%d_%H%M%S";

/// Letters of the time.
const TIME_LENGTH: usize = 15;

/// Most letters of a label.
const LABEL_LENGTH_MAX: usize = 64;

/// A backup's name, taken apart. Ordered by when it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BackupName {
    /// When it was made, to the second.
    pub(super) created_at: DateTime<Utc>,
    /// 1 for the first of its second.
    pub(super) number: u32,
    /// Why it was made.
    label: String,
}

impl BackupName {
    /// A name for a backup that is made now. Anything that does not belong into a label becomes a hyphen.
    pub(super) fn new(created_at: DateTime<Utc>, label: &str, number: u32) -> Self {
        let label: String = label
            .chars()
            .take(LABEL_LENGTH_MAX / 2)
            .map(|letter| {
                if is_of_label(letter) && letter != '.' {
                    letter
                } else {
                    '-'
                }
            })
            .collect();
        let label = if label.is_empty() { "saved".to_owned() } else { label };
        Self {
            created_at,
            number,
            label,
        }
    }

    /// Takes a name apart; `None` where it is no backup's.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_suffix(END)?;
        let (time, label) = rest.split_at_checked(TIME_LENGTH)?;
        let label = label.strip_prefix("__")?;
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (date, hour) = time.split_once('_')?;
        let is_label = (1..=LABEL_LENGTH_MAX).contains(&label.len()) && label.chars().all(is_of_label);
        if !is_digits(date) || !is_digits(hour) || !is_label || label.contains("..") {
            return None;
        }
        let created_at = NaiveDateTime::parse_from_str(time, TIME).ok()?.and_utc();
        let (label, number) = match label.rsplit_once('-').map(|(label, number)| (label, number.parse())) {
            Some((shorter, Ok(number))) if number >= 2 && format!("{shorter}-{number}") == label => (shorter, number),
            _ => (label, 1),
        };
        Some(Self {
            created_at,
            number,
            label: label.to_owned(),
        })
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.created_at.format(TIME);
        match self.number {
            ..=1 => write!(formatter, "{time}__{}{END}", self.label),
            number => write!(formatter, "{time}__{}-{number}{END}", self.label),
        }
    }
}

fn is_of_label(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_says_when_why_and_which() {
        let at = Utc.with_ymd_and_hms(2025, 8, 5, 12, 0, 9).unwrap();
        let first = BackupName::new(at, "sync", 1);
        let second = BackupName::new(at, "restore", 2);
        assert_eq!(first.to_string(), "20250805_120009__sync__config.json");
        assert_eq!(second.to_string(), "20250805_120009__restore-2__config.json");
        assert!(first < second);
        assert!(second < BackupName::new(at, "a", 10));
    }

    #[test]
    fn names_of_others_are_no_backups() {
        for name in [
            "",
            "config.json",
            "20250805_120009__config.json",
            "20250805_120009____config.json",
            "20251305_120009__sync__config.json",
            "+0250805_120009__sync__config.json",
            "20250805_120009__a..b__config.json",
            "20250805_120009__a/b__config.json",
            "20250805_120009__ü__config.json",
            "20250805_12000é__sync__config.json",
            "20250805_120009__sync__config.json.tmp",
            ".20250805_120009__sync__config.json",
        ] {
            assert_eq!(BackupName::parse(name), None, "{name}");
        }
        // Others' labels: an older system's, and numbers that are not ours.
        for name in [
            "20250805_120009__before_delete__config.json",
            "20250805_120009__v-01__config.json",
        ] {
            assert_eq!(BackupName::parse(name).unwrap().to_string(), name);
        }
    }

    proptest! {
        #[test]
        fn every_label_gives_a_name_that_is_read_back(label in ".{0,80}", number in 1_u32..2000, second in 0_i64..4_000_000_000) {
            let at = DateTime::from_timestamp(second, 0).unwrap();
            let name = BackupName::new(at, &label, number).to_string();
            prop_assert!(!name.contains(['/', '\\', '\0']) && !name.contains(".."));
            let parsed = BackupName::parse(&name).unwrap();
            prop_assert_eq!(parsed.created_at, at);
            prop_assert_eq!(parsed.to_string(), name);
        }
    }
}
