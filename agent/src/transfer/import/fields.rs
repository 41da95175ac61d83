//! Values as the files write them, checked as they are read, so that an error knows its line.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::ImportError;
use super::plan::Figures;
use super::source::File;

/// The highest figure that is believed: an exbibyte, for which 100 Gbit/s take three years. Several of them fit into a
/// ledger.
const FIGURE_MAX: u64 = 1 << 60;

/// A count that may be fractional, as bytes of the old server are.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Count {
    whole: u64,
    fraction: f64,
}

impl Count {
    /// Rounded, half upward.
    pub(super) fn rounded(self) -> u64 {
        self.whole + u64::from(self.fraction >= 0.5)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a number from 0 to {FIGURE_MAX}")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Count, E> {
        if value > FIGURE_MAX {
            return Err(E::invalid_value(Unexpected::Unsigned(value), &self));
        }
        Ok(Count {
            whole: value,
            fraction: 0.0,
        })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Count, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Count, E> {
        #[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
        let is_believed = (0.0..=FIGURE_MAX as f64).contains(&value);
        if !is_believed {
            return Err(E::invalid_value(Unexpected::Float(value), &self));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, not negative and within range"
        )]
        let whole = value.trunc() as u64;
        Ok(Count {
            whole,
            fraction: value.fract(),
        })
    }
}

impl Figures {
    /// Refuses a sum that is beyond belief, as each figure of it is.
    pub(super) fn check(&self, file: &File<'_>, field: &str) -> Result<(), ImportError> {
        if self.rx_bytes.max(self.tx_bytes).max(self.sessions) <= FIGURE_MAX {
            return Ok(());
        }
        Err(ImportError::Broken {
            file: file.name.to_owned(),
            place: format!("at {field}"),
            what: format!("its figures add up to more than {FIGURE_MAX}"),
        })
    }
}

/// Rounds fractional counts of consecutive times so that the rounded ones add up to the rounded sum: what is cut off
/// here is added there.
#[derive(Debug, Default)]
pub(super) struct SumRounding {
    fractions: f64,
}

impl SumRounding {
    pub(super) fn next(&mut self, count: Count) -> u64 {
        let before = self.fractions.round();
        self.fractions += count.fraction;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 or 1: a fraction is below 1 and not negative"
        )]
        let carried = (self.fractions.round() - before) as u64;
        count.whole + carried
    }
}

/// A time with a zone, or a local one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileTime {
    Zoned(DateTime<Utc>),
    Local(NaiveDateTime),
}

impl FileTime {
    fn parse(text: &str) -> Option<Self> {
        let time = match DateTime::parse_from_rfc3339(text) {
            Ok(zoned) => Self::Zoned(zoned.to_utc()),
            Err(_) => Self::Local(
                ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
                    .iter()
                    .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?,
            ),
        };
        let year = match time {
            Self::Zoned(at) => at.year(),
            Self::Local(at) => at.year(),
        };
        (1970..=9999).contains(&year).then_some(time)
    }
}

impl<'de> Deserialize<'de> for FileTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"a time such as 2025-08-05T12:00:00"))
    }
}

/// Zones change their clocks by quarters of an hour, and skip at most a day.
const SKIPPED: (TimeDelta, u32) = (TimeDelta::minutes(15), 100);

/// When a zone's clock showed this. Of a time that came twice it is the first; one that was skipped is the next moment.
pub(super) fn moment(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    let (step, steps) = SKIPPED;
    let mut later = (0..steps).scan(local, |next, _| {
        let this = *next;
        *next = this.checked_add_signed(step)?;
        Some(this)
    });
    let found = later.find_map(|local| zone.from_local_datetime(&local).earliest());
    found.map_or_else(|| local.and_utc(), |at| at.to_utc())
}

/// Longest name of a key, in characters.
const NAME_LENGTH_MAX: usize = 255;

/// A key's name, without the white space around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileName(pub(super) String);

