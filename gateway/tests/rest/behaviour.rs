//! What the shapes of the contract cannot say.

use portmeter_gateway::PanelAuth;
use portmeter_proto::reason::Reason;
use serde_json::json;

use crate::agent::Agent;
use crate::ask::{Client, with_keys};

#[tokio::test]
async fn a_key_is_made_shown_changed_and_deleted() {
    let (_agent, client) = with_keys(0);
    let made = client
        .send("POST", "/api/keys", r#"{"name":"  Zoë \"x\" \u2028 ","port":1}"#)
        .await
        .ok();
    assert_eq!(made["name"], "Zoë \"x\"");
    assert_eq!(made["created_at"], "2025-08-05T12:00:00.250000");
    assert_eq!(
        (made["is_active"].as_bool(), made["port"].as_u64()),
        (Some(true), Some(10001))
    );

    let path = format!("/api/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(client.get(&path).await.ok(), made);
    assert_eq!(client.get("/api/keys").await.ok(), json!([made]));

    let changed = client.send("PATCH", &path, r#"{"is_active":false}"#).await.ok();
    assert_eq!(
        (&changed["is_active"], &changed["name"]),
        (&json!(false), &made["name"])
    );
    let changed = client
        .send("PATCH", &path, r#"{"is_active":true,"name":" b "}"#)
        .await
        .ok();
    assert_eq!((&changed["is_active"], &changed["name"]), (&json!(true), &json!("b")));

    client.send("DELETE", &path, "").await.ok();
    assert_eq!(
        client.send("DELETE", &path, "").await.detail(),
        (404, "Key not found".into())
    );
    assert_eq!(client.get("/api/keys").await.text, "[]");
}

#[tokio::test]
async fn a_name_may_have_255_characters_of_any_size() {
    let (_agent, client) = with_keys(0);
    let name = "\u{1F511}".repeat(255);
    let made = client
        .send("POST", "/api/keys", &json!({ "name": name }).to_string())
        .await
        .ok();
    assert_eq!(made["name"], name);
    let longer = json!({ "name": name + "x" }).to_string();
    assert_eq!(client.send("POST", "/api/keys", &longer).await.status, 400);
}

#[tokio::test]
async fn keys_are_listed_in_creation_order() {
    let (_agent, client) = with_keys(30);
    let keys = client.get("/api/keys").await.ok();
    let names: Vec<String> = keys
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["name"].to_string())
        .collect();
    assert_eq!(
        names,
        (0..30).map(|index| format!("\"key {index}\"")).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn the_agents_sentence_about_a_bad_argument_is_passed_on() {
    let (agent, client) = with_keys(0);
    agent.set_failure(Some((Reason::InvalidArgument, "name: no line breaks, please")));
    let answer = client.send("POST", "/api/keys", r#"{"name":"x"}"#).await;
    assert_eq!(answer.detail(), (400, "name: no line breaks, please".into()));
}

#[tokio::test]
async fn a_kept_list_is_used_only_while_the_agent_says_so() {
    let (agent, client) = with_keys(2);
    agent.set_etag("first");
    let list = client.get("/api/keys").await;
    for _ in 0..3 {
        assert_eq!(client.get("/api/keys").await.text, list.text);
    }
    assert_eq!(agent.n_lists_sent(), 1);

    agent.edit_key(0, |key| key.name = "another".into());
    agent.set_etag("second");
    let changed = client.get("/api/keys").await.ok();
    assert_eq!(changed[0]["name"], "another");
    assert_eq!(agent.n_lists_sent(), 2);

    agent.set_failure(Some((Reason::Unavailable, "")));
    assert_eq!(client.get("/api/keys").await.status, 503);
}

#[tokio::test]
async fn without_a_tag_every_list_is_new() {
    let (agent, client) = with_keys(1);
    client.get("/api/keys").await.ok();
    agent.edit_key(0, |key| key.name = "another".into());
    assert_eq!(client.get("/api/keys").await.ok()[0]["name"], "another");
}

#[tokio::test]
async fn simple_rows_show_what_was_counted() {
    let (agent, client) = with_keys(2);
    let answer = client.get("/api/traffic/simple").await.ok();
    let row = &answer["data"]["ports"]["10002"];
    assert_eq!(row["rx_bytes"], 10_002_000);
    assert_eq!(row["rx_formatted"], "9.54 MB");
    assert_eq!(row["tx_formatted"], "68.37 KB");
    assert_eq!((&row["rx_packets"], &row["tx_packets"]), (&json!(10002), &json!(5001)));
    assert_eq!(
        (&row["connections"], &row["connections_opened"]),
        (&json!(1), &json!(3334))
    );
    assert_eq!(row["uuid"], agent.key(1).uuid);
    assert_eq!(row["interface_traffic"]["rx_bytes"], 5_000_000_300_u64);
    assert_eq!(row["connection_details"][0]["remote"], "[2001:db8::7]:50000");
    assert_eq!(answer["data"]["total_bytes"], 20_003 * 1007);
    assert_eq!(answer["data"]["total_connections"], 2);
    assert_eq!(answer["timestamp"], "2025-08-05T12:00:00.250000");
    assert_eq!(answer["data"]["timestamp"], 1_754_395_200.25);
    let one = client
        .get(&format!("/api/keys/{}/traffic/simple", agent.key(1).id))
        .await
        .ok();
    assert_eq!(&one["traffic"], row);
}

#[tokio::test]
async fn exact_rows_show_the_same_in_their_own_dress() {
    let (agent, client) = with_keys(2);
    let answer = client.get("/api/traffic/ports/exact").await.ok();
    let key = agent.key(1);
    let row = &answer["ports_traffic"]["ports_traffic"][&key.uuid];
    assert_eq!((&row["port"], &row["key_name"]), (&json!(10002), &json!("key 1")));
    assert_eq!(row["traffic"]["rx_formatted"], "9.5 MB");
    assert_eq!(row["traffic"]["interface_traffic"]["wg0"]["total_bytes"], 340);
    assert_eq!(row["traffic"]["total_interface_traffic"], 5_001_000_340_u64);
    assert_eq!(answer["ports_traffic"]["total_ports"], 2);
    assert_eq!(answer["ports_traffic"]["total_traffic"], 20_003 * 1007);
    assert_eq!(answer["system_summary"]["total_system_traffic_formatted"], "4.7 GB");
    assert_eq!(answer["system_summary"]["active_ports"], 2);
    assert_eq!(answer["timestamp"], 1_754_395_200);
    let one = client
        .get(&format!("/api/keys/{}/traffic/port/exact", key.uuid))
        .await
        .ok();
    assert_eq!(one["port_traffic"], row["traffic"]);
}

#[tokio::test]
async fn legacy_rows_show_enabled_keys_and_their_share_of_all_connections() {
    let (agent, client) = with_keys(3);
    agent.edit_key(0, |key| key.is_active = false);
    let answer = client.get("/api/traffic/exact").await.ok();
    assert_eq!((&answer["total_keys"], &answer["active_keys"]), (&json!(3), &json!(2)));
    assert_eq!(answer["total_traffic"], "19.21 MB");
    let rows = answer["traffic_stats"]["keys_stats"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let key = agent.key(1);
    assert_eq!(rows[0]["uuid"], key.uuid);
    assert_eq!(
        (&rows[0]["uplink_bytes"], &rows[0]["downlink_bytes"]),
        (&json!(10_002_000), &json!(70_014))
    );
    assert_eq!(
        (&rows[0]["uplink_mb"], &rows[0]["downlink_mb"]),
        (&json!(9.54), &json!(0.07))
    );
    assert_eq!(rows[0]["connection_ratio"], 33.33);
    let one = client.get(&format!("/api/keys/{}/traffic/exact", key.uuid)).await.ok();
    assert_eq!(one["traffic_bytes"], rows[0]);

    let status = client.get("/api/traffic/status").await.ok();
    assert_eq!((&status["total_keys"], &status["active_keys"]), (&json!(3), &json!(2)));
    assert_eq!(status["traffic_stats"][0]["exact_traffic"], rows[0]);
    let simple = client.get("/api/traffic/simple").await.ok();
    assert_eq!(
        status["traffic_stats"][0]["simple_traffic"],
        simple["data"]["ports"]["10002"]
    );
}

#[tokio::test]
async fn the_summary_is_the_one_beside_the_ports() {
    let (_agent, client) = with_keys(2);
    let summary = client.get("/api/system/traffic/summary").await.ok();
    let exact = client.get("/api/traffic/ports/exact").await.ok();
    assert_eq!(summary["summary"], exact["system_summary"]);
    assert_eq!(summary["timestamp"], 1_754_395_200);
}

#[tokio::test]
async fn a_key_without_a_port_has_legacy_zeros() {
    let (agent, client) = with_keys(2);
    agent.edit_key(1, |key| key.port = None);
    let path = format!("/api/keys/{}/traffic", agent.key(1).id);
    let row = &client.get(&format!("{path}/exact")).await.ok()["traffic_bytes"];
    assert_eq!(
        (&row["total_bytes"], &row["connection_ratio"]),
        (&json!(0), &json!(0.0))
    );
    let status = client.get("/api/traffic/status").await.ok();
    assert_eq!(status["traffic_stats"][1]["simple_traffic"], json!(null));
    assert_eq!(status["traffic_stats"][1]["has_traffic_data"], false);
}

#[tokio::test]
async fn without_keys_there_are_empty_maps_and_zeros() {
    let (_agent, client) = with_keys(0);
    let simple = client.get("/api/traffic/simple").await.ok();
    assert_eq!(
        (&simple["data"]["ports"], &simple["data"]["total_bytes"]),
        (&json!({}), &json!(0))
    );
    let exact = client.get("/api/traffic/ports/exact").await.ok();
    assert_eq!(exact["ports_traffic"]["ports_traffic"], json!({}));
    assert_eq!(exact["ports_traffic"]["total_traffic_formatted"], "0 B");
}

#[tokio::test]
async fn a_reset_answers_with_the_id_it_was_given_and_zeroes_the_row() {
    for route in ["simple/reset", "port/reset", "reset"] {
        let (agent, client) = with_keys(2);
        let key = agent.key(1);
        for key_id in [&key.id, &key.uuid] {
            let answer = client
                .send("POST", &format!("/api/keys/{key_id}/traffic/{route}"), "ignored")
                .await
                .ok();
            assert_eq!(answer["key_id"], **key_id);
        }
        let row = &client.get("/api/traffic/simple").await.ok()["data"]["ports"]["10002"];
        assert_eq!(
            (&row["total_bytes"], &row["total_formatted"]),
            (&json!(0), &json!("0 B"))
        );
        assert!(
            client
                .get("/api/traffic/simple")
                .await
                .text
                .contains(r#""traffic_rate":0.0,"#)
        );
        assert_eq!(agent.reset_ids(), [key.id.clone(), key.id]);
    }
}

#[tokio::test]
async fn a_disabled_key_is_refused_on_the_port_and_legacy_routes_only() {
    let (agent, client) = with_keys(2);
    agent.edit_key(1, |key| key.is_active = false);
    let path = format!("/api/keys/{}/traffic", agent.key(1).id);
    for reset in ["port/reset", "reset"] {
        assert_eq!(client.send("POST", &format!("{path}/{reset}"), "").await.status, 400);
    }
    assert!(agent.reset_ids().is_empty(), "a refused reset must not have happened");
    client.get(&format!("{path}/simple")).await.ok();
    client.send("POST", &format!("{path}/simple/reset"), "").await.ok();
    let exact = client.get("/api/traffic/ports/exact").await.ok();
    assert_eq!(exact["ports_traffic"]["total_ports"], 2, "it keeps its port");
}

#[tokio::test]
async fn after_a_reset_of_all_ports_no_key_has_a_row() {
    let (agent, client) = with_keys(3);
    client.send("POST", "/api/system/ports/reset", "").await.ok();
    assert_eq!(client.get("/api/keys").await.ok()[0]["port"], json!(null));
    let ports = client.get("/api/system/ports").await.ok();
    assert_eq!(
        (&ports["used_ports"], &ports["available_ports"]),
        (&json!(0), &json!(100))
    );
    assert_eq!(client.get("/api/traffic/simple").await.ok()["data"]["ports"], json!({}));
    assert_eq!(
        client.get("/api/traffic/ports/exact").await.ok()["ports_traffic"]["total_ports"],
        0
    );
    let check = client.get("/api/system/ports/status").await.ok();
    assert_eq!(check["validation"]["valid"], false);
    assert_eq!(check["validation"]["issues"].as_array().unwrap().len(), 3);
    let reset = format!("/api/keys/{}/traffic/port/reset", agent.key(0).id);
    assert_eq!(client.send("POST", &reset, "").await.ok()["port"], json!(null));
}

#[tokio::test]
async fn both_maps_of_the_port_table_agree() {
    let (agent, client) = with_keys(3);
    let ports = client.get("/api/system/ports").await.ok();
    assert_eq!(
        (&ports["used_ports"], &ports["available_ports"]),
        (&json!(3), &json!(97))
    );
    let key = agent.key(2);
    let (by_port, by_uuid) = (
        &ports["port_assignments"]["used_ports"],
        &ports["port_assignments"]["port_assignments"],
    );
    assert_eq!(by_port["10003"]["uuid"], key.uuid);
    assert_eq!(by_uuid[&key.uuid]["port"], 10003);
    assert_eq!(by_port["10003"]["key_id"], by_uuid[&key.uuid]["key_id"]);
}

#[tokio::test]
async fn an_unknown_path_is_not_found_in_its_familys_body() {
    let (_agent, client) = with_keys(1);
    let key_family = json!({"detail": "Not Found"});
    let panel_family = json!({"ok": false, "error": "Not found", "code": 404});
    for (path, body) in [
        ("/nope", &key_family),
        ("/api/nope", &key_family),
        ("/api/keys/", &key_family),
        ("/api/keys/some-id/nope", &key_family),
        ("/api/system/nope", &key_family),
        ("/api/keys/%ff/%ff/%ff", &key_family),
        ("//api/keys", &key_family),
        ("/api/users/nobody", &panel_family),
        ("/api/live/x", &panel_family),
        ("/api/usage", &panel_family),
        ("/api/usage/dashboard/", &panel_family),
        ("/api/traffic/daily", &key_family),
        ("/api/traffic/daily/2025-08-05/more", &key_family),
        ("/api/xray/nope?x=1", &panel_family),
        ("/api/tests/nope", &panel_family),
    ] {
        for client in [&client, &client.with_key(None)] {
            for method in ["GET", "POST", "BREW"] {
                let answer = client.send(method, path, "{").await;
                assert_eq!((answer.status.as_u16(), &answer.json()), (404, body), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_which_ones_there_are() {
    let (_agent, client) = with_keys(1);
    let answer = client.send("PUT", "/api/keys", "").await;
    let allowed = answer.headers["allow"].to_str().unwrap();
    assert!(
        allowed.contains("GET") && allowed.contains("POST") && !allowed.contains("PUT"),
        "{allowed}"
    );
}

#[tokio::test]
async fn an_open_panel_opens_the_panel_only() {
    let agent = Agent::with_keys(1);
    let client = Client::with_panel(&agent, PanelAuth::Open).with_key(None);
    assert_eq!(client.get("/api/v2/x").await.status, 501);
    assert_eq!(client.get("/api/keys").await.status, 401);
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let (agent, client) = with_keys(0);
    assert_eq!(
        client.get("/readyz").await.ok(),
        json!({"status": "ready", "problems": []})
    );
    agent.set_problems(&["No interface is attached."]);
    let answer = client.get("/readyz").await;
    assert_eq!(
        answer.json(),
        json!({"status": "not ready", "problems": ["No interface is attached."]})
    );
    agent.set_failure(Some((Reason::Unavailable, "")));
    assert_eq!(client.get("/livez").await.status, 200);
}
