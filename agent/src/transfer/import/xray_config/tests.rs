//! A configuration with many clients on one inbound, as it is in the field.

use proptest::prelude::*;
use serde_json::json;

use super::super::{Decision, Options, Ports, Present, PresentKey, decide, read, report};
use super::*;
use crate::store::HistoryId;

const ALICE: Uuid = Uuid::from_u128(0x73ab_4876_7734_47c1_87fd_e805_ec99_108d);
const BOB: Uuid = Uuid::from_u128(0x79cb_9e86_830c_41c2_8dcc_6929_2f45_e678);
const CAROL: Uuid = Uuid::from_u128(0x244c_af9c_4dab_4481_b253_edc6_1818_7993);

/// RFC 7748, section 6.1: Alice's and Bob's private keys.
const SHARED_KEY: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo";
const LONE_KEY: &str = "XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os";

fn reality(private_key: &str, short_ids: &[&str]) -> Value {
    json!({
        "network": "tcp",
        "security": "reality",
        "realitySettings": {
            "show": false, "dest": "www.example.com:443", "xver": 0, "serverNames": ["www.example.com", "example.com"],
            "privateKey": private_key, "shortIds": short_ids,
        },
    })
}

fn client(id: &str, email: &str) -> Value {
    json!({ "id": id, "email": email, "flow": "xtls-rprx-vision" })
}

/// Two on one inbound, one alone on another, the core's own API, and what cannot become a key.
fn configuration() -> Value {
    json!({
        "log": { "loglevel": "warning" },
        "api": { "tag": "api", "services": ["StatsService"] },
        "inbounds": [
            { "tag": "api", "listen": "127.0.0.1", "port": 10085, "protocol": "dokodemo-door",
              "settings": { "address": "127.0.0.1" } },
            { "tag": "vless-in", "port": 443, "protocol": "vless",
              "settings": {
                  "decryption": "none",
                  "clients": [
                      client(&ALICE.to_string(), "alice@example.com"),
                      client(&BOB.to_string().to_uppercase(), ""),
                      client("love", "word@example.com"),
                  ],
              },
              "streamSettings": reality(SHARED_KEY, &["0123abcd", "ff"]) },
            { "port": 10_002, "protocol": "vless",
              "settings": { "decryption": "none", "clients": [client(&CAROL.to_string(), "carol")] },
              "streamSettings": reality(LONE_KEY, &["0a1b2c3d"]) },
            { "tag": "old", "port": 444, "protocol": "vmess", "settings": { "clients": [{ "id": "x" }] } },
        ],
        "outbounds": [{ "protocol": "freedom" }],
    })
}

fn plan_of(files: &[(&str, &Value)]) -> Result<ImportPlan, ImportError> {
    let texts: Vec<(&str, String)> = files.iter().map(|(name, value)| (*name, value.to_string())).collect();
    let files: Vec<_> = texts
        .iter()
        .map(|(name, text)| File {
            name,
            bytes: text.as_bytes(),
        })
        .collect();
    read(
        &files,
        &Options {
            time_zone: Some(chrono_tz::UTC),
            key: None,
        },
    )
}

fn decided(plan: ImportPlan, keys: Vec<PresentKey>, held: &[u16]) -> Decision {
    let present = Present {
        keys,
        ..Present::default()
    };
    let ports = Ports {
        configured: std::iter::once(443).chain(10_001..=10_100).collect(),
        held: held.iter().copied().collect(),
    };
    decide(plan, &present, &ports, Uuid::new_v4).unwrap()
}

fn identity_of(private_key: &str, short_id: &str) -> Identity {
    Identity {
        private_key: Some(private_key.parse().unwrap()),
        short_id: Some(short_id.parse().unwrap()),
        old_short_id: None,
        dest: Some("www.example.com:443".to_owned()),
        server_names: vec!["www.example.com".to_owned(), "example.com".to_owned()],
    }
}

