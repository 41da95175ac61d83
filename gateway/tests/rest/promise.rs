//! A route as clients were promised it, and what it takes to ask it: `tests/contract/promises.json`.
//!
//! Knows no agent and no client: the gateway's tests put it to a router, the stories to a real agent.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::shape::{Shapes, broken_promises, differences};

/// All that was promised.
#[derive(Deserialize)]
pub(crate) struct Promises {
    shapes: Shapes,
    pub(crate) routes: Vec<Promise>,
}

/// One route.
#[derive(Deserialize)]
pub(crate) struct Promise {
    pub(crate) method: String,
    pub(crate) path: String,
    access: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    body: Value,
    pub(crate) status: u16,
    pub(crate) answer: Value,
    #[serde(default)]
    pub(crate) errors: Vec<Refusal>,
}

/// What a route refuses: how such a request differs from a good one, and what is answered.
#[derive(Deserialize)]
pub(crate) struct Refusal {
    /// The situation in which even a good request is refused.
    pub(crate) when: Option<String>,
    #[serde(default)]
    path: BTreeMap<String, String>,
    query: Option<String>,
    #[serde(default)]
    body: Value,
    raw: Option<String>,
    status: u16,
    text: String,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Empty where there is none.
    pub(crate) body: String,
}

/// What stands for the names in braces.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(BTreeMap<String, String>);

/// What this product answers to one route, to the last field: a row of `tests/contract/routes.json`.
#[derive(Deserialize)]
struct ExactRoute {
    method: String,
    path: String,
    #[serde(default)]
    answer: Value,
}

#[derive(Deserialize)]
struct ExactContract {
    shapes: Shapes,
    routes: Vec<ExactRoute>,
}

/// The promises of this project.
pub(crate) fn promises() -> Promises {
    serde_json::from_str(include_str!("../contract/promises.json")).unwrap()
}

impl Promises {
    /// What is wrong with the body of a success: promises that it breaks, and what the product's own contract has
    /// otherwise. Words that name an answer of the stand-in agent hold in its tests alone, so texts are left to the
    /// promises.
    pub(crate) fn faults(&self, route: &Promise, names: &Names, body: &Value) -> Vec<String> {
        let mut faults = broken_promises(&names.fill_all(&route.answer), body, &self.shapes);
        let exact: ExactContract = serde_json::from_str(include_str!("../contract/routes.json")).unwrap();
        let path = route.path.replace("{rest}", "{*rest}");
        match exact
            .routes
            .iter()
            .find(|row| row.method == route.method && row.path == path)
        {
            Some(row) => faults.extend(differences(
                &without_texts(&row.answer),
                body,
                &without_all_texts(&exact.shapes),
            )),
            None => faults.push("not in routes.json".to_owned()),
        }
        faults
    }
}

/// A shape in which fixed texts, numbers and switches are any of their kind: those differ between a stand-in and a real
/// agent, and the promises say which must not.
fn without_texts(shape: &Value) -> Value {
    match shape {
        Value::String(word) if word.starts_with('=') => json!("string"),
        Value::Number(_) => json!("int"),
        Value::Bool(_) => json!("bool"),
        Value::Array(shapes) => shapes.iter().map(without_texts).collect(),
        Value::Object(shapes) => Value::Object(without_all_texts(shapes)),
        shape => shape.clone(),
    }
}

fn without_all_texts(shapes: &Shapes) -> Map<String, Value> {
    let shapes = shapes.iter().map(|(name, shape)| (name.clone(), without_texts(shape)));
    shapes.collect()
}

#[allow(dead_code, reason = "the stories share this file, and each side uses a part of it")]
impl Promise {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether it is one of the panel's, which has error bodies of its own.
    pub(crate) fn is_panel(&self) -> bool {
        self.access == "panel" || self.answer.get("ok").is_some()
    }

    pub(crate) fn needs_key(&self) -> bool {
        self.access != "open"
    }

    pub(crate) fn has_key_id(&self) -> bool {
        self.path.contains("{key_id}")
    }

    /// A good request.
    pub(crate) fn ask(&self, names: &Names) -> Ask {
        self.ask_with(names, &self.query, &self.body_text(names))
    }

    /// A good request with what nobody knows in query and body.
    pub(crate) fn ask_with_more(&self, names: &Names) -> Ask {
        let query = format!("{}&unknown=1", self.query);
        let mut body = names.fill_all(&self.body);
        if let Some(fields) = body.as_object_mut() {
            fields.insert("unknown".to_owned(), json!({ "deep": [1, null] }));
        }
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.ask_with(names, query.trim_start_matches('&'), &body)
    }

    /// The request of a refusal.
    pub(crate) fn refused(&self, refusal: &Refusal, names: &Names) -> Ask {
        let mut names = names.clone();
        names.0.extend(refusal.path.clone());
        let query = refusal.query.as_deref().unwrap_or(&self.query);
        let body = match (&refusal.raw, &refusal.body) {
            (Some(raw), _) => raw.clone(),
            (None, Value::Null) => self.body_text(&names),
            (None, body) => names.fill_all(body).to_string(),
        };
        self.ask_with(&names, query, &body)
    }

    /// A method that it does not have.
    pub(crate) fn ask_wrongly(&self, names: &Names) -> Ask {
        Ask {
            method: "PUT".to_owned(),
            ..self.ask(names)
        }
    }

    /// The body of an error of its family.
    pub(crate) fn error(&self, status: u16, text: &str) -> Value {
        if self.is_panel() {
            json!({ "ok": false, "error": text, "code": status })
        } else {
            json!({ "detail": text })
        }
    }

    fn body_text(&self, names: &Names) -> String {
        match &self.body {
            Value::Null => String::new(),
            body => names.fill_all(body).to_string(),
        }
    }

    fn ask_with(&self, names: &Names, query: &str, body: &str) -> Ask {
        let path = names.fill(&self.path);
        let query = names.encoded().fill(query);
        Ask {
            method: if self.method == "ANY" { "POST" } else { &self.method }.to_owned(),
            target: if query.is_empty() {
                path
            } else {
                format!("{path}?{query}")
            },
            body: body.to_owned(),
        }
    }
}

impl Refusal {
    /// What is wrong with an answer to such a request: nothing but an error in the body of the route's family will do.
    pub(crate) fn faults(&self, route: &Promise, names: &Names, status: u16, body: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        if status != self.status {
            faults.push(format!("status {status} instead of {}: {body}", self.status));
        }
        let word = names.fill(&self.text);
        let shape = if route.is_panel() {
            json!({ "ok": false, "error": word, "code": self.status })
        } else {
            json!({ "detail": word })
        };
        faults.extend(differences(&shape, body, &Shapes::new()));
        faults
    }
}

impl Names {
    /// The same with one more name.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    fn fill(&self, text: &str) -> String {
        let names = self.0.iter();
        names.fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
    }

    fn fill_all(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(values) => values.iter().map(|value| self.fill_all(value)).collect(),
            Value::Object(values) => {
                let values = values.iter().map(|(name, value)| (name.clone(), self.fill_all(value)));
                Value::Object(values.collect())
            }
            value => value.clone(),
        }
    }

    /// The same for a query.
    fn encoded(&self) -> Self {
        let encode = |value: &String| {
            let encode = |byte: u8| match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            };
            value.bytes().map(encode).collect()
        };
        Self(
            self.0
                .iter()
                .map(|(name, value)| (name.clone(), encode(value)))
                .collect(),
        )
    }
}
