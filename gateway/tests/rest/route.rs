//! A route as the contract has it, and how to ask it.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::agent::Agent;
use crate::ask::{Answer, Client, with_keys};
use crate::shape::Shapes;

/// The stand-in's token of key 1, and a backup that it has.
const TOKEN: &str = "00000001000000000000000000000000";
const BACKUP: &str = "20250805_115900__create__config.json";

#[derive(Deserialize)]
pub(crate) struct Contract {
    pub(crate) shapes: Shapes,
    pub(crate) errors: Map<String, Value>,
    pub(crate) routes: Vec<Route>,
}

#[derive(Deserialize)]
pub(crate) struct Route {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) access: String,
    /// What a success needs after the `?`.
    #[serde(default)]
    pub(crate) query: String,
    #[serde(default)]
    pub(crate) body: Value,
    #[serde(default)]
    pub(crate) bad_bodies: Map<String, Value>,
    #[serde(default)]
    pub(crate) bad_queries: Map<String, Value>,
    #[serde(default)]
    pub(crate) bad_dates: Vec<String>,
    pub(crate) status: u16,
    /// What a success is where it is not JSON; then there is no shape.
    pub(crate) content_type: Option<String>,
    /// Headers of a success.
    #[serde(default)]
    pub(crate) headers: Map<String, Value>,
    #[serde(default)]
    pub(crate) answer: Value,
    pub(crate) errors: Vec<String>,
}

/// The project's own contract.
pub(crate) fn contract() -> Contract {
    serde_json::from_str(include_str!("../contract/routes.json")).unwrap()
}

/// An agent with three keys, and a client of its gateway.
pub(crate) fn three_keys() -> (Agent, Client) {
    with_keys(3)
}

impl Route {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path with this id in its place, a day, a token, a backup and a file of the page.
    pub(crate) fn path_for(&self, key_id: &str) -> String {
        self.path
            .replace("{key_id}", key_id)
            .replace("{date}", "2025-08-05")
            .replace("{token}", TOKEN)
            .replace("{file}", BACKUP)
            .replace("{page_file}", "main.js")
            .replace("{*rest}", "any/thing")
    }

    /// The path and the query of a success.
    pub(crate) fn target_for(&self, key_id: &str) -> String {
        match self.query.as_str() {
            "" => self.path_for(key_id),
            query => format!("{}?{query}", self.path_for(key_id)),
        }
    }

    /// The body of a success.
    pub(crate) fn body_text(&self) -> String {
        if self.body.is_null() {
            String::new()
        } else {
            self.body.to_string()
        }
    }

    /// A method that this route does not answer.
    pub(crate) fn other_method(&self) -> &'static str {
        if self.method == "PUT" { "POST" } else { "PUT" }
    }

    /// The methods that this route answers.
    pub(crate) fn methods(&self) -> &[&str] {
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
    pub(crate) async fn ask(&self, client: &Client, key_id: &str) -> Answer {
        let target = self.target_for(key_id);
        client.send(self.methods()[0], &target, &self.body_text()).await
    }
}
