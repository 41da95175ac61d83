//! The panel's users: keys seen from another side.

use portmeter_proto::reason::Reason;
use serde_json::{Value, json};

use crate::ask::{Client, with_keys};

async fn post(client: &Client, path: &str, body: Value) -> Value {
    client.send("POST", path, &body.to_string()).await.ok()
}

#[tokio::test]
async fn a_user_is_a_key_from_its_making_to_its_end() {
    let (agent, client) = with_keys(1);
    let added = post(&client, "/api/users/add", json!({"email": "user@example.com"})).await;
    let key = agent.key(1);
    let expected = json!({"ok": true, "user": {"uuid": key.uuid, "email": "user@example.com"}, "uuid": key.uuid});
    assert_eq!((added, key.name.as_str()), (expected, "user@example.com"));

    post(
        &client,
        "/api/users/update-alias",
        json!({"uuid": key.uuid, "alias": "Zoë"}),
    )
    .await;
    let users = client.get("/api/users").await.ok();
    let expected = json!({
        "email": "user@example.com", "uuid": key.uuid, "flow": "xtls-rprx-vision", "enabled": true, "alias": "Zoë",
    });
    assert_eq!(users["users"][1], expected);
    agent.edit_key(1, |key| key.is_active = false);
    assert_eq!(client.get("/api/users").await.ok()["users"][1]["enabled"], false);

    let deleted = post(&client, "/api/users/delete", json!({"email": "user@example.com"})).await;
    assert_eq!(deleted, json!({"ok": true}));
    assert_eq!(client.get("/api/keys").await.ok().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_email_is_given_once_and_a_name_as_often_as_wanted() {
    let (agent, client) = with_keys(0);
    post(&client, "/api/users/add", json!({"email": "a@b"})).await;
    let again = client.send("POST", "/api/users/add", r#"{"email":" a@b "}"#).await;
    assert_eq!(again.error(), (409, "User with email a@b already exists".to_owned()));
    client.send("POST", "/api/keys", r#"{"name":"a@b"}"#).await.ok();
    assert_eq!(agent.key(1).name, "a@b");
}

#[tokio::test]
async fn an_alias_goes_when_it_is_empty_and_changes_nothing_else() {
    let (agent, client) = with_keys(2);
    for body in [
        json!({"email": "key 1", "alias": ""}),
        json!({"email": "key 1", "alias": " "}),
        json!({"email": "key 1", "alias": null}),
        json!({"email": "key 1"}),
    ] {
        agent.edit_key(1, |key| key.alias = "Zoë".to_owned());
        let before = agent.key(1);
        let updated = post(&client, "/api/users/update-alias", body).await;
        assert_eq!(updated, json!({"ok": true, "email": "key 1", "alias": ""}));
        let after = agent.key(1);
        assert_eq!(
            (after.alias.as_str(), &after.uuid, &after.name),
            ("", &before.uuid, &before.name)
        );
    }
    let body = json!({"email": "key 1", "alias": "x".repeat(256)}).to_string();
    let refused = client.send("POST", "/api/users/update-alias", &body).await;
    let sentence = "alias must have at most 255 characters".to_owned();
    assert_eq!(refused.error(), (400, sentence));
}

#[tokio::test]
async fn nobody_is_changed_by_half_a_match() {
    let (agent, client) = with_keys(2);
    let both = json!({"email": "key 0", "uuid": agent.key(1).uuid, "alias": "x"}).to_string();
    for path in ["/api/users/delete", "/api/users/update-alias"] {
        let refused = client.send("POST", path, &both).await;
        assert_eq!(
            refused.error(),
            (404, "User with email key 0 not found".to_owned()),
            "{path}"
        );
    }
    assert_eq!((agent.key(0).alias, agent.key(1).alias), (String::new(), String::new()));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_before_the_agent_is_asked() {
    let (agent, client) = with_keys(1);
    agent.set_failure(Some((Reason::Unavailable, "")));
    for (path, body, expected) in [
        ("/api/users/add", "{}", "email_required"),
        ("/api/users/add", r#"{"email":"x"}"#, "invalid_email_format"),
        ("/api/users/delete", "{}", "email_required"),
        (
            "/api/users/update-alias",
            r#"{"email":"x","alias":5}"#,
            "alias: send a text",
        ),
    ] {
        let refused = client.send("POST", path, body).await;
        assert_eq!(refused.error(), (400, expected.to_owned()), "{path} {body}");
    }
}

#[tokio::test]
async fn stats_have_every_user_or_the_one_that_is_asked_for() {
    let (agent, client) = with_keys(3);
    agent.edit_key(2, |key| key.name = "key 1".to_owned());
    let all = client.get("/api/users/stats").await.ok();
    let user = &all["users"][1];
    let bytes = 3 * 10_002 * 1_007;
    assert_eq!(user["totalTrafficBytes"], bytes);
    assert_eq!((&user["daysUsed"], &user["isOnline"]), (&json!(3), &json!(true)));
    assert_eq!(
        user["firstSeenAt"], "2025-08-05T12:00:00Z",
        "not before the key was made"
    );
    assert_eq!(all["users"].as_array().unwrap().len(), 3);
    assert_eq!(all["stats"].as_object().unwrap().len(), 2, "one of each email");
    assert_eq!(all["stats"]["key 1"]["traffic"], bytes);

    let one = client
        .get(&format!("/api/users/stats?uuid={}", agent.key(2).uuid))
        .await
        .ok();
    assert_eq!(one["users"][0]["uuid"], agent.key(2).uuid.as_str());
    assert_eq!(one["users"].as_array().unwrap().len(), 1);
    let nobody = client.get("/api/users/stats?uuid=nobody").await.ok();
    assert_eq!(nobody["users"], json!([]));

    client
        .send(
            "POST",
            &format!("/api/keys/{}/traffic/history/reset", agent.key(0).id),
            "",
        )
        .await
        .ok();
    let reset = client.get("/api/users/stats").await.ok()["users"][0].clone();
    assert_eq!((&reset["daysUsed"], &reset["firstSeenAt"]), (&json!(0), &Value::Null));
}
