//! Every route, every field, every error of `tests/contract/routes.json`.

use http::StatusCode;
use portmeter_gateway::{Access, route_lines};
use portmeter_proto::reason::Reason;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::agent::{Agent, MAX_PORTS};
use crate::ask::{Answer, Client};
use crate::shape::{Shapes, differences};

/// A text of the agent that no caller may see.
const SECRET: &str = "/var/lib/portmeter/ledger.db";

#[derive(Deserialize)]
struct Contract {
    shapes: Shapes,
    errors: Map<String, Value>,
    routes: Vec<Route>,
}

#[derive(Deserialize)]
struct Route {
    method: String,
    path: String,
    access: String,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    bad_bodies: Map<String, Value>,
    #[serde(default)]
    bad_queries: Map<String, Value>,
    #[serde(default)]
    bad_dates: Vec<String>,
    status: u16,
    answer: Value,
    errors: Vec<String>,
}

fn contract() -> Contract {
    serde_json::from_str(include_str!("../contract/routes.json")).unwrap()
}

/// An agent with three keys, and a client of its gateway.
fn three_keys() -> (Agent, Client) {
    let agent = Agent::with_keys(3);
    let client = Client::of(&agent);
    (agent, client)
}

impl Route {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path with this id in its place, and a day.
    fn path_for(&self, key_id: &str) -> String {
        self.path
            .replace("{key_id}", key_id)
            .replace("{date}", "2025-08-05")
            .replace("{*rest}", "any/thing")
    }

    /// A method that this route does not answer.
    fn other_method(&self) -> &'static str {
        if self.method == "PUT" { "POST" } else { "PUT" }
    }

    /// The methods that this route answers.
    fn methods(&self) -> &[&str] {
        match self.method.as_str() {
            "GET" => &["GET", "HEAD"],
            "POST" => &["POST"],
            "PUT" => &["PUT"],
            "PATCH" => &["PATCH"],
            "DELETE" => &["DELETE"],
            "ANY" => &["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"],
            method => panic!("no method {method}"),
        }
    }

    /// Asks about key 1, with the body that the route needs.
    async fn ask(&self, client: &Client, key_id: &str) -> Answer {
        let body = if self.body.is_null() {
            String::new()
        } else {
            self.body.to_string()
        };
        client.send(self.methods()[0], &self.path_for(key_id), &body).await
    }
}

#[tokio::test]
async fn every_route_answers_in_the_shape_it_promises() {
    let contract = contract();
    for route in &contract.routes {
        for field in [|agent: &Agent| agent.key(1).id, |agent: &Agent| agent.key(1).uuid] {
            let (agent, client) = three_keys();
            let answer = route.ask(&client, &field(&agent)).await;
            assert_eq!(answer.status, route.status, "{}: {answer:?}", route.name());
            let differences = differences(&route.answer, &answer.json(), &contract.shapes);
            assert!(differences.is_empty(), "{}: {differences:#?}", route.name());
        }
    }
}

#[tokio::test]
async fn a_route_answers_to_all_its_methods_and_to_head_without_a_body() {
    for route in contract().routes {
        let body = if route.body.is_null() {
            String::new()
        } else {
            route.body.to_string()
        };
        for method in route.methods() {
            let (agent, client) = three_keys();
            let answer = client.send(method, &route.path_for(&agent.key(1).id), &body).await;
            assert_eq!(answer.status, route.status, "{method} {}", route.path);
            assert_eq!(answer.text.is_empty(), *method == "HEAD", "{method} {}", route.path);
        }
    }
}

#[tokio::test]
async fn every_route_reports_every_error_it_lists() {
    let contract = contract();
    for route in &contract.routes {
        for error in &route.errors {
            let promised = &contract.errors[error];
            let answers = provoke(route, error).await;
            assert!(!answers.is_empty());
            for answer in answers {
                assert_eq!(
                    answer.status.as_u16(),
                    promised["status"],
                    "{} {error}: {answer:?}",
                    route.name()
                );
                assert!(!answer.text.contains(SECRET), "{answer:?}");
                let differences = differences(&promised["body"], &answer.json(), &contract.shapes);
                assert!(differences.is_empty(), "{} {error}: {differences:#?}", route.name());
            }
        }
    }
}