impl FileName {
    /// `None` where a key cannot have the name.
    pub(super) fn new(text: &str) -> Option<Self> {
        let name = text.trim();
        let is_usable = (1..=NAME_LENGTH_MAX).contains(&name.chars().count());
        is_usable.then(|| Self(name.to_owned()))
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| D::Error::custom(format!("a name has 1 to {NAME_LENGTH_MAX} characters")))
    }
}

/// A port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilePort(pub(super) u16);

impl<'de> Deserialize<'de> for FilePort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        match u16::try_from(number) {
            Ok(port) if port > 0 => Ok(Self(port)),
            _ => Err(D::Error::invalid_value(
                Unexpected::Unsigned(number),
                &"a port from 1 to 65535",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(json: &str) -> Result<Count, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn counts_are_whole_or_fractional_and_never_negative() {
        for (json, rounded) in [
            ("0", 0),
            ("0.0", 0),
            ("38467682.02026367", 38_467_682),
            ("38467682.5", 38_467_683),
            ("1e3", 1_000),
            ("1152921504606846976", 1 << 60),
            ("9007199254740993", 9_007_199_254_740_993),
        ] {
            assert_eq!(count(json).map(Count::rounded), Ok(rounded), "{json}");
        }
        for bad in [
            "-1",
            "-0.5",
            "1e30",
            "1152921504606846977",
            "\"5\"",
            "null",
            "[]",
            "true",
        ] {
            let error = count(bad).unwrap_err();
            assert!(error.contains("a number from 0 to"), "{bad}: {error}");
        }
    }

    #[test]
    fn times_with_and_without_a_zone() {
        let time = |text: &str| FileTime::parse(text);
        let local = |text: &str| Some(FileTime::Local(text.parse().unwrap()));
        assert_eq!(time("2025-08-05T12:00:00.123456"), local("2025-08-05T12:00:00.123456"));
        assert_eq!(time("2025-08-05 12:00:00"), local("2025-08-05T12:00:00"));
        let zoned = Some(FileTime::Zoned("2025-08-05T09:00:00Z".parse().unwrap()));
        assert_eq!(time("2025-08-05T12:00:00+03:00"), zoned);
        for bad in [
            "",
            "yesterday",
            "2025-08-05",
            "2025-13-05T12:00:00",
            "0000-01-01T00:00:00",
            "1969-12-31T00:00:00Z",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_local_time_is_a_moment_of_its_zone() {
        let berlin = chrono_tz::Europe::Berlin;
        for (local, utc) in [
            ("2025-08-05T12:00:00", "2025-08-05T10:00:00Z"),
            // twice: the first
            ("2025-10-26T02:30:00", "2025-10-26T00:30:00Z"),
            // skipped: the next
            ("2025-03-30T02:20:00", "2025-03-30T01:05:00Z"),
        ] {
            assert_eq!(
                moment(berlin, local.parse().unwrap()).to_rfc3339(),
                utc.replace('Z', "+00:00")
            );
        }
        // A whole day that Samoa does not have.
        let apia = moment(chrono_tz::Pacific::Apia, "2011-12-30T12:00:00".parse().unwrap());
        assert_eq!(apia.to_rfc3339(), "2011-12-30T10:00:00+00:00");
    }

    proptest! {
        #[test]
        fn rounded_counts_add_up_to_the_rounded_sum(counts in prop::collection::vec((0_u32..1_000, 0_u32..1_000), 0..400)) {
            let mut rounding = SumRounding::default();
            let mut sum = 0;
            for (whole, thousandths) in &counts {
                let one = Count { whole: u64::from(*whole), fraction: f64::from(*thousandths) / 1_000.0 };
                let rounded = rounding.next(one);
                prop_assert!(rounded.abs_diff(u64::from(*whole)) <= 1);
                sum += rounded;
            }
            let exact: u64 = counts.iter().map(|(whole, part)| u64::from(*whole) * 1_000 + u64::from(*part)).sum();
            // Half a byte may fall either way in binary fractions.
            prop_assert!((sum * 1_000).abs_diff(exact) <= 501, "{sum} {exact}");
        }
    }
}
