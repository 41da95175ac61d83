//! The core's configuration file as a document: what Portmeter wrote into it, and what others did.
//!
//! Everything here is a plain function over the JSON; reading and writing the file is the business of
//! [`files`](super::files). Portmeter owns the inbounds whose tag names a key and the address of the core's API.
//! Whatever else stands in the document is somebody else's and is kept as it is, in its order.

mod inbound;
mod look;
mod mask;
mod reality;
mod render;
mod restore;
mod sections;
mod verify;

use std::fmt;

use serde_json::{Map, Value};

use inbound::Inbound;
pub use look::{ClientSummary, FirstReality, InboundSummary, NoFirstReality, Summary};
pub use render::render;
pub use restore::{FoundClient, Restored, restore};
pub use verify::{MissingField, Repair, verify};

#[cfg(test)]
mod fixtures;

/// Sections that are an object where they exist.
const OBJECTS: [&str; 5] = ["log", "api", "stats", "policy", "routing"];

/// Sections that are a list of objects where they exist.
const LISTS: [&str; 2] = ["inbounds", "outbounds"];

/// Why a text is no configuration of the core. Nothing of the text is repeated, since it holds secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// No JSON. The core itself also reads comments, which would be lost here.
    #[error(
        "the core's configuration is no JSON at line {line}, column {column}; correct it there (comments are no JSON)"
    )]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// JSON, but a list, a text or a number.
    #[error("the core's configuration is no JSON object; it has to begin with a brace")]
    NotAnObject,
    /// A section that is to be an object.
    #[error("`{0}` in the core's configuration is no object")]
    SectionIsNoObject(&'static str),
    /// A section that is to be a list of objects.
    #[error("`{0}` in the core's configuration is no list of objects")]
    SectionIsNoList(&'static str),
}

/// A configuration of the core. It holds secrets: only [`Document::masked`] is for showing.
#[derive(Clone, PartialEq)]
pub struct Document {
    root: Map<String, Value>,
}

impl Document {
    /// Reads a configuration file's text.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let value: Value = serde_json::from_str(text).map_err(|error| DocumentError::NotJson {
            line: error.line(),
            column: error.column(),
        })?;
        let Value::Object(root) = value else {
            return Err(DocumentError::NotAnObject);
        };
        for name in OBJECTS {
            if !matches!(root.get(name), None | Some(Value::Null | Value::Object(_))) {
                return Err(DocumentError::SectionIsNoObject(name));
            }
        }
        for name in LISTS {
            match root.get(name) {
                None | Some(Value::Null) => {}
                Some(Value::Array(values)) if values.iter().all(Value::is_object) => {}
                Some(_) => return Err(DocumentError::SectionIsNoList(name)),
            }
        }
        Ok(Self { root })
    }

    /// The text for the file: indented, with a final newline, keys in the order they have.
    pub fn to_text(&self) -> String {
        // The alternate form of a JSON value is indented and cannot fail.
        format!("{:#}\n", Value::Object(self.root.clone()))
    }

    /// Where the core writes its access log: a path, `none`, or empty for its standard output.
    pub fn access_log(&self) -> &str {
        let log = self.root.get("log").and_then(Value::as_object);
        log.map_or("", |log| text(log, "access"))
    }

    /// The inbounds in their order.
    fn inbounds(&self) -> impl Iterator<Item = Inbound<'_>> {
        list(&self.root, "inbounds").iter().filter_map(Inbound::of)
    }
}

/// Shows no content, which may be secret.
impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inbound_count = list(&self.root, "inbounds").len();
        formatter
            .debug_struct("Document")
            .field("inbound_count", &inbound_count)
            .finish_non_exhaustive()
    }
}

/// The list of this name, empty where there is none.
fn list<'a>(object: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The text of this name, empty where there is none.
fn text<'a>(object: &'a Map<String, Value>, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_configuration_is_refused_with_a_sentence() {
        let refused = |text: &str| Document::parse(text).unwrap_err();
        assert_eq!(refused("{\n // mine\n}"), DocumentError::NotJson { line: 2, column: 2 });
        assert!(matches!(refused(""), DocumentError::NotJson { .. }));
        assert_eq!(refused("[]"), DocumentError::NotAnObject);
        assert_eq!(refused(r#"{"api": 1}"#), DocumentError::SectionIsNoObject("api"));
        for text in [
            r#"{"inbounds": {}}"#,
            r#"{"inbounds": "x"}"#,
            r#"{"inbounds": [1]}"#,
            r#"{"inbounds": [null]}"#,
        ] {
            assert_eq!(refused(text), DocumentError::SectionIsNoList("inbounds"), "{text}");
        }
    }

    #[test]
    fn no_error_and_no_debug_output_repeats_a_secret() {
        let secret = "uJ0MZ3O0pIvnq3vYwSi0kS0uWkkW0-WKiN4Y6XkZk0M";
        for text in [
            format!(r#"{{"privateKey": "{secret}" "x""#),
            format!(r#"{{"api": "{secret}"}}"#),
        ] {
            let error = Document::parse(&text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(secret));
        }
        let document = Document::parse(&format!(r#"{{"inbounds": [{{"tag": "{secret}"}}]}}"#)).unwrap();
        assert_eq!(format!("{document:?}"), "Document { inbound_count: 1, .. }");
    }

    #[test]
    fn a_text_keeps_its_order_and_its_odd_characters() {
        let text = "{\n  \"z\": \"quote \\\" newline \\n \\u0000 ü €\",\n  \"inbounds\": null,\n  \"a\": 18446744073709551615\n}\n";
        assert_eq!(Document::parse(text).unwrap().to_text(), text);
    }
}
