//! Points in time, in the four forms that answers use.
//!
//! Text is `2025-08-05T12:00:00.000000`, UTC without a zone, always six digits of fraction; the panel's text is
//! `2025-08-05T12:00:00Z`; whole Unix seconds; Unix seconds with a fraction. Which route uses which is the contract's
//! choice, not a rule.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike as _, Timelike as _};
use prost_types::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::failure::Failure;

/// The first second after the year 9999, which is the last one that four digits can say.
const END_SECONDS: i64 = 253_402_300_800;

/// A point in time between the years 1970 and 9999. Written by serde it is the text form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    seconds: i64,
    nanoseconds: u32,
}

impl Moment {
    /// The host's clock.
    pub(crate) fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since_epoch.as_secs())
            .unwrap_or(i64::MAX)
            .min(END_SECONDS - 1);
        Self {
            seconds,
            nanoseconds: since_epoch.subsec_nanos(),
        }
    }

    /// A timestamp of the agent's answer. It must be there and in range; `what` names it in the log where it is not.
    pub(crate) fn of(timestamp: Option<&Timestamp>, what: &'static str) -> Result<Self, Failure> {
        let timestamp = timestamp.ok_or_else(|| Failure::incomplete(what))?;
        let nanoseconds = u32::try_from(timestamp.nanos)
            .ok()
            .filter(|nanoseconds| *nanoseconds < 1_000_000_000);
        match nanoseconds {
            Some(nanoseconds) if (0..END_SECONDS).contains(&timestamp.seconds) => Ok(Self {
                seconds: timestamp.seconds,
                nanoseconds,
            }),
            _ => Err(Failure::incomplete(what)),
        }
    }

    /// A timestamp of the agent's answer that is absent where nothing has happened yet.
    pub(crate) fn optional(timestamp: Option<&Timestamp>, what: &'static str) -> Result<Option<Self>, Failure> {
        timestamp.map(|timestamp| Self::of(Some(timestamp), what)).transpose()
    }

    /// The panel's text form.
    pub(crate) fn zulu(self) -> Zulu {
        Zulu(self)
    }

    /// Whole seconds since 1970.
    pub(crate) fn unix_seconds(self) -> i64 {
        self.seconds
    }

    /// Seconds since 1970 with their fraction, to the microsecond.
    pub(crate) fn unix_seconds_float(self) -> f64 {
        self.seconds as f64 + f64::from(self.nanoseconds / 1000) / 1e6
    }

    /// The text form, written digit by digit: a list writes hundreds of these, and a format string costs ten times
    /// as much as the rest of a row.
    fn text(self) -> [u8; 26] {
        let mut text = *b"0000-00-00T00:00:00.000000";
        // Without its zone, which every one of the six questions would ask for anew.
        let moment = DateTime::from_timestamp(self.seconds, self.nanoseconds)
            .unwrap_or_default()
            .naive_utc();
        digits(&mut text[0..4], moment.year().unsigned_abs());
        digits(&mut text[5..7], moment.month());
        digits(&mut text[8..10], moment.day());
        digits(&mut text[11..13], moment.hour());
        digits(&mut text[14..16], moment.minute());
        digits(&mut text[17..19], moment.second());
        digits(&mut text[20..26], self.nanoseconds / 1000);
        text
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A point in time, UTC: always six digits of fraction, no zone."))
            .pattern(Some(
                r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}$",
            ))
            .examples(["2025-08-05T12:00:00.000000"])
            .into()
    }
}

impl ToSchema for Moment {}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        serializer.serialize_str(str::from_utf8(&text).expect("digits are ASCII"))
    }
}

/// A moment whose text form is the panel's: UTC and a `Z`, whole seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zulu(Moment);

impl PartialSchema for Zulu {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("A point in time, UTC: whole seconds and a `Z`."))
            .pattern(Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"))
            .examples(["2025-08-05T12:00:00Z"])
            .into()
    }
}

impl ToSchema for Zulu {}

impl Serialize for Zulu {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = self.0.text();
        text[19] = b'Z';
        serializer.serialize_str(str::from_utf8(&text[..20]).expect("digits are ASCII"))
    }
}

