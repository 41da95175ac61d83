//! Holds a value against a schema of the OpenAPI document, strictly: what the schema does not name may not be there.
//!
//! It knows the words that the document uses and stops at any other, so that nothing is taken for checked that is not.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Words that say nothing about a value, or nothing that is checked here: patterns and formats are compared by
/// `shape`, and by `cargo xtask schemathesis`.
const IGNORED: [&str; 11] = [
    "description",
    "example",
    "examples",
    "format",
    "pattern",
    "maximum",
    "minLength",
    "maxLength",
    "propertyNames",
    "uniqueItems",
    "title",
];

/// What of `value` is not as `schema` says, each with its place.
pub(crate) fn mismatches(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut checked = Checked {
        document,
        found: Vec::new(),
    };
    checked.check("answer", schema, value);
    if checked.found.is_empty() {
        checked.check_names("answer", schema, value);
    }
    checked.found
}

struct Checked<'a> {
    document: &'a Value,
    found: Vec<String>,
}

impl<'a> Checked<'a> {
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(name) => self
                .document
                .pointer(&name[1..])
                .unwrap_or_else(|| panic!("{name} is nowhere")),
            None => schema,
        }
    }

    fn check(&mut self, place: &str, schema: &'a Value, value: &Value) {
        let schema = self.resolve(schema);
        for (word, what) in schema
            .as_object()
            .unwrap_or_else(|| panic!("{place}: {schema} is no schema"))
        {
            let is_right = match word.as_str() {
                "type" => is_of_type(what, value),
                "enum" => what.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|value| value >= what.as_f64().unwrap()),
                "minItems" => value
                    .as_array()
                    .is_none_or(|value| value.len() as u64 >= what.as_u64().unwrap()),
                "maxItems" => value
                    .as_array()
                    .is_none_or(|value| value.len() as u64 <= what.as_u64().unwrap()),
                "required" => {
                    let names = what.as_array().unwrap().iter();
                    names.clone().all(|name| value.get(name.as_str().unwrap()).is_some())
                }
                "properties" => {
                    self.check_fields(place, what.as_object().unwrap(), value);
                    true
                }
                "additionalProperties" => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        self.check(&format!("{place}.{name}"), what, value);
                    }
                    true
                }
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(&format!("{place}[{index}]"), what, value);
                    }
                    true
                }
                "allOf" => {
                    what.as_array()
                        .unwrap()
                        .iter()
                        .for_each(|part| self.check(place, part, value));
                    true
                }
                "oneOf" => {
                    let parts = what.as_array().unwrap().iter();
                    parts
                        .filter(|part| mismatches(self.document, part, value).is_empty())
                        .count()
                        == 1
                }
                word => {
                    assert!(IGNORED.contains(&word), "{place}: this check does not know {word}");
                    true
                }
            };
            if !is_right {
                self.found.push(format!("{place}: {value} and {word}: {what}"));
            }
        }
    }

    fn check_fields(&mut self, place: &str, fields: &'a Map<String, Value>, value: &Value) {
        for (name, schema) in fields {
            if let Some(value) = value.get(name) {
                self.check(&format!("{place}.{name}"), schema, value);
            }
        }
    }

    /// What the value has and the schema does not name. Parts of an `allOf` name fields together, so this is looked at
    /// after everything else.
    fn check_names(&mut self, place: &str, schema: &'a Value, value: &Value) {
        let schema = self.resolve(schema);
        match value {
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    self.check_names(&format!("{place}[{index}]"), &schema["items"], value);
                }
            }
            Value::Object(values) => {
                if let Some(parts) = schema["oneOf"].as_array() {
                    let of_value = |part: &&Value| mismatches(self.document, part, &value.clone()).is_empty();
                    if parts.iter().any(|part| of_value(&part)) {
                        return;
                    }
                }
                let fields = self.fields_of(schema);
                for (name, value) in values {
                    let named = fields.iter().find(|field| field.0 == name).map(|field| field.1);
                    match named.or_else(|| schema.get("additionalProperties")) {
                        Some(schema) => self.check_names(&format!("{place}.{name}"), schema, value),
                        None if fields.is_empty() && schema["type"] == "object" => {}
                        None => self.found.push(format!("{place}.{name} is not in the document")),
                    }
                }
            }
            _ => {}
        }
    }

    fn fields_of(&self, schema: &'a Value) -> Vec<(&'a String, &'a Value)> {
        let schema = self.resolve(schema);
        let own = schema["properties"].as_object().into_iter().flatten();
        let parts = schema["allOf"].as_array().into_iter().flatten();
        own.chain(parts.flat_map(|part| self.fields_of(part))).collect()
    }
}

fn is_of_type(kinds: &Value, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        kind => panic!("no type {kind}"),
    };
    match kinds {
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    }
}

/// The statuses that an operation's document lists.
pub(crate) fn statuses(operation: &Value) -> BTreeSet<u16> {
    let listed = operation["responses"].as_object().unwrap().keys();
    listed.map(|status| status.parse().unwrap()).collect()
}
