//! Verifying: what is found, what it becomes, and what nothing can repair.

use super::super::fixtures::{document, foreign, uuid, wanted};
use super::super::render;
use super::*;

/// The place of an inbound's REALITY settings in a document with one key.
const REALITY: &str = "/inbounds/0/streamSettings/realitySettings";

/// One key's inbound with a change made to the whole document; the sentences of its repairs.
fn repaired(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let wanted = wanted(1);
    let right = render(None, &wanted);
    let mut root = Value::Object(right.root.clone());
    change(&mut root);
    let (verified, repairs) = verify(&document(root), &wanted).unwrap();
    assert_eq!(verified.to_text(), right.to_text());
    assert_eq!(
        verify(&verified, &wanted).unwrap().1,
        [],
        "a second time nothing is found"
    );
    repairs.iter().map(Repair::to_string).collect()
}

/// The same for one field, which is set, or taken away with `None`.
fn repaired_field(pointer: &str, value: Option<Value>) -> Vec<String> {
    repaired(|root| {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = root.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => drop(parent.insert(name.to_owned(), value)),
            None => drop(parent.shift_remove(name)),
        }
    })
}

#[test]
fn nothing_is_found_where_all_is_well() {
    assert_eq!(repaired(|_| {}), [""; 0]);
    let empty = document(json!({}));
    assert_eq!(
        verify(&empty, &wanted(1)),
        Ok((empty.clone(), vec![])),
        "a missing inbound is not verified"
    );
}

#[test]
fn own_inbounds_get_what_is_wanted() {
    let other_key = crate::xray::reality::PrivateKey::from([8; 32]).to_secret_text();
    for (field, wrong) in [
        ("dest", json!("example.org:443")),
        ("serverNames", json!(["example.org"])),
        ("privateKey", json!(other_key)),
        ("shortIds", json!(["ff00", "0a1b2c3d"])),
        ("xver", json!(1)),
    ] {
        let pointer = format!("{REALITY}/{field}");
        let tag = format!("\"inbound-{}\"", uuid(1));
        let wrong = repaired_field(&pointer, Some(wrong));
        assert_eq!(
            wrong,
            [format!("Inbound {tag} had a wrong `{field}`; it has the key's now.")]
        );
        let missing = repaired_field(&pointer, None);
        assert_eq!(
            missing,
            [format!("Inbound {tag} had no `{field}`; it has the key's now.")]
        );
    }
}

#[test]
fn a_wrong_flow_is_named_apart_from_other_changes_of_the_client() {
    let named = |sentences: Vec<String>, names: &[&str]| {
        assert_eq!(sentences.len(), names.len(), "{sentences:?}");
        for (sentence, name) in sentences.iter().zip(names) {
            assert!(sentence.contains(&format!("`{name}`")), "{sentence}");
        }
    };
    named(
        repaired_field("/inbounds/0/settings/clients/0/flow", Some(json!(""))),
        &["flow"],
    );
    named(repaired_field("/inbounds/0/settings/clients/0/flow", None), &["flow"]);
    named(
        repaired_field("/inbounds/0/settings/clients/0/id", Some(json!("x"))),
        &["clients"],
    );
    named(
        repaired_field("/inbounds/0/settings/clients", None),
        &["flow", "clients"],
    );
    named(
        repaired_field("/inbounds/0/streamSettings/security", Some(json!("none"))),
        &["security"],
    );
    named(repaired_field("/inbounds/0/port", Some(json!(1))), &["port"]);
    named(
        repaired_field("/inbounds/0/listen", Some(json!("127.0.0.1"))),
        &["listen"],
    );
    let rest = repaired_field("/inbounds/0/settings/fallbacks", Some(json!([])));
    assert!(rest[0].contains("settings it should not have"), "{rest:?}");
}

