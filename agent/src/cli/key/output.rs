//! Keys as people and programs read them.

use chrono::{DateTime, Utc};
use portmeter_proto::v1::Key;
use serde_json::{Value, json};

use crate::cli::figures::{full_name, printable};
use crate::cli::moment::moment;
use crate::cli::table::{Layout, Table, facts};

/// Several keys: a table, within a width where there is one, or a list as JSON.
pub(super) fn keys(keys: &[Key], is_json: bool, width: Option<u16>) -> String {
    match is_json {
        true => line(&Value::from_iter(keys.iter().map(value))),
        false => table(keys, width),
    }
}

/// One key for people: everything about it but its uuid.
pub(super) fn key(key: &Key) -> String {
    facts(&[
        ("id", key.id.clone()),
        ("name", printable(&key.name)),
        ("alias", or_dash(printable(&key.alias))),
        ("port", port(key)),
        ("state", state(key).to_owned()),
        ("created", created(key, "%Y-%m-%d %H:%M:%S UTC")),
    ])
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

fn table(keys: &[Key], width: Option<u16>) -> String {
    let mut table = Table::new(&[
        ("ID", Layout::Left),
        ("PORT", Layout::Right),
        ("STATE", Layout::Left),
        ("CREATED", Layout::Left),
        ("NAME", Layout::Text),
    ]);
    for key in keys {
        // A name is anybody's text: it must not steer the terminal.
        let name = full_name(&key.name, &key.alias);
        table.row([
            key.id.clone(),
            port(key),
            state(key).to_owned(),
            created(key, "%Y-%m-%d"),
            name,
        ]);
    }
    table.text(width)
}

fn port(key: &Key) -> String {
    key.port.map_or_else(|| "-".to_owned(), |port| port.to_string())
}

fn state(key: &Key) -> &'static str {
    if key.is_active { "enabled" } else { "disabled" }
}

fn created(key: &Key, format: &str) -> String {
    created_at(key).map_or_else(|| "-".to_owned(), |at| at.format(format).to_string())
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn one() -> Key {
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
            alias: String::new(),
            ..one()
        };
        let text = keys(&[one(), nowhere], false, None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "ID                                     PORT  STATE     CREATED     NAME",
                "db5b5fab-8f4d-4e27-9da1-494c73cf256d  10001  disabled  2025-08-05  a\\u{1b}[2J\\n\"b\" (Zoë)",
                "db5b5fab-8f4d-4e27-9da1-494c73cf256d      -  enabled   -           a\\u{1b}[2J\\n\"b\"",
            ]
        );
        let shown = key(&one());
        assert!(shown.contains("created  2025-08-05 12:00:00 UTC\n"), "{shown}");
        for text in [text, shown] {
            assert!(!text.contains("73ab4876"), "{text}");
        }
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
        let single = key_as_json(&one());
        assert_eq!(serde_json::from_str::<Value>(&single).unwrap(), expected);
        let list = keys(&[one()], true, None);
        assert_eq!(serde_json::from_str::<Value>(&list).unwrap(), json!([expected]));
        assert_eq!((single.lines().count(), list.lines().count()), (1, 1));
        assert_eq!(keys(&[], true, None), "[]\n");
    }
}
