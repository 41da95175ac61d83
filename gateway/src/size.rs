//! Sizes as text: base 1024, units B to TB.
//!
//! Below 1024 a whole number (`512 B`), above it a fixed number of decimals, one or two by route. The unit is chosen
//! before rounding, so 1048575 bytes are `1024.00 KB`, never `1.00 MB`. Computed in whole numbers: exact for every
//! u64, ties to even, which is what printing the exact quotient with fixed decimals gives.

use std::fmt;

use serde::{Serialize, Serializer};

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

impl<const DECIMALS: u32> fmt::Display for Size<DECIMALS> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        let exponent = (bytes.max(1).ilog2() / 10).min(UNITS.len() as u32 - 1);
        let unit = UNITS[exponent as usize];
        if exponent == 0 {
            return write!(formatter, "{bytes} {unit}");
        }
        let scale = 10_u64.pow(DECIMALS);
        let rounded = divide_to_even(u128::from(bytes) * u128::from(scale), 10 * exponent);
        write!(
            formatter,
            "{}.{:0width$} {unit}",
            rounded / scale,
            rounded % scale,
            width = DECIMALS as usize
        )
    }
}

impl<const DECIMALS: u32> Serialize for Size<DECIMALS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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

    proptest! {
        #[test]
        fn agrees_with_floating_point(bits in 0_u32..53, low in any::<u64>()) {
            let bytes = (1_u64 << bits) | (low & ((1 << bits) - 1));
            prop_assert_eq!(Size1::new(bytes).to_string(), by_float(bytes, 1));
            prop_assert_eq!(Size2::new(bytes).to_string(), by_float(bytes, 2));
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