#[test]
fn max_time_diff_becomes_the_configured_one() {
    let pointer = format!("{REALITY}/maxTimeDiff");
    let tag = format!("\"inbound-{}\"", uuid(1));
    for was in [0, 600, 59_999, 120_000] {
        let sentence = format!("Inbound {tag} had `maxTimeDiff` {was} ms; it is 600000 ms now.");
        assert_eq!(repaired_field(&pointer, Some(json!(was))), [sentence]);
    }
    let sentence = format!("Inbound {tag} had no `maxTimeDiff`; it is 600000 ms now.");
    assert_eq!(repaired_field(&pointer, None), [sentence]);
}

#[test]
fn others_keep_a_sensible_max_time_diff_and_what_is_configured() {
    // What they have, what is configured, what they get.
    for (was, configured_ms, expected) in [
        (Value::Null, 600_000, json!(600_000)),
        (json!(0), 600_000, json!(600_000)),
        (json!(600), 600_000, json!(600_000)),
        (json!(60_000), 600_000, json!(60_000)),
        (json!(3_600_000), 600_000, json!(3_600_000)),
        (json!(0), 0, json!(0)),
        (Value::Null, 0, Value::Null),
        (json!(600), 0, json!(0)),
        (json!(90_000), 0, json!(90_000)),
        (json!(30_000), 30_000, json!(30_000)),
        (json!(600), 30_000, json!(30_000)),
    ] {
        let mut base = foreign();
        base["inbounds"][1]["streamSettings"]["realitySettings"]["maxTimeDiff"] = was.clone();
        let mut wanted = wanted(0);
        wanted.settings.max_time_diff_ms = configured_ms;
        let (verified, repairs) = verify(&document(base.clone()), &wanted).unwrap();
        assert_eq!(repairs.len(), usize::from(was != expected), "{was} {configured_ms}");
        base["inbounds"][1]["streamSettings"]["realitySettings"]["maxTimeDiff"] = expected;
        assert_eq!(verified.to_text(), document(base).to_text(), "nothing else changes");
    }
}

#[test]
fn what_is_missing_in_others_inbounds_is_an_error_that_names_it() {
    let missing = |change: &dyn Fn(&mut Value)| {
        let mut base = foreign();
        change(&mut base["inbounds"][1]);
        verify(&document(base), &wanted(0)).unwrap_err()
    };
    for (field, names) in [
        ("dest", &["target"][..]),
        ("serverNames", &["serverNames"]),
        ("privateKey", &["privateKey"]),
        ("shortIds", &["shortIds"]),
    ] {
        for useless in [None, Some(json!("")), Some(json!([]))] {
            let error = missing(&|inbound| {
                let settings = inbound["streamSettings"]["realitySettings"].as_object_mut().unwrap();
                for name in names {
                    settings.shift_remove(*name);
                    settings.extend(useless.clone().map(|value| ((*name).to_owned(), value)));
                }
            });
            assert_eq!(
                error,
                MissingField {
                    inbound: "\"shared\"".to_owned(),
                    field
                }
            );
        }
    }
    let error = missing(&|inbound| drop(inbound["streamSettings"]["realitySettings"].take()));
    assert_eq!(error.field, "dest");
    let error = missing(&|inbound| {
        inbound["tag"] = json!("");
        inbound["streamSettings"]["realitySettings"]["privateKey"] = json!("tooshort");
    });
    assert_eq!(
        error.to_string(),
        "the REALITY inbound number 2 has no usable `privateKey`; set it in the core's configuration"
    );
}

#[test]
fn an_inbound_of_a_key_that_is_not_wanted_is_left_to_rendering() {
    let mut root = Value::Object(render(None, &wanted(2)).root);
    root["inbounds"][1]["streamSettings"]["realitySettings"] = json!({});
    let damaged = document(root);
    let (verified, repairs) = verify(&damaged, &wanted(1)).unwrap();
    assert_eq!(repairs, []);
    assert_eq!(verified, damaged);
}
