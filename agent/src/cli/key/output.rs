//! Keys as people and programs read them.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use portmeter_proto::v1::Key;
use serde_json::{Value, json};

use crate::cli::moment::moment;

/// Several keys: a table, or a list as JSON.
pub(super) fn keys(keys: &[Key], is_json: bool) -> String {
    match is_json {
        true => line(&Value::from_iter(keys.iter().map(value))),
        false => table(keys),
    }
}

/// One key as JSON.
pub(super) fn key_as_json(key: &Key) -> String {
    line(&value(key))
}

/// JSON on a line of its own.
pub(super) fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// The fields and forms of `GET /api/keys`, and the alias.
fn value(key: &Key) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "uuid": key.uuid,
        "created_at": created_at(key).map(|at| at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()),
        "is_active": key.is_active,
        "port": key.port,
        "alias": key.alias,
    })
}

fn created_at(key: &Key) -> Option<DateTime<Utc>> {
    moment(key.created_at?)
}

fn table(keys: &[Key]) -> String {
    let mut text = format!("{:<36}  {:>5}  {:<8}  {:<10}  NAME\n", "ID", "PORT", "STATE", "CREATED");
    for key in keys {
        let port = key.port.map_or_else(|| "-".to_owned(), |port| port.to_string());
        let state = if key.is_active { "enabled" } else { "disabled" };
        let created = created_at(key).map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d").to_string());
        // A name is anybody's text: it must not steer the terminal.
        let name = key.name.escape_debug();
        let _ = writeln!(text, "{:<36}  {port:>5}  {state:<8}  {created:<10}  {name}", key.id);
    }
    text
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn key() -> Key {
        Key {
            id: "db5b5fab-8f4d-4e27-9da1-494c73cf256d".to_owned(),
            uuid: "73ab4876-7734-47c1-87fd-e805ec99108d".to_owned(),
            name: "a\u{1b}[2J\n\"b\"".to_owned(),
            created_at: Some(Timestamp {
                seconds: 1_754_395_200,
                nanos: 1_500,
            }),
            is_active: false,
            port: Some(10_001),
            alias: "Zoë".to_owned(),
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_key_and_no_secret() {
        let nowhere = Key {
            port: None,
            created_at: None,
            is_active: true,
            ..key()
        };
        let text = keys(&[key(), nowhere], false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "ID                                     PORT  STATE     CREATED     NAME",
                "db5b5fab-8f4d-4e27-9da1-494c73cf256d  10001  disabled  2025-08-05  a\\u{1b}[2J\\n\\\"b\\\"",
                "db5b5fab-8f4d-4e27-9da1-494c73cf256d      -  enabled   -           a\\u{1b}[2J\\n\\\"b\\\"",
            ]
        );
    }

    #[test]
    fn json_is_what_rest_answers_and_the_alias() {
        let expected = json!({
            "id": "db5b5fab-8f4d-4e27-9da1-494c73cf256d",
            "name": "a\u{1b}[2J\n\"b\"",
            "uuid": "73ab4876-7734-47c1-87fd-e805ec99108d",
            "created_at": "2025-08-05T12:00:00.000001",
            "is_active": false,
            "port": 10_001,
            "alias": "Zoë",
        });
        let one = key_as_json(&key());
        assert_eq!(serde_json::from_str::<Value>(&one).unwrap(), expected);
        let list = keys(&[key()], true);
        assert_eq!(serde_json::from_str::<Value>(&list).unwrap(), json!([expected]));
        assert_eq!((one.lines().count(), list.lines().count()), (1, 1));
        assert_eq!(keys(&[], true), "[]\n");
    }
}