#[test]
fn clients_become_keys_with_a_port_each() {
    let plan = plan_of(&[("config.json", &configuration())]).unwrap();
    let found: Vec<_> = plan
        .keys
        .iter()
        .map(|key| (key.uuid, key.name.as_str(), key.port, key.shares_port))
        .collect();
    let bob = BOB.to_string();
    assert_eq!(
        found,
        [
            (ALICE, "alice@example.com", Some(443), true),
            (BOB, bob.as_str(), Some(443), true),
            (CAROL, "carol", Some(10_002), false),
        ]
    );
    let left_out: Vec<_> = plan.skipped.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(left_out, ["client word@example.com of vless-in", "1 client(s) of old"]);
    assert_eq!(plan.inbounds[0].clients, [ALICE, BOB]);
    assert_eq!(plan.inbounds[1].name, "inbounds[2]");

    let decision = decided(plan, Vec::new(), &[10_001]);
    let given: Vec<_> = decision
        .new_keys
        .iter()
        .map(|key| (key.port, key.identity.clone().unwrap()))
        .collect();
    let shared = identity_of(SHARED_KEY, "0123abcd");
    assert_eq!(
        given,
        // 443 is configured and free, and nobody's own; 10002 is Carol's.
        [
            (443, shared.clone()),
            (10_003, shared),
            (10_002, identity_of(LONE_KEY, "0a1b2c3d"))
        ]
    );
}

