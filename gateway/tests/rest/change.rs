//! Spoils an answer in every way that a comparison has to notice.

use serde_json::Value;

/// Fields that have a value here and may be null elsewhere.
const MAY_BE_NULL: [&str; 12] = [
    "last_run",
    "firstSeenAt",
    "lastSeenAt",
    "last_activity",
    "first_date",
    "change_pct",
    "subscription_path",
    "subscription_url",
    "pre_restore_backup",
    "protocol",
    "newest_date",
    "disabled_reason",
];

/// Texts that may be any, and so are empty in one place and not in another.
const ANY_TEXT: [&str; 8] = [
    "alias",
    "flow",
    "email",
    "tag",
    "listen",
    "output",
    "inbound_tag",
    "access_log",
];

/// Fields of an event that may be left out.
const OF_SOME_EVENTS: [&str; 6] = ["service", "message", "email", "alias", "enabled", "result"];

/// An object of which only that it is one is promised.
const OPAQUE: &str = "config";

/// Every answer that differs from `value` in one place: a field less, one more, or a value of another type.
pub(crate) fn changed(value: &Value) -> Vec<Value> {
    let mut results = Vec::new();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                // A map may lose a row; a record may not lose a field.
                let is_record = !name.contains('-') && name.parse::<u16>().is_err() && !is_name(name);
                let is_of_some = fields.contains_key("severity") && OF_SOME_EVENTS.contains(&name.as_str());
                if is_record && !is_of_some {
                    let mut less = fields.clone();
                    less.remove(name);
                    results.push(Value::Object(less));
                }
                let allowed = |changed: &Value| {
                    (changed.is_null() && MAY_BE_NULL.contains(&name.as_str()))
                        || (changed.is_string() && ANY_TEXT.contains(&name.as_str()))
                };
                let changes = if name == OPAQUE {
                    vec![Value::Bool(true)]
                } else {
                    changed(field)
                };
                for changed in changes.into_iter().filter(|changed| !allowed(changed)) {
                    let mut other = fields.clone();
                    other.insert(name.clone(), changed);
                    results.push(Value::Object(other));
                }
            }
            let mut more = fields.clone();
            more.insert("surplus-field".to_owned(), Value::Bool(true));
            results.push(Value::Object(more));
        }
        Value::Array(values) => {
            results.push(Value::Bool(true));
            for (index, element) in values.iter().enumerate() {
                for changed in changed(element) {
                    let mut other = values.clone();
                    other[index] = changed;
                    results.push(Value::Array(other));
                }
            }
        }
        Value::String(text) if text.is_empty() => results.extend([Value::from(1), Value::Null, Value::from("x")]),
        Value::String(_) => results.extend([Value::from(1), Value::Null, Value::from("")]),
        Value::Number(number) if number.is_f64() => results.extend([Value::from(1), Value::from("1.0"), Value::Null]),
        Value::Number(_) => results.extend([Value::from(1.5), Value::from("1"), Value::from(-1)]),
        Value::Bool(_) => results.extend([Value::from(1), Value::Null]),
        Value::Null => results.push(Value::Bool(true)),
    }
    results
}

/// Whether this is the name of an interface, of a key or of a service of the stand-in, or a word for its events.
fn is_name(name: &str) -> bool {
    let is_word = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    ["eth0", "wg0", "agent", "xray"].contains(&name) || name.starts_with("key ") || is_word
}
