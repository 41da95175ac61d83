//! Events in what shapes cannot say: filters, order, pages, and numbers that add up.

use serde_json::{Value, json};

use crate::ask::{Client, with_keys};

/// The stand-in's events are of another year.
const ALL: &str = "hours=87600";

/// The actions that a query gives.
async fn actions(client: &Client, query: &str) -> Vec<String> {
    let body = client.get(&format!("/api/events?{query}")).await.ok();
    let events = body["events"].as_array().unwrap();
    assert_eq!(body["total"], events.len());
    events
        .iter()
        .map(|event| {
            event["action"]
                .as_str()
                .unwrap()
                .trim_start_matches("action ")
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn events_are_newest_first_and_as_many_as_wanted() {
    let (_agent, client) = with_keys(1);
    let all: Vec<String> = (1..=12).rev().map(|id| id.to_string()).collect();
    assert_eq!(actions(&client, ALL).await, all);
    assert_eq!(actions(&client, &format!("{ALL}&limit=2")).await, ["12", "11"]);
    assert!(actions(&client, "").await.is_empty(), "a day back there was nothing");
}

#[tokio::test]
async fn filters_are_exact_and_combine() {
    let (_agent, client) = with_keys(1);
    for (filter, expected) in [
        ("type=USER", &["11", "1"][..]),
        ("severity=ERROR", &["12", "9", "6", "3"]),
        ("service=xray", &["12", "10", "8", "6", "4", "2"]),
        ("severity=ERROR&service=xray", &["12", "6"]),
        ("severity=ERROR&service=xray&type=CONNECTION", &[]),
        ("severity=ERROR&service=xray&type=APP_ERROR", &[]),
        ("type=SYSTEM&severity=ERROR&service=xray", &["12"]),
        ("type=user", &[]),
        ("severity=WARNING", &[]),
        ("service=XRAY", &[]),
        ("service=%27%20OR%201=1--", &[]),
    ] {
        assert_eq!(actions(&client, &format!("{ALL}&{filter}")).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn many_events_are_read_in_pages() {
    let (agent, client) = with_keys(1);
    agent.set_event_count(2_500);
    let found = actions(&client, &format!("{ALL}&limit=2200")).await;
    assert_eq!((found.len(), agent.n_event_pages()), (2_200, 3));
    assert_eq!((found[0].as_str(), found[2_199].as_str()), ("2500", "301"));
    let found = actions(&client, &format!("{ALL}&limit=10000")).await;
    assert_eq!((found.len(), agent.n_event_pages()), (2_500, 6));
}

#[tokio::test]
async fn a_row_has_what_is_known_of_an_event() {
    let (_agent, client) = with_keys(1);
    let body = client.get(&format!("/api/events?{ALL}&limit=2")).await.ok();
    let expected = json!([
        {
            "ts": "2025-08-05T12:00:00Z", "type": "SYSTEM", "severity": "ERROR", "action": "action 12", "service": "xray",
            "message": "something happened", "email": "key 1", "alias": "first", "enabled": true, "result": "ok",
        },
        {
            "ts": "2025-08-05T11:50:00Z", "type": "USER", "severity": "WARN", "action": "action 11", "service": "agent",
            "message": "something happened",
        },
    ]);
    assert_eq!(body["events"], expected);
}

#[tokio::test]
async fn numbers_add_up_to_the_list() {
    let (_agent, client) = with_keys(1);
    let body = client.get(&format!("/api/events/stats?{ALL}")).await.ok();
    let sum = |map: &Value| {
        map.as_object()
            .unwrap()
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum::<u64>()
    };
    let stats = &body["stats"];
    for map in ["by_type", "by_severity", "by_service"] {
        assert_eq!(sum(&stats[map]), 12, "{map}");
    }
    assert_eq!((&stats["total"], &body["total"]), (&json!(12), &json!(12)));
    assert_eq!(body["byType"], stats["by_type"]);
    assert_eq!(stats["by_severity"], json!({"INFO": 4, "WARN": 4, "ERROR": 4}));
    assert_eq!(
        (&body["info"], &body["warnings"], &body["errors"]),
        (&json!(4), &json!(4), &json!(4))
    );
    let hours = body["timeline"].as_array().unwrap();
    let of = |name: &str| hours.iter().map(|hour| hour[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((of("count"), of("errors"), of("warnings")), (12, 4, 4));
    let newest = &hours[hours.len() - 1];
    assert_eq!(newest["timestamp"], 1_754_395_200_000_u64);
    let critical: Vec<&str> = body["recentCritical"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(critical, ["action 12", "action 9", "action 6", "action 3"]);
}
