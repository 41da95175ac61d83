//! Brings about every error of the contract.

use http::StatusCode;
use portmeter_proto::reason::Reason;
use serde_json::Value;

use crate::agent::{Agent, MAX_PORTS};
use crate::ask::{Answer, Client};
use crate::route::{Route, three_keys};

/// A text of the agent that no caller may see.
pub(crate) const SECRET: &str = "/var/lib/portmeter/ledger.db";

/// A sentence of the agent that the caller is to see.
const SENTENCE: &str = "Port 10001 is in use.";

/// The answers of `route` in situations that lead to `error`.
pub(crate) async fn provoke(route: &Route, error: &str) -> Vec<Answer> {
    let (agent, client) = three_keys();
    let key_id = agent.key(1).id;
    match error {
        "no_key" | "panel_no_key" => {
            let mut answers = Vec::new();
            for api_key in [None, Some(""), Some("0123456789abcdeF"), Some("0123456789abcdef0")] {
                // Whatever else is wrong with the request, the key comes first.
                for path in [route.path_for(&key_id), route.path_for("%ff")] {
                    for body in ["", "{"] {
                        answers.push(client.with_key(api_key).send(route.methods()[0], &path, body).await);
                    }
                }
            }
            answers
        }
        "unknown_id" => {
            let mut answers = Vec::new();
            for key_id in [
                "nobody",
                "00000000-0000-4000-8000-000000000000",
                "%ff%fe",
                "%zz",
                "%00",
                "a%2Fb",
                "%2e%2e",
            ] {
                answers.push(route.ask(&client, key_id).await);
            }
            answers
        }
        "disabled" => {
            agent.edit_key(1, |key| key.is_active = false);
            vec![route.ask(&client, &key_id).await]
        }
        "without_port" => {
            agent.edit_key(1, |key| key.port = None);
            vec![route.ask(&client, &key_id).await]
        }
        "bad_body" | "panel_bad_body" => bad_bodies(route, &client, &key_id).await,
        "bad_query" | "panel_bad_query" => bad_queries(route, &client, &key_id).await,
        "bad_date" | "panel_bad_date" => {
            let mut answers = Vec::new();
            for date in &route.bad_dates {
                let path = route.path.replace("{date}", date);
                answers.push(client.send(route.methods()[0], &path, "").await);
            }
            answers
        }
        "large_body" | "panel_large_body" => {
            let body = format!(
                "{{\"name\":\"x\",\"is_active\":true,\"rule\":\"daily\",\"other\":\"{}\"}}",
                "x".repeat(64 * 1024)
            );
            vec![client.send(&route.method, &route.path_for(&key_id), &body).await]
        }
        "email_taken" => {
            agent.edit_key(1, |key| key.name = "new@example.com".to_owned());
            vec![route.ask(&client, "").await]
        }
        "limit" | "panel_limit" => {
            let agent = Agent::with_keys(MAX_PORTS);
            vec![route.ask(&Client::of(&agent), "").await]
        }
        "wrong_method" | "panel_wrong_method" => {
            let path = route.path_for(&key_id);
            vec![
                client.send(route.other_method(), &path, "").await,
                client.with_key(None).send(route.other_method(), &path, "{").await,
            ]
        }
        "unknown_token" => {
            let mut answers = Vec::new();
            for token in [
                "nobody",
                "ffffffffffffffffffffffffffffffff",
                "0000000100000000000000000000000",
                "000000010000000000000000000000000",
                "0000000100000000000000000000000A",
                "%ff",
                "%00",
                "a%2Fb",
                "%2e%2e",
            ] {
                answers.push(client.get(&format!("/sub/{token}")).await);
                answers.push(client.get(&format!("/sub/{token}?format=json")).await);
            }
            answers
        }
        "unknown_page_file" => {
            let mut answers = Vec::new();
            for name in [
                "index.html",
                "nothing.js",
                "MAIN.JS",
                "..%2Fmain.js",
                "%2e%2e",
                "%00",
                "%ff",
            ] {
                answers.push(client.get(&route.path.replace("{page_file}", name)).await);
            }
            answers
        }
        "bad_filename" | "unknown_backup" => bad_files(route, &client, error).await,
        "user_not_found" => {
            let mut answers = Vec::new();
            for query in [
                "email=nobody",
                "uuid=ffffffff-0000-4000-8000-00000000000b",
                "email=key%201&uuid=00000002-0000-4000-8000-00000000000b",
            ] {
                answers.push(client.get(&format!("{}?{query}", route.path)).await);
            }
            answers
        }
        "no_such_user" => {
            let mut answers = Vec::new();
            for body in [
                r#"{"email":"nobody"}"#,
                r#"{"email":"nobody","uuid":"00000001-0000-4000-8000-00000000000b"}"#,
            ] {
                answers.push(client.send(&route.method, &route.path, body).await);
            }
            answers
        }
        "core_refused" => told(&agent, route, &client, Reason::CoreRefused, SENTENCE).await,
        "configuration_refused" => told(&agent, route, &client, Reason::ConfigurationRefused, SENTENCE).await,
        "configuration_invalid" => told(&agent, route, &client, Reason::ConfigurationInvalid, SENTENCE).await,
        "unreadable" | "panel_unreadable" => {
            told(&agent, route, &client, Reason::ConfigurationUnreadable, SENTENCE).await
        }
        "panel_no_inbound" => {
            let text = "VLESS inbound not found";
            told(&agent, route, &client, Reason::RealityNotConfigured, text).await
        }
        "panel_no_reality" => {
            let text = "Reality not configured";
            told(&agent, route, &client, Reason::RealityNotConfigured, text).await
        }
        "panel_unmanaged" => {
            agent.set_unmanaged();
            vec![route.ask(&client, &key_id).await]
        }
        "panel_core_failed" => told(&agent, route, &client, Reason::CoreFailed, SENTENCE).await,
        "panel_service_failed" => {
            let mut answers = told(&agent, route, &client, Reason::ServiceNotManaged, SENTENCE).await;
            answers.extend(told(&agent, route, &client, Reason::ServiceFailed, SENTENCE).await);
            answers
        }
        "panel_restore_failed" => {
            let mut answers = told(&agent, route, &client, Reason::CoreFailed, SENTENCE).await;
            answers.extend(told(&agent, route, &client, Reason::ConfigurationRefused, SENTENCE).await);
            answers
        }
        "panel_core_refused" => told(&agent, route, &client, Reason::CoreRefused, SECRET).await,
        "panel_without_port" => {
            agent.edit_key(1, |key| key.port = None);
            vec![route.ask(&client, &key_id).await]
        }
        "no_free_port" | "panel_no_free_port" => failing(&agent, route, &client, Reason::NoAvailablePort).await,
        "agent_failed" | "panel_agent_failed" => failing(&agent, route, &client, Reason::Internal).await,
        "agent_unavailable" | "panel_agent_unavailable" => failing(&agent, route, &client, Reason::Unavailable).await,
        "not_ready" => {
            agent.set_problems(&["No interface is attached."]);
            let not_attached = route.ask(&client, "").await;
            let mut answers = failing(&agent, route, &client, Reason::Unavailable).await;
            answers.push(not_attached);
            answers
        }
        error => panic!("nobody knows how to provoke {error}"),
    }
}

