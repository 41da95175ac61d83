//! What opens a connection: links, QR codes, subscriptions, and the panel's routes of a user's link.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portmeter_gateway::{GatewayConfig, PanelAuth};
use portmeter_proto::reason::Reason;
use serde_json::{Value, json};

use crate::agent::engine::{PUBLIC_KEY, SHORT_ID};
use crate::agent::{Agent, MAX_PORTS};
use crate::ask::{Client, config, with_keys};

/// The link of key `index`, as the agent says it.
fn link_of(agent: &Agent, index: usize) -> String {
    let key = agent.key(index);
    format!(
        "vless://{}@vpn.example.com:{}?security=reality&sni=www.microsoft.com&fp=chrome&pbk={PUBLIC_KEY}&sid={SHORT_ID}\
         &type=tcp&flow=xtls-rprx-vision#{}",
        key.uuid,
        key.port.unwrap(),
        key.name.replace(' ', "%20")
    )
}

#[tokio::test]
async fn one_link_goes_by_every_name_that_clients_look_for() {
    let (agent, client) = with_keys(2);
    let key = agent.key(1);
    let body = client.get(&format!("/api/keys/{}/config", key.uuid)).await.ok();
    let (link, token) = (link_of(&agent, 1), agent.token(1));
    let expected = json!({
        "key": client.get(&format!("/api/keys/{}", key.id)).await.ok(),
        "vless_url": link, "qr_code_data": link, "client_config": link, "short_id": SHORT_ID,
        "subscription_path": format!("/sub/{token}"),
        "subscription_url": format!("https://vpn.example.com/sub/{token}"),
    });
    assert_eq!(body, expected);
    assert_eq!(client.get(&format!("/api/keys/{}/config", key.id)).await.ok(), body);
}

