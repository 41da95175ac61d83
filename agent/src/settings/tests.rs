//! What a change may be and what comes of it, over the whole table and over made-up trees.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

/// What a configuration gives.
fn given() -> Given {
    Given(BTreeMap::from([
        ("xray.service_name", Value::from("xray")),
        ("xray.config_path", Value::from("config.json")),
        (XRAY_SERVER_HOST, Value::from("192.0.2.1")),
        (XRAY_SNI, Value::from("www.microsoft.com")),
        (XRAY_FLOW, Value::from("xtls-rprx-vision")),
        ("xray.reality_pbk", Value::from("pbk")),
        (LOG_LEVEL, Value::from("info")),
    ]))
}

fn change(stored: &Stored, text: &str) -> Result<Decided, Wrong> {
    let mut asked = Asked::default();
    asked.json(text)?;
    decide(stored, &given(), asked)
}

fn refused(text: &str) -> String {
    change(&Stored::default(), text).unwrap_err().to_string()
}

/// A value of every leaf's own that is not its present one.
fn another(leaf: &Leaf) -> Value {
    let present = Stored::default().present(leaf, &given());
    match (leaf.kind, present) {
        (Kind::Choice(choices), present) => {
            let other = choices.iter().map(|choice| Value::from(*choice));
            other.into_iter().find(|choice| *choice != present).unwrap()
        }
        (Kind::Whole { least, most }, present) if present == Value::Whole(most) => Value::Whole(least),
        (Kind::Whole { most, .. }, _) => Value::Whole(most),
        (Kind::Switch, present) => Value::Switch(present == Value::Switch(false)),
        (Kind::Host | Kind::HostName, _) => Value::from("other.example.com"),
        (Kind::Line { .. }, _) => Value::from("another line"),
    }
}

