//! What a request's head must not look like, though the parser would take it.
//!
//! A proxy in front may read such a head differently, and then what one of the two takes for a body is a request for the
//! other. Plain functions over bytes.

/// Why a head is refused.
const BARE_LINE_FEED: &str = "A line of the request's head ends without a carriage return";
const TWO_LENGTHS: &str = "The request says in two ways how long its body is";
const UNCLEAR_LENGTH: &str = "A request with Transfer-Encoding must not follow another one unasked";

/// What is wrong with a request whose connection has sent `raw` since the last answer; `method` and `target` are what
/// the parser has read. `raw` begins elsewhere where requests are sent without waiting for answers: then only a length
/// that is told in chunks is unclear.
pub(super) fn objection(raw: &[u8], method: &str, target: &str, is_chunked: bool) -> Option<&'static str> {
    if !begins_with(raw, method, target) {
        return is_chunked.then_some(UNCLEAR_LENGTH);
    }
    let mut lengths = 0;
    for line in raw.split_inclusive(|&byte| byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Some(BARE_LINE_FEED);
        };
        if line.is_empty() {
            break;
        }
        lengths += usize::from(is_length(line));
    }
    (lengths > 1).then_some(TWO_LENGTHS)
}

/// Servers may be sent empty lines ahead of a request (RFC 9112, section 2.2); they are not in `raw`.
fn begins_with(raw: &[u8], method: &str, target: &str) -> bool {
    let rest = raw.strip_prefix(method.as_bytes());
    let rest = rest.and_then(|rest| rest.strip_prefix(b" "));
    rest.is_some_and(|rest| rest.starts_with(target.as_bytes()))
}

fn is_length(line: &[u8]) -> bool {
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

/// The path of the request that begins with `raw`, as far as there is one.
pub(super) fn path(raw: &[u8]) -> &str {
    let line = raw
        .split(|&byte| byte == b'\n' || byte == b'\r')
        .next()
        .unwrap_or_default();
    let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    str::from_utf8(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_said_once_and_lines_end_as_they_should() {
        for (raw, is_chunked, expected) in [
            (
                "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}\n",
                false,
                None,
            ),
            ("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", true, None),
            (
                "POST /a HTTP/1.1\r\nContent-Length: 2\r\nTRANSFER-ENCODING: chunked\r\n\r\n",
                true,
                Some(TWO_LENGTHS),
            ),
            (
                "POST /a HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n",
                false,
                Some(TWO_LENGTHS),
            ),
            ("POST /a HTTP/1.1\nHost: x\r\n\r\n", false, Some(BARE_LINE_FEED)),
            ("POST /a HTTP/1.1\r\nHost: x\n\n", false, Some(BARE_LINE_FEED)),
            ("}POST /a HTTP/1.1\r\n", false, None),
            ("}POST /a HTTP/1.1\r\n", true, Some(UNCLEAR_LENGTH)),
            ("", true, Some(UNCLEAR_LENGTH)),
        ] {
            assert_eq!(objection(raw.as_bytes(), "POST", "/a", is_chunked), expected, "{raw:?}");
        }
    }

    #[test]
    fn a_path_is_found_in_half_a_head() {
        for (raw, expected) in [
            ("GET /api/users?x=1 HTTP/1.1\r\n", "/api/users"),
            ("GET /api/live/no", "/api/live/no"),
            ("GET", ""),
            ("", ""),
        ] {
            assert_eq!(path(raw.as_bytes()), expected);
        }
        assert_eq!(path(b"GET /\xff HTTP/1.1"), "");
    }
}
