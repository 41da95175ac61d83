//! The panel's usage and live routes in what shapes cannot say; `history` says what the stand-in's keys have moved.

use portmeter_gateway::PanelAuth;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::ask::{Client, with_keys};

#[tokio::test]
async fn a_dashboard_ends_today_and_has_an_entry_a_day() {
    let (agent, client) = with_keys(3);
    let body = client.get("/api/usage/dashboard").await.ok();
    let days: Vec<String> = (30..=31)
        .map(|day| format!("2025-07-{day}"))
        .chain((1..=5).map(|day| format!("2025-08-{day:02}")))
        .collect();
    assert_eq!(body["meta"]["days"], json!(days));
    assert_eq!(body["meta"]["to"], "2025-08-05");
    let (one_day, all) = (1007 * 10_002_u64, 1007 * 30_006_u64);
    assert_eq!(
        body["global"]["daily_traffic_bytes"],
        json!([0, all, 0, 0, 0, all, all])
    );
    assert_eq!(body["global"]["daily_conns"], json!([0, 30, 0, 0, 0, 30, 30]));
    assert_eq!(body["global"]["cumulative_conns"], json!([0, 30, 30, 30, 30, 60, 90]));
    let user = &body["users"]["key 1"];
    assert_eq!(user["uuid"], agent.key(1).uuid);
    assert_eq!(
        user["daily_traffic_bytes"],
        json!([0, one_day, 0, 0, 0, one_day, one_day])
    );
    assert_eq!(
        (&user["sum7_traffic_bytes"], &user["sum7_conns"]),
        (&json!(3 * one_day), &json!(30))
    );
    assert_eq!(
        (&body["kpi"]["change_pct"], &body["kpi"]["total_bytes"]),
        (&json!(0.0), &json!(3 * all))
    );
    assert_eq!(body["collector"]["lag_days"], 0);

    for (days, count) in [(1, 1), (31, 31), (365, 365)] {
        let body = client.get(&format!("/api/usage/dashboard?days={days}")).await.ok();
        for array in [
            &body["meta"]["days"],
            &body["meta"]["prev_days"],
            &body["global"]["daily_traffic_bytes"],
            &body["global"]["prev_daily_conns"],
            &body["global"]["cumulative_traffic_bytes"],
            &body["users"]["key 0"]["daily_conns"],
        ] {
            assert_eq!(array.as_array().unwrap().len(), count, "{array}");
        }
    }
}

#[tokio::test]
async fn a_dashboard_tells_domains_only_where_they_are_recorded() {
    let (agent, client) = with_keys(3);
    let name = agent.key(1).name;
    let body = client.get("/api/usage/dashboard").await.ok();
    for list in [
        &body["global"]["top_domains_traffic"],
        &body["global"]["top_domains_conns"],
        &body["users"][&name]["top_domains_traffic"],
    ] {
        assert_eq!(*list, json!([]));
    }

    agent.record_domains();
    let by_traffic = json!([{"domain": "much.example", "value": 1_000}, {"domain": "often.example", "value": 100}]);
    let by_connections = json!([{"domain": "often.example", "value": 9}, {"domain": "much.example", "value": 2}]);
    for path in ["/api/usage/dashboard", "/api/usage/dashboard/2025-08-05"] {
        let body = client.get(path).await.ok();
        assert_eq!(body["global"]["top_domains_traffic"], by_traffic);
        assert_eq!(body["global"]["top_domains_conns"], by_connections);
        assert_eq!(body["users"][&name]["top_domains_traffic"], by_traffic);
    }
    let before_all_ledgers = client.get("/api/usage/dashboard/1969-12-31").await.ok();
    assert_eq!(before_all_ledgers["global"]["top_domains_traffic"], json!([]));
}

#[tokio::test]
async fn a_dashboard_of_one_user_or_of_nobody() {
    let (agent, client) = with_keys(3);
    agent.edit_key(1, |key| key.name = "a+b@example.com".into());
    let one = client.get("/api/usage/dashboard?user=a%2Bb%40example.com").await.ok();
    assert_eq!(one["meta"]["users"], json!(["a+b@example.com"]));
    assert_eq!(one["users"].as_object().unwrap().len(), 1);
    let nobody = client.get("/api/usage/dashboard?user=nobody").await.ok();
    assert_eq!(nobody["users"], json!({}));
    let all = client.get("/api/usage/dashboard?user=").await.ok();
    assert_eq!(all["users"].as_object().unwrap().len(), 3);
    assert_eq!(all["global"], nobody["global"]);
}