/// Names that no backup has, or can have. The latter are refused before the agent is asked, which fails every call.
async fn bad_files(route: &Route, client: &Client, error: &str) -> Vec<Answer> {
    let names: &[&str] = match error {
        "bad_filename" => &[
            "%2e%2e",
            "..",
            "..%2F..%2Fetc%2Fpasswd",
            "a%2fb__config.json",
            "a%5Cb__config.json",
            "a%00__config.json",
            "%00",
            "%ff%fe",
            "a..b__config.json",
        ],
        _ => &["20250805_115901__create__config.json"],
    };
    let agent = Agent::with_keys(0);
    agent.set_failure(Some((Reason::Internal, SECRET)));
    let without_agent = Client::of(&agent);
    let client = if error == "bad_filename" {
        &without_agent
    } else {
        client
    };
    let mut answers = Vec::new();
    for name in names {
        let path = route.path.replace("{file}", name);
        answers.push(client.send(route.methods()[0], &path, &route.body_text()).await);
    }
    answers
}

/// Each bad body; the answer must name the field at fault first, or be the word for it.
async fn bad_bodies(route: &Route, client: &Client, key_id: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (field, bodies) in &route.bad_bodies {
        for body in bodies.as_array().unwrap() {
            let answer = client
                .send(&route.method, &route.path_for(key_id), body.as_str().unwrap())
                .await;
            let text = text_of(&answer);
            assert!(is_about(field, &text), "{} {body}: {text}", route.name());
            answers.push(answer);
        }
    }
    answers
}

/// The text of an error of either family.
fn text_of(answer: &Answer) -> String {
    let body = answer.json();
    let text = body.get("detail").or_else(|| body.get("error")).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// Whether a text names what is at fault first, or is the panel's word for it.
fn is_about(name: &str, text: &str) -> bool {
    text == name || text.starts_with(&format!("{name}: "))
}

/// Each bad query; the answer must name the value at fault first, or be the word for it. Where there is a key's id in the path, a wrong one
/// comes before the query.
async fn bad_queries(route: &Route, client: &Client, key_id: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (name, queries) in &route.bad_queries {
        for query in queries.as_array().unwrap() {
            let ask = async |key_id: &str| {
                let path = format!("{}?{}", route.path_for(key_id), query.as_str().unwrap());
                client.send(&route.method, &path, "").await
            };
            let answer = ask(key_id).await;
            let text = text_of(&answer);
            assert!(is_about(name, &text), "{} {query}: {text}", route.name());
            answers.push(answer);
            if route.path.contains("{key_id}") {
                assert_eq!(
                    ask("nobody").await.status,
                    StatusCode::NOT_FOUND,
                    "{} {query}",
                    route.name()
                );
            }
        }
    }
    answers
}

async fn failing(agent: &Agent, route: &Route, client: &Client, reason: Reason) -> Vec<Answer> {
    told(agent, route, client, reason, SECRET).await
}

/// The answer when every call of the agent fails with `text`.
async fn told(agent: &Agent, route: &Route, client: &Client, reason: Reason, text: &'static str) -> Vec<Answer> {
    agent.set_failure(Some((reason, text)));
    vec![route.ask(client, &agent.key(1).id).await]
}
