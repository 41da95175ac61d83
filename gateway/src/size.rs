//! Sizes as text: base 1024, units B to TB; and as a number of megabytes.
//!
//! Below 1024 a whole number (`512 B`), above it a fixed number of decimals, one or two by route. The unit is chosen
//! before rounding, so 1048575 bytes are `1024.00 KB`, never `1.00 MB`. Computed in whole numbers: exact for every
//! u64, ties to even, which is what printing the exact quotient with fixed decimals gives.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A count of bytes that is written with `DECIMALS` decimals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size<const DECIMALS: u32>(u64);

/// One decimal: the port routes and the system summary.
pub(crate) type Size1 = Size<1>;

/// Two decimals: the simple routes and those of the ledger.
pub(crate) type Size2 = Size<2>;

impl<const DECIMALS: u32> Size<DECIMALS> {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(bytes)
    }
}

const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];

/// Room for the longest text: the 20 digits of a u64, a point, decimals, a space and a unit.
const TEXT_BYTES_MAX: usize = 32;

/// A text, written from its end.
struct Text {
    bytes: [u8; TEXT_BYTES_MAX],
    start: usize,
}

impl Text {
    fn new() -> Self {
        Self {
            bytes: [0; TEXT_BYTES_MAX],
            start: TEXT_BYTES_MAX,
        }
    }

    fn put(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    /// Puts the last digit of `value` before the rest and gives the digits before it.
    fn put_digit(&mut self, value: u64) -> u64 {
        self.put(b'0' + (value % 10) as u8);
        value / 10
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[self.start..]).expect("digits and units are ASCII")
    }
}

impl<const DECIMALS: u32> Size<DECIMALS> {
    /// The text, written digit by digit: a list has thousands of these, and formatting would take a tenth of its time.
    fn text(self) -> Text {
        let bytes = self.0;
        let exponent = (bytes.max(1).ilog2() / 10).min(UNITS.len() as u32 - 1);
        let mut text = Text::new();
        UNITS[exponent as usize].bytes().rev().for_each(|byte| text.put(byte));
        text.put(b' ');
        let mut rest = bytes;
        if exponent > 0 {
            let scale = 10_u128.pow(DECIMALS);
            rest = divide_to_even(u128::from(bytes) * scale, 10 * exponent);
            for _ in 0..DECIMALS {
                rest = text.put_digit(rest);
            }
            text.put(b'.');
        }
        loop {
            rest = text.put_digit(rest);
            if rest == 0 {
                return text;
            }
        }
    }
}

impl<const DECIMALS: u32> fmt::Display for Size<DECIMALS> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text().as_str())
    }
}

impl<const DECIMALS: u32> PartialSchema for Size<DECIMALS> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(format!(
                "Bytes as text: base 1024, {DECIMALS} decimals from 1 KB on."
            )))
            .pattern(Some(format!(r"^([0-9]+ B|[0-9]+\.[0-9]{{{DECIMALS}}} [KMGT]B)$")))
            .examples([Self(1_536).to_string()])
            .into()
    }
}

impl<const DECIMALS: u32> ToSchema for Size<DECIMALS> {
    fn name() -> Cow<'static, str> {
        format!("Size{DECIMALS}").into()
    }
}

impl<const DECIMALS: u32> Serialize for Size<DECIMALS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

/// A count of bytes that is written as a number: units of 1048576 bytes, two decimals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Megabytes(u64);

impl Megabytes {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl Serialize for Megabytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hundredths = divide_to_even(u128::from(self.0) * 100, 20);
        serializer.serialize_f64(hundredths as f64 / 100.0)
    }
}

