//! Reads the query of a request: names and values after the `?`, percent-decoded.
//!
//! Names that nobody asked for are left alone; of a name that is there twice the last value counts. A value that is no
//! number, out of range or not one of the words is refused with a sentence that begins with its name.

use std::convert::Infallible;
use std::ops::RangeInclusive;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::failure::Failure;

/// The names and values of a query.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// A value as it is.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let mut from_the_end = self.0.iter().rev();
        from_the_end
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// A whole number in `range`, or `default` where there is none.
    pub(crate) fn number(&self, name: &str, default: u32, range: RangeInclusive<u32>) -> Result<u32, Failure> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| is_number && range.contains(number));
        number.ok_or_else(|| {
            let (first, last) = (range.start(), range.end());
            Failure::bad_request(format!("{name}: send a whole number from {first} to {last}"))
        })
    }

    /// What one of `words` stands for; the first of them where there is none.
    pub(crate) fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<T, Failure> {
        let text = self.text(name);
        let mut found = words.iter().filter(|(word, _)| text.is_none_or(|text| text == *word));
        found.next().map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Failure::bad_request(format!("{name}: send one of {}", words.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_decoded_and_the_last_one_counts() {
        let query = Query::parse("user=a%40b+c&user=d%C3%A9&=x&&flag");
        assert_eq!(query.text("user"), Some("dé"));
        assert_eq!((query.text("flag"), query.text("nobody")), (Some(""), None));
        assert_eq!(Query::parse("user=a%40b+c").text("user"), Some("a@b c"));
    }

    #[test]
    fn a_number_is_whole_and_in_range() {
        let number = |text: &str| Query::parse(text).number("days", 7, 1..=365).ok();
        for (text, expected) in [
            ("", Some(7)),
            ("other=x", Some(7)),
            ("days=1", Some(1)),
            ("days=007", Some(7)),
            ("days=365", Some(365)),
            ("days=x&days=2", Some(2)),
            ("days=", None),
            ("days=0", None),
            ("days=366", None),
            ("days=-1", None),
            ("days=%2B1", None),
            ("days=+1", None),
            ("days=1.0", None),
            ("days=1e2", None),
            ("days=seven", None),
            ("days=%D9%A3", None),
            ("days=%ff", None),
            ("days=99999999999999999999999", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_is_one_of_those_there_are() {
        let words = [("daily", 1), ("cumulative", 2)];
        let choice = |text: &str| Query::parse(text).choice("mode", &words).ok();
        assert_eq!(choice(""), Some(1));
        assert_eq!(choice("mode=cumulative"), Some(2));
        for text in ["mode=", "mode=Daily", "mode=weekly"] {
            assert_eq!(choice(text), None, "{text}");
        }
        let refused = Query::parse("mode=x").choice("mode", &words).unwrap_err();
        assert_eq!(refused.into_text(), "mode: send one of daily, cumulative");
    }
}