#[tokio::test]
async fn keys_of_one_name_are_one_user_the_first_created() {
    let (agent, client) = with_keys(3);
    for index in [1, 2] {
        agent.edit_key(index, |key| key.name = "twin".into());
    }
    let body = client.get("/api/usage/dashboard").await.ok();
    assert_eq!(body["users"].as_object().unwrap().len(), 2);
    assert_eq!(body["users"]["twin"]["uuid"], agent.key(1).uuid);
    assert_eq!(body["kpi"]["total_users"], 3);
    let now = client.get("/api/live/now").await.ok();
    assert_eq!(now["users"].as_array().unwrap().len(), 3, "a list has them all");
}

#[tokio::test]
async fn a_dashboard_of_a_date_in_both_modes() {
    let (_agent, client) = with_keys(1);
    let day = 1007 * 10_001_u64;
    let daily = client.get("/api/usage/dashboard/2025-08-04?window_days=5").await.ok();
    assert_eq!(daily["global"]["daily_traffic_bytes"], json!([day, 0, 0, 0, day]));
    assert_eq!(daily["meta"]["to"], "2025-08-04");
    let path = "/api/usage/dashboard/2025-08-04?window_days=5&mode=cumulative";
    let cumulative = client.get(path).await.ok();
    let sums = json!([day, day, day, day, 2 * day]);
    assert_eq!(cumulative["global"]["daily_traffic_bytes"], sums);
    assert_eq!(cumulative["global"]["cumulative_traffic_bytes"], sums);
    assert_eq!(cumulative["users"]["key 0"]["daily_traffic_bytes"], sums);
    assert_eq!(daily["kpi"], cumulative["kpi"]);
    let default = client.get("/api/usage/dashboard/2025-08-04").await.ok();
    assert_eq!(default["meta"]["days"].as_array().unwrap().len(), 7);
    for date in ["0001-01-01", "1970-01-01", "9999-12-31"] {
        let empty = client.get(&format!("/api/usage/dashboard/{date}")).await.ok();
        assert_eq!(empty["kpi"]["total_bytes"], 0, "{date}");
    }
    let refused = client.get("/api/usage/dashboard/2025-02-29?mode=x").await;
    assert_eq!(
        refused.error(),
        (400, "invalid_date_format".to_owned()),
        "the path comes before the query"
    );
}

#[tokio::test]
async fn dates_are_newest_first() {
    let (_agent, client) = with_keys(1);
    let body = client.get("/api/usage/dates").await.ok();
    assert_eq!(
        body,
        json!({"ok": true, "dates": ["2025-08-05", "2025-08-04", "2025-07-31"]})
    );
}

#[tokio::test]
async fn now_lists_who_is_connected() {
    let (agent, client) = with_keys(2);
    let body = client.get("/api/live/now").await.ok();
    assert_eq!(body["total"], json!({"users": 2, "conns": 2, "traffic": 20_003}));
    let expected = json!({
        "email": "key 1", "last_seen": 1_754_395_200, "uuid": agent.key(1).uuid, "conns": 1, "traffic": 10_002,
    });
    assert_eq!(body["users"][1], expected);
    assert_eq!(body["now"]["onlineUsers"], json!(["key 0", "key 1"]));
    assert_eq!(body["timestamp"], "2025-08-05T12:00:00Z");
}

#[tokio::test]
async fn a_series_has_a_point_for_each_step_of_its_period() {
    let (agent, client) = with_keys(2);
    for (query, count) in [
        ("", 60),
        ("?period=600&gran=10", 60),
        ("?period=86400", 1_440),
        ("?period=100", 1),
    ] {
        let body = client.get(&format!("/api/live/series{query}")).await.ok();
        let series = body["series"].as_array().unwrap();
        assert_eq!(series.len(), count, "{query}");
        assert!(series.iter().all(|point| point["ts"] == point["time"]));
    }
    let body = client.get("/api/live/series?metric=online_users&period=120").await.ok();
    let expected = json!([
        {"time": "2025-08-05T11:58:00Z", "ts": "2025-08-05T11:58:00Z", "value": 1},
        {"time": "2025-08-05T11:59:00Z", "ts": "2025-08-05T11:59:00Z", "value": 2},
    ]);
    assert_eq!((&body["series"], &body["unit"]), (&expected, &json!("count")));
    for scope in ["key%201", &agent.key(1).uuid] {
        let body = client
            .get(&format!("/api/live/series?scope={scope}&metric=conns"))
            .await
            .ok();
        assert_eq!(body["meta"]["metric"], "conns");
    }
}