/// Fills `places` with the last digits of `value`, leading zeros included.
fn digits(places: &mut [u8], mut value: u32) {
    for place in places.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;
    use proptest::prelude::*;

    use super::*;

    fn text(seconds: i64, nanoseconds: u32) -> String {
        String::from_utf8(Moment { seconds, nanoseconds }.text().to_vec()).unwrap()
    }

    #[test]
    fn text_has_six_digits_of_fraction_and_no_zone() {
        assert_eq!(text(1_754_395_200, 0), "2025-08-05T12:00:00.000000");
        assert_eq!(text(1_754_395_200, 1_999), "2025-08-05T12:00:00.000001");
        assert_eq!(text(0, 999_999_999), "1970-01-01T00:00:00.999999");
        assert_eq!(text(END_SECONDS - 1, 0), "9999-12-31T23:59:59.000000");
    }

    #[test]
    fn the_panels_text_has_whole_seconds_and_a_zone() {
        let moment = Moment {
            seconds: 1_754_395_200,
            nanoseconds: 999_999_999,
        };
        let text = serde_json::to_string(&moment.zulu()).unwrap();
        assert_eq!(text, "\"2025-08-05T12:00:00Z\"");
    }

    #[test]
    fn a_float_keeps_microseconds() {
        let moment = Moment {
            seconds: 1_754_395_200,
            nanoseconds: 123_456_789,
        };
        assert_eq!(
            serde_json::to_string(&moment.unix_seconds_float()).unwrap(),
            "1754395200.123456"
        );
        let moment = Moment {
            seconds: 1_754_395_200,
            nanoseconds: 0,
        };
        assert_eq!(
            serde_json::to_string(&moment.unix_seconds_float()).unwrap(),
            "1754395200.0"
        );
    }

    #[test]
    fn a_missing_or_impossible_time_is_a_failure() {
        assert!(Moment::of(None, "created_at").is_err());
        for (seconds, nanos) in [(-1, 0), (END_SECONDS, 0), (0, -1), (0, 1_000_000_000)] {
            assert!(Moment::of(Some(&Timestamp { seconds, nanos }), "created_at").is_err());
        }
        assert!(
            Moment::of(
                Some(&Timestamp {
                    seconds: 0,
                    nanos: 999_999_999
                }),
                "created_at"
            )
            .is_ok()
        );
    }

    /// Any moment, and more often one at an edge: of a second, a day, a year, of what four digits can say.
    fn any_moment() -> impl Strategy<Value = Moment> {
        let edges = [
            0,
            86_399,
            86_400,
            951_782_399,
            951_868_800,
            4_107_542_399,
            END_SECONDS - 1,
        ];
        let seconds = prop_oneof![4 => 0..END_SECONDS, 1 => prop::sample::select(edges.to_vec())];
        let nanoseconds = prop_oneof![
            4 => 0..1_000_000_000_u32,
            1 => prop::sample::select(vec![0, 999, 1_000, 999_999, 999_999_000, 999_999_999]),
        ];
        (seconds, nanoseconds).prop_map(|(seconds, nanoseconds)| Moment { seconds, nanoseconds })
    }

    fn written(value: &impl Serialize) -> String {
        serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
    }

    proptest! {
        #[test]
        fn text_agrees_with_chrono(seconds in 0..END_SECONDS, nanoseconds in 0..1_000_000_000_u32) {
            let expected = DateTime::from_timestamp(seconds, nanoseconds).unwrap();
            prop_assert_eq!(text(seconds, nanoseconds), expected.format("%Y-%m-%dT%H:%M:%S%.6f").to_string());
        }

        /// No microsecond is lost, and none is added: what is finer is cut off, not rounded.
        #[test]
        fn text_is_read_back_to_the_microsecond(moment in any_moment()) {
            let text = written(&moment);
            prop_assert_eq!(text.len(), 26);
            prop_assert_eq!(text.as_bytes()[19], b'.');
            let read = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.6f").unwrap().and_utc();
            prop_assert_eq!(read.timestamp(), moment.seconds);
            prop_assert_eq!(read.timestamp_subsec_nanos(), moment.nanoseconds / 1000 * 1000);
        }

        /// Both texts are of the same second, which the panel's ends with.
        #[test]
        fn the_panels_text_is_the_same_second(moment in any_moment()) {
            let (text, zulu) = (written(&moment), written(&moment.zulu()));
            prop_assert_eq!(zulu.len(), 20);
            prop_assert_eq!(zulu.strip_suffix('Z'), text.get(..19));
            let read = DateTime::parse_from_rfc3339(&zulu).unwrap();
            prop_assert_eq!((read.timestamp(), read.timestamp_subsec_nanos()), (moment.seconds, 0));
        }

        /// A float is always written as one, and is of the same second as the whole number; up to the year 2200, from where
        /// on a float of 64 bits is too coarse for microseconds.
        #[test]
        fn a_float_is_the_same_moment(moment in any_moment()) {
            let number = moment.unix_seconds_float();
            let text = serde_json::to_string(&number).unwrap();
            prop_assert!(text.contains(['.', 'e']), "{}", text);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
            prop_assert_eq!(moment.unix_seconds(), moment.seconds);
            if moment.seconds < 7_258_118_400 {
                prop_assert_eq!(number.floor() as i64, moment.seconds);
                let microseconds = ((number - number.floor()) * 1e6).round() as u32;
                prop_assert_eq!(microseconds, moment.nanoseconds / 1000);
            }
        }

        /// In range is what four digits of a year can say, since 1970; anything else is the agent's failure, not a text.
        #[test]
        fn what_is_out_of_range_is_no_moment(
            seconds in prop_oneof![any::<i64>(), -5..5_i64, END_SECONDS - 5..END_SECONDS + 5],
            nanos in prop_oneof![any::<i32>(), -5..5_i32, 999_999_995..=1_000_000_005],
        ) {
            let is_in_range = (0..END_SECONDS).contains(&seconds) && (0..1_000_000_000).contains(&nanos);
            let timestamp = Timestamp { seconds, nanos };
            prop_assert_eq!(Moment::of(Some(&timestamp), "created_at").is_ok(), is_in_range);
            prop_assert_eq!(Moment::optional(Some(&timestamp), "created_at").is_ok(), is_in_range);
        }
    }
}
