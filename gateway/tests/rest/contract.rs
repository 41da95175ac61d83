//! Every route, every field, every error of `tests/contract/routes.json`.

use http::StatusCode;
use portmeter_gateway::{Access, route_lines};

use crate::agent::Agent;
use crate::change::changed;
use crate::provoke::{SECRET, provoke};
use crate::route::{contract, three_keys};
use crate::shape::differences;

#[tokio::test]
async fn every_route_answers_in_the_shape_it_promises() {
    let contract = contract();
    for route in &contract.routes {
        for field in [|agent: &Agent| agent.key(1).id, |agent: &Agent| agent.key(1).uuid] {
            let (agent, client) = three_keys();
            let answer = route.ask(&client, &field(&agent)).await;
            assert_eq!(answer.status, route.status, "{}: {answer:?}", route.name());
            for (name, value) in &route.headers {
                assert_eq!(answer.header(name), value, "{} {name}", route.name());
            }
            if let Some(content_type) = &route.content_type {
                assert_eq!(answer.header("content-type"), content_type, "{}", route.name());
                assert!(!answer.bytes.is_empty(), "{}", route.name());
                continue;
            }
            let differences = differences(&route.answer, &answer.json(), &contract.shapes);
            assert!(differences.is_empty(), "{}: {differences:#?}", route.name());
        }
    }
}

#[tokio::test]
async fn a_route_answers_to_all_its_methods_and_to_head_without_a_body() {
    for route in contract().routes {
        let body = route.body_text();
        for method in route.methods() {
            let (agent, client) = three_keys();
            let answer = client.send(method, &route.target_for(&agent.key(1).id), &body).await;
            assert_eq!(answer.status, route.status, "{method} {}", route.path);
            assert_eq!(answer.bytes.is_empty(), *method == "HEAD", "{method} {}", route.path);
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
            _ if route.path == "/api/ping" => needed.push("panel_wrong_method"),
            _ => needed.push("wrong_method"),
        }
        let (bad_query, bad_date, bad_body, large_body) = match route.access.as_str() {
            "panel" => (
                "panel_bad_query",
                "panel_bad_date",
                "panel_bad_body",
                "panel_large_body",
            ),
            _ => ("bad_query", "bad_date", "bad_body", "large_body"),
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
        if route.path.contains("{token}") {
            needed.push("unknown_token");
        }
        if route.path.contains("{page_file}") {
            needed.push("unknown_page_file");
        }
        if route.path.contains("{file}") {
            needed.extend(["bad_filename", "unknown_backup"]);
        }
        if !route.body.is_null() {
            needed.extend([bad_body, large_body]);
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
    for route in contract.routes.iter().filter(|route| route.content_type.is_none()) {
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
