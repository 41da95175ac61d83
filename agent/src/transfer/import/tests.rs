//! Files as they are in the field, and as they ought not to be.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::calendar::Day;
use crate::store::HistoryId;

const KEYS: &[u8] = include_bytes!("../../../tests/fixtures/keys.json");
const PORTS: &[u8] = include_bytes!("../../../tests/fixtures/ports.json");
const HISTORY: &[u8] = include_bytes!("../../../tests/fixtures/traffic_history.json");
const VNSTAT: &[u8] = include_bytes!("../../../tests/fixtures/vnstat.json");

const KEY: Uuid = Uuid::from_u128(0x0b5e_8f3c_6f0e_4d6a_9a57_0f4c_1c1f_7a01);

fn berlin() -> Options {
    Options {
        time_zone: Some(chrono_tz::Europe::Berlin),
        key: None,
    }
}

fn file<'a>(name: &'a str, bytes: &'a [u8]) -> File<'a> {
    File { name, bytes }
}

fn read_one(bytes: &[u8], options: &Options) -> Result<ImportPlan, ImportError> {
    read(&[file("the file", bytes)], options)
}

/// What is wrong with a text, as the user reads it.
fn wrong(text: &str) -> String {
    let options = Options {
        key: text.contains("vnstat").then_some(KEY),
        ..berlin()
    };
    read_one(text.as_bytes(), &options).unwrap_err().to_string()
}

fn ports(held: &[u16]) -> Ports {
    Ports {
        configured: (10_001..=10_100).collect(),
        held: held.iter().copied().collect(),
    }
}

fn ids() -> impl FnMut() -> Uuid {
    let mut number = 0;
    move || {
        number += 1;
        Uuid::from_u128(number)
    }
}

/// The whole files, without the product's own reading of them.
fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn the_old_servers_keys_with_their_ports() {
    let plan = read(&[file("ports.json", PORTS), file("keys.json", KEYS)], &berlin()).unwrap();
    let listed = json(KEYS);
    assert_eq!(plan.keys.len(), 5);
    for (key, listed) in plan.keys.iter().zip(listed.as_array().unwrap()) {
        assert_eq!(key.id.unwrap().to_string(), listed["id"]);
        assert_eq!(key.uuid.to_string(), listed["uuid"]);
        assert_eq!(key.name, listed["name"]);
        assert_eq!(key.is_active, listed["is_active"]);
        assert_eq!(key.port.map(u64::from), listed["port"].as_u64());
    }
    // Summer in Berlin is two hours ahead.
    let created = plan.keys[0].created_at.unwrap().to_rfc3339();
    assert_eq!(created, "2025-08-01T10:34:56.012345+00:00");
    let reasons: Vec<_> = plan.skipped.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(reasons, ["REALITY key of 1 key(s)"]);
    let short_id = plan.keys[0]
        .identity
        .as_ref()
        .and_then(|identity| identity.short_id.as_ref());
    assert_eq!(short_id.map(|id| id.as_str()), Some("0a1b2c3d"));
}

