//! What a program says, made fit to be shown: one line, bounded, without secrets.

use std::net::{IpAddr, SocketAddr};

use uuid::Uuid;

/// Most characters of a reason.
const REASON_CHARACTERS_MAX: usize = 300;

/// A REALITY key is 32 bytes as base64url without padding.
const KEY_CHARACTERS: usize = 43;

/// Characters of a uuid with its hyphens, and those of them that are shown.
const UUID_CHARACTERS: usize = 36;
const SHOWN_UUID_CHARACTERS: usize = 8;

/// The line of a program's output that tells why it ended, fit to be shown: where none has the signs of it, the last.
/// `None` where it said nothing.
pub(super) fn telling_line(output: &str) -> Option<String> {
    let last = || output.lines().rev().find(|line| !line.trim().is_empty()).map(reason);
    complaint(output).or_else(last)
}

/// The line that has the signs of a reason.
pub(super) fn complaint(output: &str) -> Option<String> {
    let of = |signs: &[&str]| {
        let has_sign = |line: &&str| signs.iter().any(|sign| line.contains(sign));
        output.lines().rev().find(has_sign)
    };
    // After a panic come pages of where it was.
    of(&["panic: ", "fatal error: "])
        .or_else(|| of(&["Failed to start", "[Error]"]))
        .map(reason)
}

/// A text as one line of bounded length, without secrets.
pub(super) fn reason(text: &str) -> String {
    let line = without_secrets(&one_line(text));
    match line.char_indices().nth(REASON_CHARACTERS_MAX) {
        // With room for the sign that something is missing.
        Some(_) => line.chars().take(REASON_CHARACTERS_MAX - 1).chain(['…']).collect(),
        None => line,
    }
}

/// White space and control characters become single spaces; colours of a terminal go.
pub(super) fn one_line(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' && characters.next_if_eq(&'[').is_some() {
            while characters.next_if(|one| !one.is_ascii_alphabetic()).is_some() {}
            characters.next();
        } else {
            plain.push(if character.is_control() { ' ' } else { character });
        }
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Hides what looks like a key, and all of a uuid but its beginning: a client's uuid is what it gets in with.
pub(super) fn without_secrets(text: &str) -> String {
    let is_of_key = |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    replace_words(text, is_of_key, |word| {
        let at = word.len().checked_sub(UUID_CHARACTERS);
        if let Some(at) = at.filter(|at| Uuid::try_parse(&word[*at..]).is_ok()) {
            return Some(format!("{}…", &word[..at + SHOWN_UUID_CHARACTERS]));
        }
        (word.len() >= KEY_CHARACTERS).then(|| "***".to_owned())
    })
}

/// Hides the addresses of others, ports stay: who uses a key is nobody's business but theirs.
pub(super) fn without_addresses(text: &str) -> String {
    let is_of_address = |character: char| character.is_ascii_hexdigit() || ".:[]".contains(character);
    replace_words(text, is_of_address, |word| {
        // A colon before or after is the sentence's: `tcp:192.0.2.1:443`, `192.0.2.1:`.
        let address = word.trim_start_matches(':').trim_end_matches([':', '.']);
        let (ip, port) = match (address.parse::<SocketAddr>(), address.parse::<IpAddr>()) {
            (Ok(socket), _) => (socket.ip(), Some(socket.port())),
            (_, Ok(ip)) => (ip, None),
            _ => return None,
        };
        // `::` alone is more often punctuation than an address.
        if ip.is_unspecified() || ip.is_loopback() {
            return None;
        }
        let hidden = port.map_or_else(|| "(address)".to_owned(), |port| format!("(address):{port}"));
        Some(word.replacen(address, &hidden, 1))
    })
}

/// Replaces the longest runs of such (ASCII) characters for which there is a replacement.
fn replace_words(
    text: &str,
    is_of_word: impl Fn(char) -> bool,
    replacement: impl Fn(&str) -> Option<String>,
) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|character| !is_of_word(character)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        replaced.push_str(replacement(word).as_deref().unwrap_or(word));
        let next = after.find(&is_of_word).unwrap_or(after.len());
        replaced.push_str(&after[..next]);
        rest = &after[next..];
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "mIm5DsBsyrEb0fC-F6lNTXK8ezYh8Jp4m7QJ6o7Jx1s";

    #[test]
    fn the_telling_line_is_the_one_with_the_reason() {
        let output = "Xray 26.10.10 (Xray, Penetrates Everything.)\nFailed to start: main: no such file\n\nbye\n";
        assert_eq!(telling_line(output).unwrap(), "Failed to start: main: no such file");
        let panic = "panic: runtime error: nil map\n\ngoroutine 1 [running]:\nmain.main()\n\tmain.go:1 +0x1d\n";
        assert_eq!(telling_line(panic).unwrap(), "panic: runtime error: nil map");
        assert_eq!(telling_line("one\ntwo\n").unwrap(), "two");
        assert_eq!(telling_line(" \n"), None);
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason("\u{1b}[31ma\u{1b}[0m\tb\r\nc\0d"), "a b c d");
        assert_eq!(reason(&"ü ".repeat(400)).chars().count(), 300);
        assert_eq!(reason(&"ü".repeat(300)), "ü".repeat(300));
    }

    #[test]
    fn keys_and_uuids_are_hidden() {
        assert_eq!(KEY.len(), 43);
        assert_eq!(
            reason(&format!("invalid \"privateKey\": \"{KEY}\", x")),
            "invalid \"privateKey\": \"***\", x"
        );
        assert_eq!(reason(KEY), "***");
        assert_eq!(reason(&format!("{KEY}=")), "***=");
        let uuid = "c0ffee00-1111-4222-8333-444455556666";
        assert_eq!(
            reason(&format!("existing tag found: inbound-{uuid}.")),
            "existing tag found: inbound-c0ffee00…."
        );
        let path = "/usr/local/share/xray/github.com/xtls/xray-core/transport/internet/reality";
        assert_eq!(reason(path), path);
        assert_eq!(reason(&"m".repeat(42)), "m".repeat(42));
    }

    #[test]
    fn addresses_of_others_are_hidden() {
        for (line, hidden) in [
            (
                "from 192.0.2.7:5000 accepted tcp:198.51.100.1:443",
                "from (address):5000 accepted tcp:(address):443",
            ),
            ("from [2001:db8::7]:5000: EOF", "from (address):5000: EOF"),
            ("read 2001:db8::7, 192.0.2.7.", "read (address), (address)."),
            ("listen tcp 0.0.0.0:443: in use", "listen tcp 0.0.0.0:443: in use"),
            ("[::1]:80 [::]:81 127.0.0.1:82", "[::1]:80 [::]:81 127.0.0.1:82"),
            (
                "2026/10/10 10:20:30.123456 app/proxyman",
                "2026/10/10 10:20:30.123456 app/proxyman",
            ),
        ] {
            assert_eq!(without_addresses(line), hidden);
        }
    }
}
