//! The ledger's routes in what shapes cannot say. In the stand-in every key has moved the same on three days,
//! 2025-07-31, 2025-08-04 and today, 2025-08-05: 1007 bytes for each number of its port.

use portmeter_proto::reason::Reason;
use portmeter_proto::v1::CycleRule;
use portmeter_proto::v1::cycle_rule::Rule;
use serde_json::{Value, json};

use crate::ask::with_keys;

#[tokio::test]
async fn totals_are_sums_over_all_keys() {
    let (agent, client) = with_keys(3);
    let data = &client.get("/api/traffic/history").await.ok()["data"];
    assert_eq!((&data["total_keys"], &data["active_keys"]), (&json!(3), &json!(3)));
    assert_eq!(data["total_traffic_bytes"], 3 * 1007 * (10_001 + 10_002 + 10_003));
    assert_eq!(data["total_rx_bytes"], 3 * 1000 * (10_001 + 10_002 + 10_003));
    let key = &data["keys"][1];
    assert_eq!(key["key_uuid"], agent.key(1).uuid);
    assert_eq!(key["total_traffic"]["total_bytes"], 3 * 1007 * 10_002);
    assert_eq!(key["total_traffic"]["total_connections"], 2);
}

#[tokio::test]
async fn a_keys_days_are_all_pages_of_them_in_order() {
    let (agent, client) = with_keys(2);
    let path = format!("/api/keys/{}/traffic/history", agent.key(1).uuid);
    let answer = client.get(&path).await;
    let positions =
        ["2025-07-31", "2025-08-04", "2025-08-05"].map(|day| answer.text.find(&format!("\"{day}\":")).unwrap());
    assert!(positions.is_sorted(), "{}", answer.text);
    let data = &answer.ok()["data"];
    assert_eq!(
        sum_of(&data["daily_stats"]),
        data["total_traffic"]["total_bytes"].as_u64().unwrap()
    );
    assert_eq!(data["daily_stats"].as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn a_day_is_found_among_those_there_are() {
    let (_agent, client) = with_keys(3);
    let day = client.get("/api/traffic/daily/2025-08-04").await.ok();
    let expected = json!({
        "date": "2025-08-04", "total_bytes": 1007 * 30_006, "total_connections": 3, "active_keys": 3,
        "total_sessions": 6, "total_formatted": "28.82 MB",
    });
    assert_eq!(day["data"], expected);
    for date in [
        "2025-08-03",
        "2025-09-01",
        "9999-12-31",
        "1970-01-01",
        "1969-12-31",
        "0001-01-01",
    ] {
        let day = client.get(&format!("/api/traffic/daily/{date}")).await.ok();
        let expected = json!({
            "date": date, "total_bytes": 0, "total_connections": 0, "active_keys": 0, "total_sessions": 0,
            "total_formatted": "0 B",
        });
        assert_eq!(day["data"], expected);
    }
}

#[tokio::test]
async fn a_month_is_the_asked_one_or_the_ledgers_present_one() {
    let (agent, client) = with_keys(3);
    for (query, month, n_days) in [
        ("", "2025-08", 2),
        ("?year_month=2025-08", "2025-08", 2),
        ("?year_month=2025-07&x=1", "2025-07", 1),
        ("?year_month=2025-06", "2025-06", 0),
        ("?year_month=9999-12", "9999-12", 0),
        ("?year_month=0001-01", "0001-01", 0),
    ] {
        let all = client.get(&format!("/api/traffic/monthly{query}")).await.ok();
        assert_eq!(all["data"]["year_month"], month);
        assert_eq!(all["data"]["total_traffic_bytes"], n_days * 1007 * 30_006, "{query}");
        assert_eq!(all["data"]["total_sessions"], n_days * 6);
        assert_eq!(all["data"]["total_connections"], if n_days > 0 { 3 } else { 0 });
        assert_eq!(all["data"]["keys"].as_array().unwrap().len(), 3, "every key is listed");
        let path = format!("/api/keys/{}/traffic/monthly{query}", agent.key(2).id);
        let one = &client.get(&path).await.ok()["data"];
        assert_eq!(one["year_month"], month);
        assert_eq!(one["monthly_traffic"], all["data"]["keys"][2]["monthly_traffic"]);
        assert_eq!(one["monthly_traffic"]["total_bytes"], n_days * 1007 * 10_003);
        assert_eq!(one["daily_breakdown"].as_object().unwrap().len() as u64, n_days);
        assert_eq!(
            sum_of(&one["daily_breakdown"]),
            one["monthly_traffic"]["total_bytes"].as_u64().unwrap()
        );
    }
}

#[tokio::test]
async fn a_reset_hides_one_keys_history_and_answers_with_the_id_it_was_given() {
    let (agent, client) = with_keys(2);
    let key = agent.key(0);
    for key_id in [&key.uuid, &key.id] {
        let path = format!("/api/keys/{key_id}/traffic/history/reset");
        assert_eq!(client.send("POST", &path, "ignored").await.ok()["key_id"], **key_id);
    }
    let reset = &client.get(&format!("/api/keys/{}/traffic/history", key.id)).await.ok()["data"];
    assert_eq!(reset["total_traffic"]["total_bytes"], 0);
    assert_eq!(
        (&reset["last_activity"], &reset["is_active"]),
        (&json!(null), &json!(false))
    );
    assert_eq!(reset["daily_stats"], json!({}));
    let all = &client.get("/api/traffic/history").await.ok()["data"];
    assert_eq!((&all["total_keys"], &all["active_keys"]), (&json!(2), &json!(1)));
    assert_eq!(all["total_traffic_bytes"], 3 * 1007 * 10_002);
    let month = &client.get("/api/traffic/monthly").await.ok()["data"];
    assert_eq!(month["keys"][0]["monthly_traffic"]["total_formatted"], "0 B");
    let day = &client.get("/api/traffic/daily/2025-08-05").await.ok()["data"];
    assert_eq!(
        day["total_bytes"],
        1007 * 20_003,
        "the day of all keys keeps everything"
    );
    assert!(agent.reset_ids().is_empty(), "the current figures are not touched");
}

#[tokio::test]
async fn a_clean_up_keeps_as_many_days_as_it_is_told() {
    let (agent, client) = with_keys(1);
    for (query, kept) in [("", 30), ("?days_to_keep=1", 1), ("?days_to_keep=1000000&x", 1_000_000)] {
        let path = format!("/api/traffic/history/cleanup{query}");
        let answer = client.send("POST", &path, "{\"days_to_keep\":9}").await.ok();
        assert_eq!(agent.days_to_keep(), Some(kept));
        assert_eq!(answer["days_kept"], kept);
        assert_eq!(
            answer["message"],
            format!("Cleaned up traffic history older than {kept} days")
        );
    }
    let refused = client
        .send("POST", "/api/traffic/history/cleanup?days_to_keep=0", "")
        .await;
    assert_eq!(
        refused.detail(),
        (400, "days_to_keep: send a whole number from 1 to 1000000".to_owned())
    );
    assert_eq!(
        agent.days_to_keep(),
        Some(1_000_000),
        "a refused clean-up must not have happened"
    );
}

#[tokio::test]
async fn a_cycle_is_set_shown_and_ended() {
    let (agent, client) = with_keys(2);
    let key = agent.key(1);
    let (set, list) = (
        format!("/api/keys/{}/cycle", key.uuid),
        format!("/api/keys/{}/cycles", key.id),
    );
    let answer = client
        .send(
            "PUT",
            &set,
            r#"{"rule":"monthly","day":31,"time_zone":"Europe/Berlin"}"#,
        )
        .await
        .ok();
    let rule = json!({"rule": "monthly", "day": 31, "days": null, "first_date": null, "time_zone": "Europe/Berlin"});
    assert_eq!(
        (&answer["data"]["key_uuid"], &answer["data"]["cycle"]),
        (&json!(key.uuid), &rule)
    );
    let kept = agent.cycle_rule(&key.id).unwrap();
    assert_eq!(kept.rule, Some(Rule::MonthlyDay(31)));

    let listed = &client.get(&list).await.ok()["data"];
    assert_eq!((&listed["key_name"], &listed["cycle"]), (&json!("key 1"), &rule));
    let cycles = listed["cycles"].as_array().unwrap();
    assert_eq!(cycles.len(), 12);
    let running: Vec<bool> = cycles.iter().map(|cycle| cycle["is_running"] == true).collect();
    assert!(running[0] && running[1..].iter().all(|running| !running));
    assert_eq!(cycles[0]["start"], cycles[1]["end"]);
    let two = &client.get(&format!("{list}?limit=2")).await.ok()["data"]["cycles"];
    assert_eq!(two.as_array().unwrap().len(), 2);

    for body in ["null", r#"{"rule":null}"#] {
        client.send("PUT", &set, r#"{"rule":"daily"}"#).await.ok();
        let ended = client.send("PUT", &set, body).await.ok();
        assert_eq!(ended["message"], "Billing cycle ended successfully");
        assert_eq!(
            (&ended["data"]["cycle"], agent.cycle_rule(&key.id)),
            (&json!(null), None)
        );
    }
    assert_eq!(client.get(&list).await.ok()["data"]["cycles"][0]["is_running"], false);
}

#[tokio::test]
async fn a_refused_cycle_changes_nothing_and_an_unknown_key_comes_first() {
    let (agent, client) = with_keys(1);
    let key = agent.key(0);
    let path = format!("/api/keys/{}/cycle", key.id);
    client.send("PUT", &path, r#"{"rule":"weekly","day":1}"#).await.ok();
    let refused = client.send("PUT", &path, r#"{"rule":"weekly","day":8}"#).await;
    assert_eq!(
        refused.detail(),
        (400, "day: send a whole number from 1 to 7".to_owned())
    );
    let kept: CycleRule = agent.cycle_rule(&key.id).unwrap();
    assert_eq!(kept.rule, Some(Rule::WeeklyDay(1)));
    for body in ["{", r#"{"rule":"weekly","day":8}"#, r#"{"rule":"daily"}"#, "null"] {
        let answer = client.send("PUT", "/api/keys/nobody/cycle", body).await;
        assert_eq!(answer.detail(), (404, "Key not found".to_owned()), "{body}");
    }
}

#[tokio::test]
async fn the_agents_sentence_about_a_zone_is_passed_on() {
    let (agent, client) = with_keys(1);
    let path = format!("/api/keys/{}/cycle", agent.key(0).id);
    agent.set_failure(Some((Reason::InvalidArgument, "time_zone: no such zone")));
    let answer = client
        .send("PUT", &path, r#"{"rule":"daily","time_zone":"Mars"}"#)
        .await;
    assert_eq!(answer.detail(), (400, "time_zone: no such zone".to_owned()));
}

#[tokio::test]
async fn without_keys_there_are_empty_lists_and_zeros() {
    let (_agent, client) = with_keys(0);
    let history = &client.get("/api/traffic/history").await.ok()["data"];
    assert_eq!(
        (&history["keys"], &history["total_traffic_formatted"]),
        (&json!([]), &json!("0 B"))
    );
    let month = &client.get("/api/traffic/monthly").await.ok()["data"];
    assert_eq!((&month["keys"], &month["total_connections"]), (&json!([]), &json!(0)));
}

/// The bytes of all days in a map of them.
fn sum_of(days: &Value) -> u64 {
    let days = days.as_object().unwrap();
    days.values().map(|day| day["total_bytes"].as_u64().unwrap()).sum()
}