#[tokio::test]
async fn a_subscription_has_a_url_where_there_is_a_public_one() {
    let agent = Agent::with_keys(1);
    let path = format!("/api/keys/{}/config", agent.key(0).id);
    let url = async |public_url: Option<&str>| -> Value {
        let config = GatewayConfig {
            public_url: public_url.map(ToOwned::to_owned),
            ..config(PanelAuth::Key)
        };
        Client::with_config(&agent, config).get(&path).await.ok()["subscription_url"].clone()
    };
    assert_eq!(url(None).await, Value::Null);
    let expected = format!("http://192.0.2.1:8000/vpn/sub/{}", agent.token(0));
    assert_eq!(url(Some("http://192.0.2.1:8000/vpn/")).await, expected);

    agent.edit_key(0, |key| key.is_active = false);
    let disabled = Client::of(&agent).get(&path).await.ok();
    assert_eq!(
        (&disabled["subscription_path"], &disabled["subscription_url"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(disabled["vless_url"], link_of(&agent, 0), "the link waits for the key");
}

#[tokio::test]
async fn a_qr_code_is_a_picture_that_nobody_keeps() {
    let (agent, client) = with_keys(1);
    let key_id = agent.key(0).id;
    let png = client.get(&format!("/api/keys/{key_id}/qr.png")).await;
    assert!(png.bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{png:?}");
    let svg = client.get(&format!("/api/keys/{key_id}/qr.svg")).await;
    assert!(
        svg.text.starts_with("<svg") && svg.text.contains(&link_of(&agent, 0)),
        "{svg:?}"
    );
    for answer in [&png, &svg] {
        assert_eq!(
            (answer.status.as_u16(), answer.header("cache-control")),
            (200, "no-store")
        );
    }
    assert_eq!(client.get(&format!("/api/keys/{key_id}/qr.gif")).await.status, 404);
}

#[tokio::test]
async fn a_subscription_is_a_list_of_links_without_a_key() {
    let (agent, client) = with_keys(2);
    agent.edit_key(1, |key| key.name = "Zoë\n#1".into());
    let client = client.with_key(None);
    let answer = client.get(&format!("/sub/{}", agent.token(1))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let list = BASE64_STANDARD.decode(&answer.text).unwrap();
    assert_eq!(String::from_utf8(list).unwrap(), link_of(&agent, 1) + "\n");
    let title = answer.header("profile-title").strip_prefix("base64:").unwrap();
    assert_eq!(BASE64_STANDARD.decode(title).unwrap(), "Zoë\n#1".as_bytes());
    assert!(answer.header("subscription-userinfo").starts_with("upload="));
}

#[tokio::test]
async fn a_subscription_is_json_for_who_asks_for_it() {
    let (agent, client) = with_keys(1);
    let path = format!("/sub/{}", agent.token(0));
    let content_type = async |query: &str, accept: &str| -> String {
        let headers = [("Accept", accept)];
        let answer = client.send_with("GET", &format!("{path}{query}"), "", &headers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("content-type").to_owned()
    };
    let (list, json) = ("text/plain; charset=utf-8", "application/json");
    assert_eq!(content_type("", "*/*").await, list);
    assert_eq!(content_type("?format=base64", "application/json").await, list);
    assert_eq!(content_type("?format=json", "*/*").await, json);
    assert_eq!(content_type("?other=x", "application/json").await, json);
    let body = client.get(&format!("{path}?format=json")).await.ok();
    assert_eq!(body[0]["remarks"], "key 0");
}

#[tokio::test]
async fn a_token_ends_with_what_it_was_for() {
    let (agent, client) = with_keys(2);
    let key_path = format!("/api/keys/{}", agent.key(1).id);
    let shown = async || -> Value { client.get(&format!("{key_path}/config")).await.ok()["subscription_path"].clone() };
    let answers = async |path: &Value, status: u16| {
        let path = path.as_str().unwrap();
        assert_eq!(client.get(path).await.status, status, "{path}");
    };
    let first = shown().await;
    answers(&first, 200).await;
    client.send("PATCH", &key_path, r#"{"is_active":false}"#).await.ok();
    answers(&first, 404).await;
    client.send("PATCH", &key_path, r#"{"is_active":true}"#).await.ok();
    let second = shown().await;
    answers(&first, 404).await;
    answers(&second, 200).await;

    client
        .send("POST", "/api/users/kick", r#"{"email":"key 1"}"#)
        .await
        .ok();
    let third = shown().await;
    answers(&second, 404).await;
    answers(&third, 200).await;
    client.send("DELETE", &key_path, "").await.ok();
    answers(&third, 404).await;
}

#[tokio::test]
async fn an_unknown_token_comes_before_a_bad_format() {
    let (agent, client) = with_keys(1);
    let bad = "?format=xml";
    let unknown = client.get(&format!("/sub/{}{bad}", "f".repeat(32))).await;
    assert_eq!(unknown.detail(), (404, "Not Found".to_owned()));
    assert_eq!(unknown.header("cache-control"), "no-store");
    let known = client.get(&format!("/sub/{}{bad}", agent.token(0))).await;
    assert_eq!(known.detail(), (400, "format: send one of base64, json".to_owned()));
    agent.set_failure(Some((Reason::Unavailable, "")));
    assert_eq!(client.get("/sub/%2e%2e").await.status, 404, "the agent is not asked");
}

#[tokio::test]
async fn a_users_link_is_the_keys() {
    let (agent, client) = with_keys(3);
    let uuid = agent.key(1).uuid;
    for query in [
        "email=key+1".to_owned(),
        format!("uuid={uuid}"),
        format!("uuid={}", uuid.to_uppercase()),
        format!("email=key+1&uuid={uuid}"),
        format!("email=&uuid={uuid}"),
    ] {
        let body = client.get(&format!("/api/users/link?{query}")).await.ok();
        assert_eq!(body, json!({"ok": true, "link": link_of(&agent, 1)}), "{query}");
    }
    // An id is no uuid, and a uuid is no id.
    let id = agent.key(1).id;
    assert_eq!(client.get(&format!("/api/users/link?uuid={id}")).await.error().0, 404);
}

#[tokio::test]
async fn of_several_users_of_one_name_the_first_is_meant_unless_the_uuid_says_which() {
    let (agent, client) = with_keys(3);
    for index in [1, 2] {
        agent.edit_key(index, |key| key.name = "twin".into());
    }
    let link = async |query: &str| client.get(&format!("/api/users/link?{query}")).await.ok()["link"].clone();
    assert_eq!(link("email=twin").await, link_of(&agent, 1));
    let second = format!("email=twin&uuid={}", agent.key(2).uuid);
    assert_eq!(link(&second).await, link_of(&agent, 2));
}

#[tokio::test]
async fn a_kicked_user_keeps_everything_but_the_uuid() {
    let (agent, client) = with_keys(3);
    let before = agent.key(1);
    for body in [json!({"email": "key 1"}), json!({"uuid": before.uuid.to_uppercase()})] {
        agent.edit_key(1, |key| key.uuid = before.uuid.clone());
        let kicked = client.send("POST", "/api/users/kick", &body.to_string()).await.ok();
        let after = agent.key(1);
        assert_eq!(kicked, json!({"ok": true, "new_uuid": after.uuid}));
        assert_ne!(after.uuid, before.uuid);
        assert_eq!(
            (&after.id, &after.name, after.port),
            (&before.id, &before.name, before.port)
        );
    }
    assert_eq!(agent.key(0).uuid, client.get("/api/keys").await.ok()[0]["uuid"]);
}

#[tokio::test]
async fn nobody_is_kicked_by_half_a_match() {
    let (agent, client) = with_keys(2);
    let before: Vec<String> = (0..2).map(|index| agent.key(index).uuid).collect();
    let both = json!({"email": "key 0", "uuid": before[1]}).to_string();
    let refused = client.send("POST", "/api/users/kick", &both).await;
    assert_eq!(refused.error(), (404, "User with email key 0 not found".to_owned()));
    let stranger = r#"{"uuid":"nobody"}"#;
    let refused = client.send("POST", "/api/users/kick", stranger).await;
    assert_eq!(refused.error(), (404, "User with uuid nobody not found".to_owned()));
    let after: Vec<String> = (0..2).map(|index| agent.key(index).uuid).collect();
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_key_that_the_core_refuses_says_why() {
    let (agent, client) = with_keys(MAX_PORTS - 1);
    let sentence = "The core refuses the key: port 10100 is in use.";
    agent.set_failure(Some((Reason::CoreRefused, sentence)));
    let refused = client.send("POST", "/api/keys", r#"{"name":"x"}"#).await;
    assert_eq!(refused.detail(), (500, sentence.to_owned()));
}