/// The answers of `route` in situations that lead to `error`.
async fn provoke(route: &Route, error: &str) -> Vec<Answer> {
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
        "bad_body" => bad_bodies(route, &client, &key_id).await,
        "bad_query" | "panel_bad_query" => bad_queries(route, &client, &key_id).await,
        "bad_date" | "panel_bad_date" => {
            let mut answers = Vec::new();
            for date in &route.bad_dates {
                let path = route.path.replace("{date}", date);
                answers.push(client.send(route.methods()[0], &path, "").await);
            }
            answers
        }
        "large_body" => {
            let body = format!(
                "{{\"name\":\"x\",\"is_active\":true,\"rule\":\"daily\",\"other\":\"{}\"}}",
                "x".repeat(64 * 1024)
            );
            vec![client.send(&route.method, &route.path_for(&key_id), &body).await]
        }
        "limit" => {
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
        "no_free_port" => failing(&agent, route, &client, Reason::NoAvailablePort).await,
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

/// Each bad body; the answer must name the field at fault first.
async fn bad_bodies(route: &Route, client: &Client, key_id: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (field, bodies) in &route.bad_bodies {
        for body in bodies.as_array().unwrap() {
            let answer = client
                .send(&route.method, &route.path_for(key_id), body.as_str().unwrap())
                .await;
            let (_, detail) = answer.detail();
            assert!(
                detail.starts_with(&format!("{field}: ")),
                "{} {body}: {detail}",
                route.name()
            );
            answers.push(answer);
        }
    }
    answers
}

/// Each bad query; the answer must name the value at fault first. Where there is a key's id in the path, a wrong one
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
            let body = answer.json();
            let text = body.get("detail").or_else(|| body.get("error")).and_then(Value::as_str);
            let text = text.unwrap_or_else(|| panic!("{} {query}: {answer:?}", route.name()));
            assert!(
                text.starts_with(&format!("{name}: ")),
                "{} {query}: {text}",
                route.name()
            );
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
    agent.set_failure(Some((reason, SECRET)));
    vec![route.ask(client, &agent.key(1).id).await]
}

#[tokio::test]
async fn open_routes_take_no_notice_of_a_key() {
    for route in contract().routes.iter().filter(|route| route.access == "open") {
        let (_agent, client) = three_keys();
        for api_key in [None, Some("wrong")] {
            let answer = route.ask(&client.with_key(api_key), "").await;
            assert_eq!(answer.status, StatusCode::OK, "{}", route.name());
        }
    }
}

#[test]
fn the_route_table_is_the_golden_one() {
    let table: String = route_lines()
        .iter()
        .map(|line| format!("{:<7} {:<6} {}\n", line.method, access_word(line.access), line.path))
        .collect();
    assert_eq!(table, include_str!("../contract/routes.txt"));
}

#[test]
fn the_contract_has_every_route_of_the_table_and_no_other() {
    let promised = contract()
        .routes
        .into_iter()
        .map(|route| (route.method, route.path, route.access));
    let mut promised: Vec<_> = promised.collect();
    let served = route_lines().into_iter().map(|line| {
        (
            line.method.to_owned(),
            line.path.to_owned(),
            access_word(line.access).to_owned(),
        )
    });
    let mut served: Vec<_> = served.collect();
    promised.sort();
    served.sort();
    assert_eq!(promised, served);
}

#[test]
fn every_route_lists_the_errors_that_its_kind_can_have() {
    for route in contract().routes {
        let mut needed = Vec::new();
        match route.access.as_str() {
            "key" => needed.extend(["no_key", "agent_failed", "agent_unavailable"]),
            "panel" => needed.push("panel_no_key"),
            _ => {}
        }
        match (route.method.as_str(), route.access.as_str()) {
            ("ANY", _) => {}
            (_, "panel") => needed.extend(["panel_wrong_method", "panel_agent_failed", "panel_agent_unavailable"]),
            _ => needed.push("wrong_method"),
        }
        let (bad_query, bad_date) = match route.access.as_str() {
            "panel" => ("panel_bad_query", "panel_bad_date"),
            _ => ("bad_query", "bad_date"),
        };
        if !route.bad_queries.is_empty() {
            needed.push(bad_query);
        }
        if route.path.contains("{date}") {
            needed.push(bad_date);
        }
        if route.path.contains("{key_id}") {
            needed.push("unknown_id");
        }
        if !route.body.is_null() {
            needed.extend(["bad_body", "large_body"]);
        }
        for error in needed {
            assert!(
                route.errors.iter().any(|listed| listed == error),
                "{} lacks {error}",
                route.name()
            );
        }
    }
}

fn access_word(access: Access) -> &'static str {
    match access {
        Access::Open => "open",
        Access::Key => "key",
        Access::Panel => "panel",
    }
}

