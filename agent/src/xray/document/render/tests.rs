//! Rendering: the golden files, what is kept of others' documents, and that a second time changes nothing.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::fixtures::{check_golden, document, foreign, uuid, wanted};
use super::*;

#[test]
fn from_nothing_it_is_the_contracts() {
    check_golden("no_keys.json", &render(None, &wanted(0)));
    check_golden("two_keys.json", &render(None, &wanted(2)));
    let mut wanted = wanted(1);
    wanted.settings.listen = Some("::1".parse().unwrap());
    wanted.settings.flow = String::new();
    wanted.settings.max_time_diff_ms = 0;
    check_golden("without_flow.json", &render(None, &wanted));
}

#[test]
fn what_others_wrote_stays_as_it_is() {
    let base = document(foreign());
    let rendered = render(Some(&base), &wanted(2));
    check_golden("among_others.json", &rendered);
    for section in ["routing", "dns"] {
        assert_eq!(rendered.root[section].to_string(), base.root[section].to_string());
    }
    for section in ["inbounds", "outbounds"] {
        let kept = list(&base.root, section);
        let rendered = list(&rendered.root, section);
        assert_eq!(json!(rendered[..kept.len()]).to_string(), json!(kept).to_string());
    }
}

#[test]
fn the_access_log_is_put_where_the_operator_has_none_and_taken_out_again() {
    let path = "/var/lib/portmeter/xray/portmeter-access.log";
    let mut recording = wanted(0);
    recording.settings.access_log = Some(path.to_owned());
    for (present, while_on, afterwards) in [
        (json!({}), path, "none"),
        (json!({"log": null}), path, "none"),
        (json!({"log": {"loglevel": "info"}}), path, "none"),
        (json!({"log": {"access": ""}}), path, "none"),
        (json!({"log": {"access": "none"}}), path, "none"),
        (
            json!({"log": {"access": "/var/log/xray/access.log"}}),
            "/var/log/xray/access.log",
            "/var/log/xray/access.log",
        ),
    ] {
        let on = render(Some(&document(present.clone())), &recording);
        assert_eq!(on.access_log(), while_on, "{present}");
        assert_eq!(render(Some(&on), &recording).to_text(), on.to_text());
        assert_eq!(render(Some(&on), &wanted(0)).access_log(), afterwards, "{present}");
    }
    // What was never ours is left as it was.
    for access in [json!({}), json!({"access": ""}), json!({"access": "/x"})] {
        let rendered = render(Some(&document(json!({"log": access}))), &wanted(0));
        assert_eq!(rendered.root["log"], access);
    }
}

#[test]
fn own_inbounds_are_replaced_in_place_appended_or_taken_out() {
    let ours =
        |number: u16| json!({"tag": format!("inbound-{}", uuid(number)), "port": 1, "sniffing": {"enabled": true}});
    let base = json!({"inbounds": [ours(3), {"tag": "a"}, ours(2), ours(2), {"tag": "b"}, ours(9)]});
    let rendered = render(Some(&document(base)), &wanted(3));
    let tags: Vec<_> = rendered.inbounds().map(|inbound| inbound.tag().to_owned()).collect();
    let tag = |number| format!("inbound-{}", uuid(number));
    assert_eq!(tags, [tag(3), "a".into(), tag(2), "b".into(), tag(1)]);
    let third = rendered.inbounds().next().unwrap();
    assert_eq!(third.port(), Some(10_003));
    assert_eq!(
        third.0["sniffing"],
        json!({"enabled": true}),
        "what the operator added is kept"
    );
}

#[test]
fn a_listen_address_that_is_no_longer_configured_goes() {
    let mut configured = wanted(1);
    configured.settings.listen = Some("192.0.2.1".parse().unwrap());
    let with = render(None, &configured);
    assert_eq!(with.inbounds().next().unwrap().listen(), "192.0.2.1");
    assert_eq!(
        render(Some(&with), &wanted(1)).to_text(),
        render(None, &wanted(1)).to_text()
    );
}