#[tokio::test]
async fn the_agents_sentence_about_a_series_reaches_the_panel() {
    let (_agent, client) = with_keys(1);
    let refused = client.get("/api/live/series?metric=online_users&scope=key+0").await;
    assert_eq!(
        refused.error(),
        (400, "online keys are of all keys together".to_owned())
    );
    let refused = client.get("/api/live/series?scope=nobody").await;
    assert_eq!(
        refused.error(),
        (400, "scope: send global, or the email or uuid of a user".to_owned())
    );
}

#[tokio::test]
async fn a_top_list_is_cut_and_a_scope_is_one_user() {
    let (_agent, client) = with_keys(30);
    let users = async |query: &str| -> Vec<String> {
        let body: Value = client.get(&format!("/api/live/top{query}")).await.ok();
        let top = body["top"].as_array().unwrap().iter();
        top.map(|row| row["user"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(users("").await.len(), 10);
    assert_eq!(users("?limit=2&metric=conns&period=300").await, ["key 29", "key 28"]);
    assert_eq!(users("?limit=50").await.len(), 30);
    assert_eq!(users("?scope=key+0").await, ["key 0"], "however far down it is");
}

#[tokio::test]
async fn settings_are_merged_and_what_a_panel_keeps_comes_back_digit_by_digit() {
    let (_agent, client) = with_keys(0);
    let number = "123456789012345678901234567890.10";
    let body = format!(r#"{{"ui":{{"eco_poll_sec":60,"mine":{number}}},"other":{{"a":[ 1 ]}}}}"#);
    let saved = client.send("POST", "/api/settings", &body).await;
    assert_eq!(
        (&saved.ok()["restart_required"], &saved.ok()["ok"]),
        (&json!([]), &json!(true))
    );
    let answer = client.get("/api/settings").await;
    for answer in [saved, answer] {
        assert!(
            answer.text.contains(number) && answer.text.contains("[ 1 ]"),
            "{answer:?}"
        );
        let settings = &answer.ok()["settings"];
        assert_eq!(
            (&settings["ui"]["theme"], &settings["ui"]["eco_poll_sec"]),
            (&json!("dark"), &json!(60))
        );
        assert_eq!(settings["version"], 2);
    }
    let moved = client
        .send("POST", "/api/settings", r#"{"xray":{"sni":"www.example.com"}}"#)
        .await;
    assert_eq!(moved.ok()["restart_required"], json!(["xray.sni"]));
    let refused = client
        .send("POST", "/api/settings", r#"{"xray":{"service_name":"ssh"}}"#)
        .await;
    assert_eq!(refused.error().0, 400);
    assert_eq!(client.send("POST", "/api/settings", "{}").await.status, 200);
}

#[tokio::test]
async fn a_paused_collector_is_told_everywhere() {
    let (_agent, client) = with_keys(1);
    let shown = client.get("/api/collector/status").await.ok();
    assert_eq!(shown["status"]["disabled_reason"], json!(null));
    assert_eq!((&shown["enabled"], &shown["lag_days"]), (&json!(true), &json!(0)));
    for (enabled, text) in [(false, "disabled"), (true, "enabled")] {
        let body = json!({ "enabled": enabled }).to_string();
        let toggled = client.send("POST", "/api/collector/toggle", &body).await.ok();
        assert_eq!(toggled["enabled"], enabled);
        assert!(toggled["message"].as_str().unwrap().contains(text), "{toggled}");
        let shown = client.get("/api/collector/status").await.ok();
        assert_eq!(
            (&shown["enabled"], &shown["status"]["enabled"]),
            (&json!(enabled), &json!(enabled))
        );
        assert_eq!(shown["status"]["disabled_reason"].is_string(), !enabled);
        let page = client.get("/api/usage/dashboard").await.ok();
        assert_eq!(page["collector"], json!({ "enabled": enabled, "lag_days": 0 }));
        let settings = client.get("/api/settings").await.ok();
        assert_eq!(settings["settings"]["collector"]["enabled"], enabled);
    }
    for body in ["", "{}", "null", r#"{"include_today":true}"#] {
        let ran = client.send("POST", "/api/collector/run", body).await.ok();
        assert!(
            ran["output"].as_str().unwrap().ends_with("000 bytes were booked"),
            "{ran}"
        );
    }
}

#[tokio::test]
async fn an_open_panel_needs_no_key() {
    let agent = Agent::with_keys(1);
    let client = Client::with_panel(&agent, PanelAuth::Open).with_key(None);
    for path in [
        "/api/usage/dashboard",
        "/api/usage/dates",
        "/api/live/now",
        "/api/live/series",
        "/api/live/top",
    ] {
        client.get(path).await.ok();
    }
    assert_eq!(client.get("/api/traffic/history").await.status, 401);
}