/// The check itself: whatever is taken from a good answer, put into it or turned into something else is noticed.
#[tokio::test]
async fn no_change_to_an_answer_goes_unnoticed() {
    let contract = contract();
    let mut n_changes = 0;
    for route in &contract.routes {
        let (agent, client) = three_keys();
        let good = route.ask(&client, &agent.key(1).id).await.json();
        for bad in changed(&good) {
            let differences = differences(&route.answer, &bad, &contract.shapes);
            assert!(!differences.is_empty(), "{}: unnoticed: {bad:#}", route.name());
            n_changes += 1;
        }
    }
    assert!(n_changes > 1000, "only {n_changes} changes were tried");
}

/// Fields that have a value here and may be null elsewhere.
const MAY_BE_NULL: [&str; 3] = ["last_activity", "first_date", "change_pct"];

/// Every answer that differs from `value` in one place: a field less, one more, or a value of another type.
fn changed(value: &Value) -> Vec<Value> {
    let mut results = Vec::new();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                // A map may lose a row; a record may not lose a field.
                let is_record = !name.contains('-') && name.parse::<u16>().is_err() && !is_name(name);
                if is_record {
                    let mut less = fields.clone();
                    less.remove(name);
                    results.push(Value::Object(less));
                }
                let allowed = |changed: &Value| changed.is_null() && MAY_BE_NULL.contains(&name.as_str());
                for changed in changed(field).into_iter().filter(|changed| !allowed(changed)) {
                    let mut other = fields.clone();
                    other.insert(name.clone(), changed);
                    results.push(Value::Object(other));
                }
            }
            let mut more = fields.clone();
            more.insert("surplus-field".to_owned(), Value::Bool(true));
            results.push(Value::Object(more));
        }
        Value::Array(values) => {
            results.push(Value::Bool(true));
            for (index, element) in values.iter().enumerate() {
                for changed in changed(element) {
                    let mut other = values.clone();
                    other[index] = changed;
                    results.push(Value::Array(other));
                }
            }
        }
        Value::String(text) if text.is_empty() => results.extend([Value::from(1), Value::Null, Value::from("x")]),
        Value::String(_) => results.extend([Value::from(1), Value::Null, Value::from("")]),
        Value::Number(number) if number.is_f64() => results.extend([Value::from(1), Value::from("1.0"), Value::Null]),
        Value::Number(_) => results.extend([Value::from(1.5), Value::from("1"), Value::from(-1)]),
        Value::Bool(_) => results.extend([Value::from(1), Value::Null]),
        Value::Null => results.push(Value::Bool(true)),
    }
    results
}

/// Whether this is the name of an interface or of a key of the stand-in.
fn is_name(name: &str) -> bool {
    ["eth0", "wg0"].contains(&name) || name.starts_with("key ")
}