/// `value` divided by 2 to the power of `bits` (at least 1), rounded to the nearest whole number, ties to even.
fn divide_to_even(value: u128, bits: u32) -> u64 {
    let quotient = (value >> bits) as u64;
    let remainder = value & ((1 << bits) - 1);
    let half = 1_u128 << (bits - 1);
    let is_rounded_up = remainder > half || (remainder == half && quotient % 2 == 1);
    quotient + u64::from(is_rounded_up)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by floating point: exact below 2^53, where a byte count has a float of its own.
    fn by_float(bytes: u64, decimals: usize) -> String {
        if bytes < 1024 {
            return format!("{bytes} B");
        }
        let mut value = bytes as f64 / 1024.0;
        let mut unit = 1;
        while value >= 1024.0 && unit < 4 {
            value /= 1024.0;
            unit += 1;
        }
        format!("{value:.decimals$} {}", UNITS[unit])
    }

    /// What a text says: the number without its point, and the bytes of one unit.
    fn read(text: &str, decimals: usize) -> (u128, u128) {
        let (number, unit) = text.split_once(' ').unwrap();
        let exponent = UNITS.iter().position(|name| *name == unit).unwrap();
        let digits = match number.split_once('.') {
            Some((whole, fraction)) => {
                assert!(exponent > 0 && fraction.len() == decimals, "{text}");
                format!("{whole}{fraction}")
            }
            None => {
                assert_eq!(exponent, 0, "{text}");
                number.to_owned()
            }
        };
        assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
        (digits.parse().unwrap(), 1 << (10 * exponent))
    }

    /// Within half of the last place, in the largest unit that is not larger than the value.
    fn is_about<const DECIMALS: u32>(bytes: u64) -> Result<(), TestCaseError> {
        let text = Size::<DECIMALS>::new(bytes).to_string();
        let (number, unit) = read(&text, DECIMALS as usize);
        let bytes = u128::from(bytes);
        if unit == 1 {
            prop_assert!(bytes < 1024 && number == bytes, "{}", text);
            return Ok(());
        }
        prop_assert!(
            unit <= bytes && (bytes < unit * 1024 || text.ends_with(" TB")),
            "{}",
            text
        );
        let scale = 10_u128.pow(DECIMALS);
        let off = (number * unit).abs_diff(bytes * scale);
        prop_assert!(2 * off <= unit, "{} for {}", text, bytes);
        Ok(())
    }

    /// Any number of bytes; every size of number is as likely.
    fn any_bytes() -> impl Strategy<Value = u64> {
        (0_u32..=64, any::<u64>()).prop_map(|(bits, bytes)| bytes.checked_shr(64 - bits).unwrap_or(0))
    }

    #[test]
    fn one_decimal() {
        for (bytes, text) in [
            (0, "0 B"),
            (512, "512 B"),
            (1023, "1023 B"),
            (1024, "1.0 KB"),
            (524_288, "512.0 KB"),
            (1_048_575, "1024.0 KB"),
            (1_048_576, "1.0 MB"),
            (10_485_760, "10.0 MB"),
            (u64::MAX, "16777216.0 TB"),
        ] {
            assert_eq!(Size1::new(bytes).to_string(), text);
        }
    }

    #[test]
    fn two_decimals() {
        for (bytes, text) in [
            (0, "0 B"),
            (1024, "1.00 KB"),
            (49_725, "48.56 KB"),
            (1_048_575, "1024.00 KB"),
            (19_233_840, "18.34 MB"),
            (38_467_682, "36.69 MB"),
            (1 << 40, "1.00 TB"),
            (1 << 50, "1024.00 TB"),
        ] {
            assert_eq!(Size2::new(bytes).to_string(), text);
        }
    }

    #[test]
    fn is_written_as_text() {
        assert_eq!(serde_json::to_string(&Size2::new(1536)).unwrap(), r#""1.50 KB""#);
    }

    #[test]
    fn megabytes_are_a_number_with_two_decimals() {
        for (bytes, number) in [
            (0, "0.0"),
            (5_242, "0.0"),
            (5_243, "0.01"),
            (1_048_576, "1.0"),
            (19_233_840, "18.34"),
            (38_467_682, "36.69"),
            (1 << 40, "1048576.0"),
            (u64::MAX, "17592186044416.0"),
        ] {
            assert_eq!(serde_json::to_string(&Megabytes::new(bytes)).unwrap(), number);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_floating_point(bits in 0_u32..53, low in any::<u64>()) {
            let bytes = (1_u64 << bits) | (low & ((1 << bits) - 1));
            prop_assert_eq!(Size1::new(bytes).to_string(), by_float(bytes, 1));
            prop_assert_eq!(Size2::new(bytes).to_string(), by_float(bytes, 2));
        }

        #[test]
        fn a_text_is_within_half_of_its_last_place(bytes in any_bytes()) {
            is_about::<1>(bytes)?;
            is_about::<2>(bytes)?;
        }

        /// Where rounding would have to move to the next unit, it does not: `1024.00 KB` it is.
        #[test]
        fn just_below_a_unit_is_the_unit_before(exponent in 2_u32..=4, below in 1_u64..=5) {
            let bytes = (1_u64 << (10 * exponent)) - below;
            let unit = UNITS[exponent as usize - 1];
            prop_assert_eq!(Size1::new(bytes).to_string(), format!("1024.0 {unit}"));
            prop_assert_eq!(Size2::new(bytes).to_string(), format!("1024.00 {unit}"));
        }

        /// More bytes never read as less.
        #[test]
        fn texts_are_in_order(bytes in any_bytes(), more in any_bytes()) {
            let value = |bytes, decimals| {
                let text = if decimals == 1 { Size1::new(bytes).to_string() } else { Size2::new(bytes).to_string() };
                let (number, unit) = read(&text, decimals);
                number * unit * if unit == 1 { 10_u128.pow(decimals as u32) } else { 1 }
            };
            for decimals in [1, 2] {
                prop_assert!(value(bytes, decimals) <= value(bytes.saturating_add(more), decimals));
            }
        }

        /// Multiples of 1/8 of a unit: here ties are common, elsewhere they are rare.
        #[test]
        fn agrees_on_ties(eighths in 8_u64..8192, exponent in 1_u32..=4) {
            let bytes = eighths << (10 * exponent - 3);
            prop_assert_eq!(Size1::new(bytes).to_string(), by_float(bytes, 1));
            prop_assert_eq!(Size2::new(bytes).to_string(), by_float(bytes, 2));
        }
    }
}