#[test]
fn statistics_are_switched_on_only_where_nothing_is_said() {
    let base = json!({
        "stats": null,
        "policy": {"levels": {"0": {"statsUserUplink": false, "handshake": 4}, "1": {}}, "system": null},
    });
    let rendered = render(Some(&document(base)), &wanted(0));
    assert_eq!(rendered.root["stats"], json!({}));
    assert_eq!(
        rendered.root["policy"],
        json!({
            "levels": {"0": {"statsUserUplink": false, "handshake": 4, "statsUserDownlink": true}, "1": {}},
            "system": {"statsInboundUplink": true, "statsInboundDownlink": true},
        })
    );
}

#[test]
fn the_older_way_to_the_api_follows_its_address() {
    let mut wanted = wanted(0);
    let first = render(Some(&document(foreign())), &wanted);
    wanted.settings.api_listen = "0.0.0.0:7777".parse().unwrap();
    let second = render(Some(&first), &wanted);
    let doors: Vec<_> = list(&second.root, "outbounds")
        .iter()
        .filter(|outbound| outbound["tag"] == "api")
        .collect();
    assert_eq!(
        doors,
        [&json!({"protocol": "freedom", "tag": "api", "settings": {"redirect": "127.0.0.1:7777"}})]
    );
    // Somebody's own arrangement of that name is left alone.
    let mut base = foreign();
    base["outbounds"][1]["tag"] = json!("api");
    let rendered = render(Some(&document(base.clone())), &wanted);
    assert_eq!(rendered.root["outbounds"], base["outbounds"]);
}

/// Any JSON, with names that mean something among others.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("api")),
        Just(json!("HandlerService")),
    ];
    let name = prop_oneof![
        ".{0,4}",
        prop::sample::select(vec![
            "tag",
            "services",
            "listen",
            "levels",
            "0",
            "system",
            "rules",
            "outboundTag",
            "settings",
            "redirect",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    any_value().prop_map(|value| {
        if value.is_object() {
            value
        } else {
            json!({ "tag": value })
        }
    })
}

fn any_inbound() -> impl Strategy<Value = Value> {
    (any_object(), prop::option::of(0_u16..6)).prop_map(|(mut inbound, key)| {
        if let Some(number) = key {
            inbound["tag"] = json!(format!("inbound-{}", uuid(number)));
        }
        inbound
    })
}

fn any_base() -> impl Strategy<Value = Value> {
    let sections = prop::sample::subsequence(vec!["log", "api", "stats", "policy", "routing"], 0..=5);
    let objects = sections.prop_flat_map(|names| {
        let count = names.len();
        (Just(names), prop::collection::vec(any_object(), count))
    });
    let inbounds = prop::option::of(prop::collection::vec(any_inbound(), 0..6));
    let outbounds = prop::option::of(prop::collection::vec(any_object(), 0..3));
    (objects, inbounds, outbounds, any_value()).prop_map(|((names, objects), inbounds, outbounds, other)| {
        let mut root = Map::new();
        root.insert("other".to_owned(), other);
        root.extend(names.into_iter().map(str::to_owned).zip(objects));
        root.extend(inbounds.map(|inbounds| ("inbounds".to_owned(), Value::Array(inbounds))));
        root.extend(outbounds.map(|outbounds| ("outbounds".to_owned(), Value::Array(outbounds))));
        Value::Object(root)
    })
}

proptest! {
    #[test]
    fn a_second_time_changes_nothing_and_others_parts_never_change(base in any_base(), key_count in 0_u16..5) {
        let wanted = wanted(key_count);
        let base = document(base);
        let once = render(Some(&base), &wanted);
        prop_assert_eq!(render(Some(&once), &wanted).to_text(), once.to_text());
        let parsed = Document::parse(&once.to_text()).unwrap();
        prop_assert_eq!(render(Some(&parsed), &wanted).to_text(), once.to_text());

        let foreign = |document: &Document| -> Vec<String> {
            let inbounds = list(&document.root, "inbounds").iter();
            inbounds.filter(|value| Inbound::of(value).unwrap().key().is_none()).map(Value::to_string).collect()
        };
        prop_assert_eq!(foreign(&once), foreign(&base));
        for section in ["routing", "other"] {
            prop_assert_eq!(once.root.get(section).map(Value::to_string), base.root.get(section).map(Value::to_string));
        }
        let own: std::collections::BTreeSet<Uuid> = once.inbounds().filter_map(|inbound| inbound.key()).collect();
        prop_assert!(own.iter().copied().eq(wanted.inbounds.iter().map(|inbound| inbound.uuid)));
    }
}