/// `{"a": {"b": value}}` for `a.b`.
fn body(path: &str, value: &str) -> String {
    let (section, name) = path.split_once('.').unwrap();
    format!(r#"{{"{section}":{{"{name}":{value}}}}}"#)
}

#[test]
fn every_default_is_a_value_of_its_leaf() {
    let paths: BTreeSet<&str> = LEAVES.iter().map(|leaf| leaf.path).collect();
    assert_eq!(paths.len(), LEAVES.len(), "a path stands twice");
    for leaf in &LEAVES {
        let unset = leaf.unset(&given());
        assert_eq!(leaf.kind.accept(unset.clone()), Some(unset), "{}", leaf.path);
        assert_eq!(find(leaf.path), Some(leaf));
        assert_eq!(leaf.path.split('.').count(), 2, "{}", leaf.path);
    }
}

#[test]
fn the_documentation_has_the_table() {
    let documentation = include_str!("../../../docs/settings.md");
    assert!(
        documentation.contains(&markdown()),
        "docs/settings.md is to have:\n{}",
        markdown()
    );
}

#[test]
fn every_leaf_takes_its_values_and_gives_them_back() {
    for leaf in &LEAVES {
        let other = another(leaf);
        let outcome = change(&Stored::default(), &body(leaf.path, &other.to_json()));
        if leaf.effect == Effect::ReadOnly {
            assert_eq!(outcome, Err(Wrong::ReadOnly(leaf)), "{}", leaf.path);
            continue;
        }
        let changed = outcome.unwrap();
        assert_eq!(changed.stored.present(leaf, &given()), other, "{}", leaf.path);
        assert_eq!(changed.paths().collect::<Vec<_>>(), [leaf.path]);
        assert!(changed.has(leaf.effect));
        assert_eq!(changed.stored.version, 1);
        // Set back to what it is unset, it follows the configuration again.
        let back = body(leaf.path, &leaf.unset(&given()).to_json());
        let back = change(&changed.stored, &back).unwrap();
        let expected = Stored {
            version: 2,
            ..Stored::default()
        };
        assert_eq!(back.stored, expected, "{}", leaf.path);
    }
}

#[test]
fn what_is_there_already_may_be_sent() {
    let stored = change(
        &Stored::default(),
        r#"{"ui":{"theme":"light","mine":[1, 2]},"version":0}"#,
    )
    .unwrap();
    let mut whole = BTreeMap::<&str, BTreeMap<&str, Json>>::new();
    for leaf in &LEAVES {
        let value = stored.stored.present(leaf, &given()).to_json();
        let (section, name) = leaf.path.split_once('.').unwrap();
        let section = whole.entry(section).or_default();
        section.insert(name, serde_json::from_str(&value).unwrap());
    }
    let mut whole = json!(whole);
    whole["ui"]["mine"] = json!([1, 2]);
    whole["version"] = json!(77);
    let text = whole.to_string().replace("[1,2]", "[1, 2]");
    let again = change(&stored.stored, &text).unwrap();
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(again.stored, stored.stored);
}

#[test]
fn what_no_leaf_can_be_is_refused_by_its_path() {
    for (path, values) in [
        (
            "ui.theme",
            &[
                r#""blue""#,
                r#""Dark""#,
                r#""""#,
                "5",
                "true",
                "null",
                r#"["dark"]"#,
                "{}",
                r#"{"a":1}"#,
            ][..],
        ),
        (
            "ui.eco_poll_sec",
            &[
                "0",
                "86401",
                "-1",
                "5.0",
                "1e2",
                r#""5""#,
                "null",
                "99999999999999999999",
                "{}",
            ],
        ),
        ("ui.live_push_sec", &["0", "3601"]),
        ("xray.server_port", &["0", "65536"]),
        (
            "xray.server_host",
            &[
                r#""""#,
                r#""a b""#,
                r#""[::1]""#,
                r#""vpn.example.com:443""#,
                r#""0.0.0.0""#,
                "5",
            ],
        ),
        ("xray.sni", &[r#""""#, r#""192.0.2.1""#, r#""*.example.com""#, "[]"]),
        ("xray.fp", &[r#""""#, r#""netscape""#, r#""chrome&security=none""#]),
        ("xray.flow", &[r#""none""#, "null"]),
        ("xray.inbound_tag", &[r#""a\nb""#, r#""a\u0000""#, "7"]),
        ("collector.enabled", &["0", "1", r#""true""#, "null", "{}"]),
        (
            "xray.service_name",
            &[r#""ssh""#, r#""xray.service""#, r#""""#, "5", "null", "{}"],
        ),
        ("xray.config_path", &[r#""/etc/passwd""#, r#""../config.json""#]),
        ("xray.reality_pbk", &[r#""other""#]),
        ("collector.usage_dir", &[r#""/""#]),
        ("paths.data_dir", &[r#""/tmp""#]),
        ("paths.access_log", &[r#""/etc/shadow""#]),
    ] {
        for value in values {
            let sentence = refused(&body(path, value));
            assert!(sentence.starts_with(&format!("{path}: ")), "{path} {value}: {sentence}");
            assert!(!sentence.contains('/') && !sentence.contains("netscape"), "{sentence}");
        }
    }
    for section in ["ui", "xray", "collector", "paths"] {
        for value in ["5", "null", "[]", r#""x""#] {
            let sentence = refused(&format!(r#"{{"{section}":{value}}}"#));
            assert_eq!(sentence, format!("{section}: send an object"));
        }
    }
    for text in [
        "",
        "{",
        "[]",
        "null",
        "5",
        "{} {}",
        r#"{"a":1e999}"#,
        r#"{"a":"\ud800"}"#,
    ] {
        assert_eq!(refused(text), "extra: send a JSON object", "{text}");
    }
}

#[test]
fn one_wrong_leaf_changes_nothing() {
    let stored = Stored::default();
    let text = r#"{"ui":{"theme":"light","lang":"xx"},"mine":1}"#;
    assert_eq!(change(&stored, text), Err(Wrong::Value(find("ui.lang").unwrap())));
    let mut asked = Asked::default();
    asked.leaf(find("ui.theme").unwrap(), Value::from("light")).unwrap();
    let twice = asked.json(r#"{"ui":{"theme":"dark"}}"#).unwrap_err();
    assert_eq!(twice.to_string(), "ui.theme: it is given twice");
}

#[test]
fn an_address_is_kept_in_one_form() {
    let changed = change(&Stored::default(), &body(XRAY_SERVER_HOST, r#""2001:DB8:0::1""#)).unwrap();
    assert_eq!(changed.stored.text(XRAY_SERVER_HOST), Some("2001:db8::1"));
}

#[test]
fn what_nobody_knows_is_kept_as_it_was_written() {
    let number = "123456789012345678901234567890.1234567890123456789";
    let text = format!(r#"{{"ui":{{"mine":{number},"deep":{{"a":[ 1,{{"b":null}} ]}}}},"other":{{"e":{{}}}}}}"#);
    let first = change(&Stored::default(), &text).unwrap();
    let paths: BTreeSet<&str> = first.paths().collect();
    assert_eq!(paths, BTreeSet::from(["ui", "other"]));
    let kept = first.stored.extra.to_text();
    assert!(kept.contains(number) && kept.contains(r#"[ 1,{"b":null} ]"#), "{kept}");
    // Leaf by leaf: what is not named stays.
    let second = change(&first.stored, r#"{"ui":{"deep":{"c":7},"mine":8},"other":{"e":{}}}"#).unwrap();
    let paths: BTreeSet<&str> = second.paths().collect();
    assert_eq!(paths, BTreeSet::from(["ui.deep.c", "ui.mine"]));
    assert_eq!(
        serde_json::from_str::<Json>(&second.stored.extra.to_text()).unwrap(),
        json!({"ui": {"deep": {"a": [1, {"b": null}], "c": 7}, "mine": 8}, "other": {"e": {}}})
    );
    // A leaf may become an object and the other way round, where nobody knows better.
    let third = change(&second.stored, r#"{"ui":{"deep":1},"other":{"e":{"f":2}}}"#).unwrap();
    let kept: Json = serde_json::from_str(&third.stored.extra.to_text()).unwrap();
    assert_eq!(kept, json!({"ui": {"deep": 1, "mine": 8}, "other": {"e": {"f": 2}}}));
    assert_eq!(third.stored.version, 3);
}

#[test]
fn what_is_kept_has_a_bound_in_size_and_in_depth() {
    let of = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length));
    let most = EXTRA_BYTES_MAX - of(0).len();
    let full = change(&Stored::default(), &of(most)).unwrap().stored;
    assert_eq!(full.extra.to_text().len(), EXTRA_BYTES_MAX);
    assert_eq!(change(&full, r#"{"b":1}"#), Err(Wrong::TooLarge(EXTRA_BYTES_MAX + 6)));
    assert!(refused(&of(most + 1)).starts_with("extra: "));
    // What is known takes no room, and room can be made again.
    change(&full, r#"{"ui":{"theme":"light"}}"#).unwrap();
    change(&change(&full, r#"{"a":null}"#).unwrap().stored, &of(most)).unwrap();

    let nested = |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    for (open, close) in [(r#"{"a":"#, "}"), (r#"{"a":["#, "]}")] {
        let levels = open.matches(['{', '[']).count();
        change(&Stored::default(), &nested(open, close, DEPTH_MAX / levels)).unwrap();
        let sentence = refused(&nested(open, close, DEPTH_MAX / levels + 1));
        assert!(sentence.starts_with("extra: objects and lists"), "{sentence}");
    }
    assert_eq!(
        refused(&format!(r#"{{"a":{}}}"#, "[".repeat(60_000))),
        "extra: send a JSON object"
    );
}

/// Any JSON, with names that come up again and again.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-d]|ü \"", inner, 0..4).prop_map(|fields| json!(fields)),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Json> {
    prop::collection::btree_map("[a-d]|ui|xray", any_json(), 0..4).prop_map(|fields| json!(fields))
}

/// The same merge over parsed values.
fn merged(mut into: Json, from: &Json) -> Json {
    match (&mut into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (name, value) in from {
                let old = into.remove(name);
                let new = match old {
                    Some(old) => merged(old, value),
                    None => value.clone(),
                };
                into.insert(name.clone(), new);
            }
        }
        (into, from) => from.clone_into(into),
    }
    into
}

proptest! {
    #[test]
    fn a_tree_is_read_and_written_without_loss(object in any_object()) {
        let tree = Tree::parse(&object.to_string()).unwrap();
        let text = tree.to_text();
        let back: Json = serde_json::from_str(if text.is_empty() { "{}" } else { &text }).unwrap();
        prop_assert_eq!(&back, &object);
        prop_assert_eq!(Tree::parse(if text.is_empty() { "{}" } else { &text }).unwrap(), tree);
    }

    #[test]
    fn a_merge_is_what_a_merge_of_values_is(first in any_object(), second in any_object()) {
        let mut tree = Tree::parse(&first.to_string()).unwrap();
        let mut changed = Vec::new();
        tree.merge(Tree::parse(&second.to_string()).unwrap(), "", &mut changed);
        let expected = merged(first.clone(), &second);
        prop_assert_eq!(changed.is_empty(), expected == first);
        prop_assert_eq!(tree, Tree::parse(&expected.to_string()).unwrap());
    }

    /// Whatever is asked for: nothing comes of it, or all of it does and asking again changes nothing.
    #[test]
    fn a_change_is_whole_and_asked_again_is_none(object in any_object(), theme in "dark|light|blue") {
        let mut object = object;
        object["ui"]["theme"] = match &object["ui"] {
            Json::Object(_) | Json::Null => json!(theme),
            _ => return Ok(()),
        };
        let stored = Stored::default();
        match change(&stored, &object.to_string()) {
            Err(_) => prop_assert!(theme == "blue" || object.get("xray").is_some_and(|xray| !xray.is_object())),
            Ok(changed) => {
                prop_assert_eq!(changed.stored.version, u32::from(!changed.is_empty()));
                let again = change(&changed.stored, &object.to_string()).unwrap();
                prop_assert!(again.is_empty());
                prop_assert_eq!(again.stored, changed.stored);
            }
        }
    }
}