#[test]
fn the_table_of_ports_decides() {
    let uuid = json(KEYS)[0]["uuid"].as_str().unwrap().to_owned();
    let table = format!(r#"{{"port_assignments":{{"{uuid}":{{"port":10077}},"{KEY}":{{"port":7,"key_name":"x"}}}}}}"#);
    let plan = read(
        &[file("keys.json", KEYS), file("ports.json", table.as_bytes())],
        &berlin(),
    )
    .unwrap();
    assert_eq!(plan.keys[0].port, Some(10_077));
    assert_eq!(plan.keys[1].port, Some(10_003));
    assert_eq!(plan.skipped[0].what, "port 7 of x");
}

#[test]
fn the_old_servers_history() {
    let plan = read(&[file("traffic_history.json", HISTORY)], &berlin()).unwrap();
    let listed = json(HISTORY);
    let listed = listed["keys_history"].as_object().unwrap();
    assert_eq!(plan.histories.len(), listed.len());
    for history in &plan.histories {
        let Owner::Uuid(uuid) = history.owner else {
            panic!("an old server's key goes by its uuid")
        };
        let listed = &listed[&uuid.to_string()];
        for field in ["rx_bytes", "tx_bytes"] {
            let rounded = listed["total_traffic"][field].as_f64().unwrap().round();
            let figure = match field {
                "rx_bytes" => history.total.rx_bytes,
                _ => history.total.tx_bytes,
            };
            assert_eq!(figure as f64, rounded, "{field} of {}", history.name);
        }
        let days = listed["daily_traffic"].as_object().unwrap();
        assert_eq!(history.days.len(), days.len());
        for (date, listed) in days {
            let figures = history.days[&date.parse::<Day>().unwrap()];
            assert!((figures.rx_bytes as f64 - listed["rx_bytes"].as_f64().unwrap()).abs() < 1.0);
            assert!((figures.tx_bytes as f64 - listed["tx_bytes"].as_f64().unwrap()).abs() < 1.0);
            assert_eq!(figures.sessions, listed["sessions"].as_u64().unwrap());
            assert_eq!(figures.max_connections, listed["max_connections"].as_u64().unwrap());
        }
        let sum = Figures::sum(history.days.values());
        let older = match history.name.as_str() {
            "Bob Müller" => (5_000_000, 70_000_000),
            _ => (0, 0),
        };
        let difference = (
            history.total.rx_bytes - sum.rx_bytes,
            history.total.tx_bytes - sum.tx_bytes,
        );
        assert_eq!(difference, older, "{}", history.name);
    }
    assert_eq!(plan.skipped.len(), 1, "{:?}", plan.skipped);
    let alice = plan
        .histories
        .iter()
        .find(|history| history.name == "alice@example.com");
    let last = alice.unwrap().last_activity.unwrap().to_rfc3339();
    assert_eq!(last, "2025-10-01T21:59:58.250+00:00");
}

#[test]
fn vnstat_gives_days_months_and_a_total_to_one_key() {
    let options = Options {
        key: Some(KEY),
        ..Options::default()
    };
    let plan = read_one(VNSTAT, &options).unwrap();
    let [history] = &plan.histories[..] else {
        panic!("one interface, one history")
    };
    let listed = json(VNSTAT);
    let traffic = &listed["interfaces"][0]["traffic"];
    assert_eq!(history.owner, Owner::Named(KEY));
    assert_eq!(history.source, "vnstat eth0 since 2025-10-03");
    assert_eq!((history.days.len(), history.months.len()), (62, 6));
    assert_eq!(history.total.rx_bytes, traffic["total"]["rx"].as_u64().unwrap());
    assert_eq!(history.total.tx_bytes, traffic["total"]["tx"].as_u64().unwrap());
    let january = history.months[&"2026-01".parse().unwrap()];
    assert_eq!(january.rx_bytes, traffic["month"][3]["rx"].as_u64().unwrap());
    let last = history.days[&"2026-03-15".parse().unwrap()];
    assert_eq!(last.tx_bytes, traffic["day"][61]["tx"].as_u64().unwrap());
    assert_eq!(plan.skipped[0].what, "10 hours and five minutes of eth0");
}

#[test]
fn what_the_files_do_not_say_is_asked_for() {
    let none = Options::default();
    let error = read_one(KEYS, &none).unwrap_err().to_string();
    assert_eq!(
        error,
        "the file has times without a zone, such as 2025-08-01T12:34:56 ([0].created_at): say what the clock of that \
         machine showed, for example --time-zone Europe/Berlin, or --time-zone UTC"
    );
    assert!(matches!(
        read_one(HISTORY, &none),
        Err(ImportError::TimeZoneNeeded { .. })
    ));
    let zoned = String::from_utf8(KEYS.to_vec()).unwrap();
    let zoned = zoned.lines().map(|line| match line.contains("created_at") {
        true => line.replace("\",", "Z\","),
        false => line.to_owned(),
    });
    let zoned = zoned.collect::<Vec<_>>().join("\n");
    assert_eq!(read_one(zoned.as_bytes(), &none).unwrap().keys.len(), 5);
    let error = read_one(VNSTAT, &none).unwrap_err().to_string();
    assert!(
        error.ends_with("interface eth0: name the key that its traffic belongs to with --key"),
        "{error}"
    );
    let both = Options {
        key: Some(KEY),
        ..berlin()
    };
    assert_eq!(read_one(KEYS, &both), Err(ImportError::KeyUnused));
    let twice = [file("a", KEYS), file("b", KEYS)];
    assert_eq!(
        read(&twice, &berlin()).unwrap_err().to_string(),
        "a and b are both keys.json: import one after the other"
    );
}

#[test]
fn a_broken_file_is_told_with_its_place() {
    let key = |field: &str| format!("[{{\"name\":\"a\",\n\"uuid\":\"{KEY}\",{field}}}]");
    let history = |days: &str| {
        format!(
            "{{\"keys_history\":{{\"{KEY}\":{{\"total_traffic\":{{\"total_bytes\":0,\"rx_bytes\":0,\"tx_bytes\":0}},\n\
             \"daily_traffic\":{{{days}}}}}}}}}"
        )
    };
    let vnstat = |traffic: &str| {
        format!(
            r#"{{"vnstatversion":"2.10","jsonversion":"2","interfaces":[{{"name":"eth0","traffic":{{"total":{{"rx":1,"tx":2}},{traffic}}}}}]}}"#
        )
    };
    let mut others = Vec::new();
    for (text, expected) in [
        ("", "the file, line 1, column 0: EOF while parsing a value".to_owned()),
        ("[1,", "the file, line 1, column 3: EOF while parsing a value".to_owned()),
        ("{\"a\":1}", "the file is none of the files that can be imported".to_owned()),
        ("{}]", "the file, line 1, column 3: trailing characters".to_owned()),
        (
            &key("\"port\":70000"),
            "the file, line 2, column 59, at [0].port: invalid value: integer `70000`, expected a port from 1 to 65535"
                .to_owned(),
        ),
        (
            &key("\"created_at\":\"soon\""),
            "the file, line 2, column 66, at [0].created_at: invalid value: string \"soon\", expected a time such as \
             2025-08-05T12:00:00"
                .to_owned(),
        ),
        ("[{\"name\":\"a\"}]", "the file, line 1, column 13, at [0]: missing field `uuid`".to_owned()),
        ("[{\"name\":\" \"}]", "the file, line 1, column 13, at [0].name: a name has 1 to 255 characters".to_owned()),
        (
            &format!("[{{\"name\":\"a\",\"uuid\":\"{KEY}\"}},{{\"name\":\"b\",\"uuid\":\"{KEY}\"}}]"),
            format!("the file, at [1].uuid: {KEY} is the uuid of an earlier key, too"),
        ),
        (
            &history("\"2025-02-30\":{}"),
            format!(
                "the file, line 2, column 29, at keys_history.{KEY}.daily_traffic.2025-02-30: \"2025-02-30\" is no date: a date \
                 looks like 2026-03-29, between 1970-01-01 and 9999-12-31"
            ),
        ),
        (
            &history("\"2025-02-28\":{\"total_bytes\":-1}"),
            format!(
                "the file, line 2, column 47, at keys_history.{KEY}.daily_traffic.2025-02-28.total_bytes: invalid \
                 value: integer `-1`, expected a number from 0 to 1152921504606846976"
            ),
        ),
        (
            &vnstat(r#""day":[{"date":{"year":2026,"month":2,"day":30},"rx":1,"tx":1}]"#),
            "the file, at interfaces[0].traffic.day[0].date: year 2026, month 2, day 30 is no date between 1970 and \
             9999"
                .to_owned(),
        ),
        (
            &vnstat(r#""month":[{"date":{"year":2026,"month":2},"rx":1,"tx":1},{"date":{"year":2026,"month":2},"rx":1,"tx":1}]"#),
            "the file, at interfaces[0].traffic.month[1].date: 2026-02 is there twice".to_owned(),
        ),
        (
            r#"{"vnstatversion":"1.18","jsonversion":"1","interfaces":[]}"#,
            "the file, at jsonversion: version 1 of the format is not known, only 2, which vnStat 2 writes".to_owned(),
        ),
        (
            r#"{"vnstatversion":"2.10","jsonversion":"2","interfaces":[{"name":"a"},{"name":"b"}]}"#,
            "the file, at interfaces: there are 2 interfaces (a, b), and one key gets one: choose with `vnstat -i NAME \
             --json`"
                .to_owned(),
        ),
    ] {
        let error = wrong(text);
        if !error.starts_with(&expected) {
            others.push([error, expected]);
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn figures_that_add_up_beyond_belief_are_refused() {
    let days: Vec<_> = (1..=28)
        .map(|day| {
            format!("\"2025-02-{day:02}\":{{\"total_bytes\":0,\"rx_bytes\":1152921504606846976,\"tx_bytes\":0}}")
        })
        .collect();
    let text = format!(
        "{{\"keys_history\":{{\"{KEY}\":{{\"total_traffic\":{{\"total_bytes\":0,\"rx_bytes\":0,\"tx_bytes\":0}},\
         \"daily_traffic\":{{{}}}}}}}}}",
        days.join(",")
    );
    assert!(wrong(&text).ends_with("its figures add up to more than 1152921504606846976"));
}

#[test]
fn a_key_keeps_its_port_and_id_where_they_are_free() {
    let plan = read(&[file("keys.json", KEYS)], &berlin()).unwrap();
    let taken = PresentKey {
        id: plan.keys[1].id.unwrap(),
        uuid: KEY,
        name: "there".to_owned(),
        port: Some(10_003),
        history: HistoryId(1),
    };
    let present = Present {
        keys: vec![taken],
        ..Present::default()
    };
    // The old server still runs on its ports, and something else on the lowest.
    let held = [10_001, 10_002];
    let decision = decide(plan.clone(), &present, &ports(&held), ids()).unwrap();
    let given: Vec<_> = decision.new_keys.iter().map(|key| (key.port, key.is_held)).collect();
    let expected = [
        (10_001, true),
        // its own is another key's
        (10_004, false),
        (10_005, false),
        (10_007, false),
        // it had none
        (10_006, false),
    ];
    assert_eq!(given, expected);
    assert_eq!(decision.new_keys[0].id, plan.keys[0].id.unwrap());
    assert_eq!(decision.new_keys[1].id, Uuid::from_u128(1));
    let text = report(&decision, true);
    assert!(
        text.contains("port 10001, as before, which another program holds"),
        "{text}"
    );
    assert!(
        text.contains("port 10004, for 10003 is taken or not configured"),
        "{text}"
    );

    let few = Ports {
        configured: (10_001..=10_005).collect(),
        ..Ports::default()
    };
    let error = decide(plan.clone(), &present, &few, ids()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "5 keys are new and 1 are there, but keys have 5 ports: widen capture.ports"
    );
    let all_held: Vec<u16> = (10_001..=10_100).collect();
    let error = decide(plan, &present, &ports(&all_held), ids()).unwrap_err();
    assert!(matches!(error, DecisionError::NoPort { .. }), "{error}");
}

#[test]
fn keys_are_matched_by_uuid_and_histories_find_them() {
    let all = [file("keys.json", KEYS), file("traffic_history.json", HISTORY)];
    let plan = read(&all, &berlin()).unwrap();
    let known = PresentKey {
        id: KEY,
        uuid: plan.keys[1].uuid,
        name: "renamed".to_owned(),
        port: Some(10_050),
        history: HistoryId(1),
    };
    let present = Present {
        keys: vec![known],
        ..Present::default()
    };
    let decision = decide(plan, &present, &ports(&[]), ids()).unwrap();
    assert_eq!((decision.new_keys.len(), decision.matched_keys.len()), (4, 1));
    assert_eq!(decision.matched_keys[0].port, Some(10_050));
    // The disabled key moved nothing; one is of a key that was deleted.
    assert_eq!((decision.bookings.len(), decision.unchanged_histories), (3, 1));
    let text = report(&decision, true);
    assert!(text.contains("key is there  renamed"), "{text}");
    assert!(text.contains("keeps port 10050; it was 10003"), "{text}");
    let left_out = "traffic_history.json: the history of deleted last year";
    assert!(text.contains(left_out), "{text}");
    let history = decision.bookings.iter().find(|booking| booking.key_id == KEY).unwrap();
    assert_eq!((history.name.as_str(), history.changes.days.len()), ("renamed", 35));
}

#[test]
fn a_key_that_is_named_has_to_be_there() {
    let options = Options {
        key: Some(KEY),
        ..Options::default()
    };
    let plan = read_one(VNSTAT, &options).unwrap();
    let error = decide(plan, &Present::default(), &ports(&[]), ids()).unwrap_err();
    assert_eq!(error, DecisionError::NoSuchKey(KEY));
    // The same file twice in one go is booked once.
    let twice = [file("a", VNSTAT), file("b", VNSTAT)];
    let present = Present {
        keys: vec![PresentKey {
            id: KEY,
            uuid: Uuid::from_u128(2),
            name: "x".to_owned(),
            port: None,
            history: HistoryId(1),
        }],
        ..Present::default()
    };
    let decision = decide(read(&twice, &options).unwrap(), &present, &ports(&[]), ids()).unwrap();
    assert_eq!((decision.bookings.len(), decision.unchanged_histories), (1, 1));
}

#[test]
fn names_do_not_move_the_cursor() {
    let text = format!("[{{\"name\":\"a\\u001b[2Jb\",\"uuid\":\"{KEY}\"}}]");
    let plan = read_one(text.as_bytes(), &berlin()).unwrap();
    let shown = report(&decide(plan, &Present::default(), &ports(&[]), ids()).unwrap(), false);
    assert!(shown.contains("a\\u{1b}[2Jb") && !shown.contains('\u{1b}'), "{shown}");
}

/// A file with some of its bytes changed, cut out or doubled.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let file = prop::sample::select(vec![KEYS, PORTS, HISTORY, VNSTAT]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, any::<u8>()), 1..12);
    (file, edits).prop_map(|(file, edits)| {
        let mut bytes = file.to_vec();
        for (at, kind, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                // Digits and signs break fewer files and reach further.
                1 => bytes[at] = b"0123456789-.eE{}[]\","[usize::from(byte) % 19],
                2 => bytes.truncate(at),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever is in a file: a plan that can be decided, or an error. Never a panic.
    #[test]
    fn no_file_breaks_the_reading(bytes in mutated()) {
        let options = Options { time_zone: Some(chrono_tz::Europe::Berlin), key: Some(KEY) };
        for options in [options, berlin()] {
            if let Ok(plan) = read_one(&bytes, &options) {
                let known = BTreeMap::from([(KEY, HistoryId(1))]);
                let keys = known.into_iter().map(|(id, history)| PresentKey {
                    id, uuid: Uuid::from_u128(2), name: String::new(), port: None, history,
                });
                let present = Present { keys: keys.collect(), ..Present::default() };
                let decision = decide(plan, &present, &ports(&[]), ids());
                if let Ok(decision) = decision {
                    report(&decision, true);
                }
            }
        }
    }

    #[test]
    fn no_bytes_at_all_break_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_one(&bytes, &berlin());
    }
}