#[test]
fn the_report_says_who_needs_a_new_link_and_what_goes() {
    let plan = plan_of(&[("config.json", &configuration())]).unwrap();
    let mut decision = decided(plan, Vec::new(), &[443, 10_002]);
    let text = report(&decision, true);
    for line in [
        "port 10001, for 443 was shared: hand out its new link",
        "port 10002, as before, which another program holds: stop that first",
        "vless-in, port 443",
        "goes from the configuration that Portmeter writes, for it would let deleted keys in; its 2 client(s)",
        "config.json: client word@example.com of vless-in",
        "its id is no uuid",
        "would come: new keys 3,",
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    for secret in [SHARED_KEY, LONE_KEY, "0123abcd", "love"] {
        assert!(!text.contains(secret), "{text}");
    }
    decision.inbounds.clear();
    assert!(!report(&decision, true).contains("vless-in, port"));
}

#[test]
fn who_is_a_key_already_is_left_alone() {
    let plan = plan_of(&[("config.json", &configuration())]).unwrap();
    let alice = PresentKey {
        id: Uuid::from_u128(1),
        uuid: ALICE,
        name: "Alice".to_owned(),
        port: Some(10_050),
        history: HistoryId(1),
    };
    let decision = decided(plan, vec![alice], &[]);
    assert_eq!((decision.new_keys.len(), decision.matched_keys.len()), (2, 1));
    assert_eq!(decision.matched_keys[0].port, Some(10_050));
}

#[test]
fn the_old_servers_files_and_its_configuration_complete_each_other() {
    let keys = json!([
        { "id": Uuid::from_u128(5), "uuid": ALICE, "name": "Alice", "port": 10_020, "short_id": "ff" },
        { "id": Uuid::from_u128(6), "uuid": CAROL, "name": "Carol", "is_active": false },
    ]);
    let plan = plan_of(&[("config.json", &configuration()), ("keys.json", &keys)]).unwrap();
    let found: Vec<_> = plan
        .keys
        .iter()
        .map(|key| (key.name.clone(), key.port, key.identity.clone().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("Alice".to_owned(), Some(10_020), identity_of(SHARED_KEY, "ff")),
            ("Carol".to_owned(), Some(10_002), identity_of(LONE_KEY, "0a1b2c3d")),
            (BOB.to_string(), Some(443), identity_of(SHARED_KEY, "0123abcd")),
        ]
    );
    assert!(!plan.keys[1].is_active);

    let alone = plan_of(&[("keys.json", &keys)]).unwrap();
    let identity = alone.keys[0].identity.clone().unwrap();
    assert_eq!(
        (identity.short_id.unwrap().as_str(), identity.private_key),
        ("ff", None)
    );
    assert_eq!(alone.skipped[0].what, "REALITY key of 1 key(s)");
}

#[test]
fn what_no_link_can_go_on_with_is_said() {
    let mut other = configuration();
    let inbounds = other["inbounds"].as_array_mut().unwrap();
    inbounds[1]["streamSettings"]["network"] = json!("ws");
    inbounds[2]["settings"]["clients"][0]["flow"] = json!("");
    inbounds[2]["settings"]["clients"][0]["email"] = json!("c".repeat(256));
    inbounds[2]["port"] = json!("10002-10005");
    inbounds[2]["streamSettings"]["realitySettings"]["dest"] = json!(8443);
    let twice = inbounds[2].clone();
    inbounds.push(twice);
    let plan = plan_of(&[("config.json", &other)]).unwrap();
    assert_eq!(plan.keys[0].identity, None);
    assert_eq!(
        (plan.keys[2].name.clone(), plan.keys[2].port),
        (CAROL.to_string(), None)
    );
    let identity = plan.keys[2].identity.clone().unwrap();
    assert_eq!(identity.dest.as_deref(), Some("localhost:8443"));
    let left_out: Vec<_> = plan
        .skipped
        .iter()
        .map(|one| (one.what.clone(), one.reason.clone()))
        .collect();
    let reason = |what: &str| &left_out.iter().find(|one| one.0.starts_with(what)).unwrap().1;
    assert!(
        reason("settings of vless-in").contains("no REALITY over TCP"),
        "{left_out:?}"
    );
    assert!(
        reason("flow of 1 client(s) of inbounds[2]").contains("xray.flow"),
        "{left_out:?}"
    );
    assert!(
        reason(&format!("email of {CAROL}")).contains("too long"),
        "{left_out:?}"
    );
    assert!(reason("client ccc").contains("another inbound"), "{left_out:?}");
    assert_eq!(left_out.len(), 6, "{left_out:?}");
    let names: Vec<_> = plan.inbounds.iter().map(|inbound| inbound.name.as_str()).collect();
    assert_eq!(names, ["vless-in", "inbounds[2]", "inbounds[4]"]);
}

#[test]
fn an_error_names_its_place() {
    for (wrong, place) in [
        (json!({ "inbounds": 1 }), "inbounds"),
        (
            json!({ "inbounds": [{ "settings": { "clients": [{ "id": 7 }] } }] }),
            "inbounds[0].settings.clients[0].id",
        ),
    ] {
        let error = plan_of(&[("config.json", &wrong)]).unwrap_err().to_string();
        assert!(
            error.starts_with("config.json, line 1") && error.contains(place),
            "{error}"
        );
    }
    let two = [("a", &configuration()), ("b", &configuration())];
    let error = plan_of(&two).unwrap_err().to_string();
    assert_eq!(
        error,
        "a and b are both Xray configurations: import one after the other"
    );
}

#[test]
fn only_replaced_inbounds_are_taken_out() {
    let mut whole = configuration();
    let plan = plan_of(&[("config.json", &whole)]).unwrap();
    // One that Portmeter wrote for the same client stays, and so does a stranger's.
    let inbounds = whole["inbounds"].as_array_mut().unwrap();
    let mut own = inbounds[2].clone();
    own["tag"] = json!(format!("inbound-{CAROL}"));
    let mut strange = inbounds[2].clone();
    strange["settings"]["clients"] = json!([client(&Uuid::from_u128(9).to_string(), "stranger")]);
    inbounds.extend([own.clone(), strange.clone()]);
    let (api, old) = (inbounds[0].clone(), inbounds[3].clone());

    let mut expected = whole.clone();
    expected["inbounds"] = json!([api, old, own, strange]);
    let without = without_inbounds(&whole, &plan.inbounds).unwrap();
    assert_eq!(without.to_string(), expected.to_string());
    assert_eq!(without_inbounds(&without, &plan.inbounds), None);
    assert_eq!(without_inbounds(&json!([1]), &plan.inbounds), None);
}

#[test]
fn portmeters_own_inbounds_stay_and_their_keys_come_back() {
    let mut own = configuration();
    own["inbounds"][2]["tag"] = json!(format!("inbound-{CAROL}"));
    let plan = plan_of(&[("config.json", &own)]).unwrap();
    assert_eq!(plan.keys.len(), 3);
    let names: Vec<_> = plan.inbounds.iter().map(|inbound| inbound.name.as_str()).collect();
    assert_eq!(names, ["vless-in"]);
}

proptest! {
    /// Any value in any place of an inbound: a plan or an error, and a file that can be written again. Never a panic.
    #[test]
    fn no_value_breaks_the_reading(place in 0_usize..8, value in prop::sample::select(vec![
        json!(null), json!(-1), json!(65_536), json!("443"), json!(""), json!([]), json!({}), json!([[]]), json!("ü"),
    ])) {
        let mut whole = configuration();
        let inbound = &mut whole["inbounds"][1];
        *match place {
            0 => &mut inbound["port"],
            1 => &mut inbound["tag"],
            2 => &mut inbound["settings"],
            3 => &mut inbound["settings"]["clients"],
            4 => &mut inbound["settings"]["clients"][0],
            5 => &mut inbound["streamSettings"],
            6 => &mut inbound["streamSettings"]["realitySettings"]["shortIds"],
            _ => &mut inbound["streamSettings"]["realitySettings"]["privateKey"],
        } = value;
        if let Ok(plan) = plan_of(&[("config.json", &whole)]) {
            without_inbounds(&whole, &plan.inbounds);
            report(&decided(plan, Vec::new(), &[]), false);
        }
    }
}
