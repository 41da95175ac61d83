//! Figures and texts as people read them: sizes, rates, times, names. Plain functions.

use std::time::Duration;

/// Prefixes of units, each a thousand times the one before.
const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// `1234567` as `1.23 MB`: three digits, powers of a thousand.
pub(super) fn bytes(count: u64) -> String {
    scaled(count as f64, "B")
}

/// Bytes per second as `1.23 MB/s`.
pub(super) fn byte_rate(bytes_per_second: f64) -> String {
    scaled(bytes_per_second, "B/s")
}

/// Bytes per second as bits per second, `9.87 Mbit/s`.
pub(super) fn bit_rate(bytes_per_second: f64) -> String {
    scaled(bytes_per_second * 8.0, "bit/s")
}

/// A number with three digits and a prefix before the unit; whole below a thousand.
fn scaled(value: f64, unit: &str) -> String {
    let mut value = value.max(0.0);
    let mut prefixes = PREFIXES.iter();
    let mut prefix = prefixes.next().unwrap_or(&"");
    // What would be written as 1000 belongs to the next prefix.
    while value >= 999.5 {
        let Some(next) = prefixes.next() else { break };
        (value, prefix) = (value / 1_000.0, next);
    }
    let decimals = match value {
        _ if prefix.is_empty() => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {prefix}{unit}")
}

/// `12345` as `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in its two largest units: `3 d 4 h`, `5 min 7 s`, `0 s`.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = units
        .iter()
        .position(|(count, _)| *count > 0)
        .unwrap_or(units.len() - 1);
    let shown = units[first..].iter().take(2).enumerate();
    let shown = shown.filter(|(place, (count, _))| *place == 0 || *count > 0);
    let parts: Vec<String> = shown.map(|(_, (count, unit))| format!("{count} {unit}")).collect();
    parts.join(" ")
}

/// Anybody's text with what could steer a terminal, or turn a line around, written out: `\u{1b}`.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if character.is_control() => shown.extend(character.escape_default()),
            // Marks that order right-to-left text, and separators of lines.
            '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(character.escape_unicode());
            }
            character => shown.push(character),
        }
    }
    shown
}

/// A key's name, with the alias that panels show beside it.
pub(super) fn full_name(name: &str, alias: &str) -> String {
    match alias {
        "" => printable(name),
        alias => format!("{} ({})", printable(name), printable(alias)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (count, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_996, "10.0 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (1_234_567, "1.23 MB"),
            (12_345_678_901, "12.3 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn rates_are_bytes_or_bits() {
        assert_eq!(byte_rate(1_500_000.0), "1.50 MB/s");
        assert_eq!(bit_rate(1_500_000.0), "12.0 Mbit/s");
        assert_eq!(byte_rate(-1.0), "0 B/s");
    }

    #[test]
    fn counts_have_groups_of_three() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), expected);
        }
    }

    #[test]
    fn a_span_has_its_two_largest_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (307, "5 min 7 s"),
            (3_600, "1 h"),
            (3_601, "1 h"),
            (90_000, "1 d 1 h"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn nobodys_text_steers_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\n\"b\"\u{202e}c"), "a\\u{1b}[2J\\n\"b\"\\u{202e}c");
        assert_eq!(printable("Zoë 👨‍👩‍👧 नमस्ते"), "Zoë 👨‍👩‍👧 नमस्ते");
        assert_eq!(full_name("alice", ""), "alice");
        assert_eq!(full_name("alice", "Al\t"), "alice (Al\\t)");
    }
}
