//! The OpenAPI document against what the routes really answer.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::Value;

use crate::ask::Client;
use crate::provoke::provoke;
use crate::route::{Route, contract, three_keys};
use crate::schema::{mismatches, statuses};

/// A path of the contract in the document's words.
fn template(route: &Route) -> String {
    route.path.replace("{*", "{")
}

async fn document(client: &Client) -> Value {
    client.with_key(None).get("/api/openapi.json").await.ok()
}

/// What the document says of one method of a route.
fn operation<'a>(document: &'a Value, route: &Route, method: &str) -> &'a Value {
    let operation = &document["paths"][template(route)][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {}", route.path);
    operation
}

/// The content that the document promises for a status and a content type.
fn content<'a>(operation: &'a Value, status: StatusCode, content_type: &str) -> Option<&'a Value> {
    let kind = content_type.split(';').next().unwrap_or_default();
    operation["responses"][status.as_str()]["content"].get(kind)
}

#[tokio::test]
async fn every_success_is_as_the_document_says() {
    for route in contract().routes {
        let (agent, client) = three_keys();
        let document = document(&client).await;
        let method = route.methods()[0];
        let answer = route.ask(&client, &agent.key(1).id).await;
        let operation = operation(&document, &route, method);
        let content = content(operation, answer.status, answer.header("content-type"));
        let content = content.unwrap_or_else(|| panic!("{}: {answer:?}", route.name()));
        if answer.header("content-type") == "application/json" {
            let mismatches = mismatches(&document, &content["schema"], &answer.json());
            assert!(mismatches.is_empty(), "{}: {mismatches:#?}", route.name());
        }
    }
}

#[tokio::test]
async fn every_error_is_in_the_document_with_its_body() {
    let contract = contract();
    let (_agent, client) = three_keys();
    let document = document(&client).await;
    for route in &contract.routes {
        let operation = operation(&document, route, route.methods()[0]);
        for error in route.errors.iter().filter(|error| !error.ends_with("wrong_method")) {
            for answer in provoke(route, error).await {
                let content = content(operation, answer.status, answer.header("content-type"));
                let content = content.unwrap_or_else(|| panic!("{} {error}: {answer:?}", route.name()));
                let mismatches = mismatches(&document, &content["schema"], &answer.json());
                assert!(mismatches.is_empty(), "{} {error}: {mismatches:#?}", route.name());
            }
        }
    }
}

/// What the document lists is what the contract knows how to bring about, no more and no less.
#[tokio::test]
async fn every_status_in_the_document_can_be_had() {
    let contract = contract();
    let (_agent, client) = three_keys();
    let document = document(&client).await;
    let mut differing = Vec::new();
    for route in &contract.routes {
        let errors = route.errors.iter().filter(|error| !error.ends_with("wrong_method"));
        let statuses_of_errors = errors.map(|error| contract.errors[error]["status"].as_u64().unwrap() as u16);
        let possible: BTreeSet<u16> = statuses_of_errors.chain([route.status]).collect();
        let operation = operation(&document, route, route.methods()[0]);
        if statuses(operation) != possible {
            differing.push((route.name(), statuses(operation), possible));
        }
    }
    assert!(differing.is_empty(), "documented and possible: {differing:#?}");
}

/// The check itself: an answer that is short of a field, or has one more, does not pass.
#[tokio::test]
async fn a_changed_answer_does_not_pass() {
    let (_agent, client) = three_keys();
    let document = document(&client).await;
    let schema = &document["components"]["schemas"]["Key"];
    let good = client.get("/api/keys").await.ok()[0].clone();
    assert!(mismatches(&document, schema, &good).is_empty());
    let fields = good.as_object().unwrap();
    for name in fields.keys() {
        let mut short = fields.clone();
        short.remove(name);
        assert!(
            !mismatches(&document, schema, &short.into()).is_empty(),
            "without {name}"
        );
        let mut wrong = fields.clone();
        wrong.insert(name.clone(), serde_json::json!({}));
        assert!(
            !mismatches(&document, schema, &wrong.into()).is_empty(),
            "a wrong {name}"
        );
    }
    let mut more = fields.clone();
    more.insert("more".to_owned(), Value::Null);
    assert!(!mismatches(&document, schema, &more.into()).is_empty());
}

/// The page names no place but its own, and nothing in it stands where the policy forbids it.
#[tokio::test]
async fn the_page_loads_nothing_from_outside() {
    let (_agent, client) = three_keys();
    for path in ["/api/docs", "/api/docs/docs.css", "/api/docs/docs.js"] {
        let text = client.with_key(None).get(path).await.text;
        for outside in [
            "http:",
            "https:",
            "//cdn",
            "@import",
            "innerHTML",
            "eval(",
            " style=",
            "<style",
            "onclick",
        ] {
            assert!(!text.contains(outside), "{path}: {outside}");
        }
    }
    let page = client.get("/api/docs").await.text;
    let named = page.split('"').filter(|text| text.starts_with("docs/"));
    for file in named {
        assert_eq!(
            client.get(&format!("/api/{file}")).await.status,
            StatusCode::OK,
            "{file}"
        );
    }
    assert_eq!(page.matches("<script").count(), page.matches("<script src=").count());
}
