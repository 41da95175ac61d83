//! The document against the route table, both ways.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::auth::Access;

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

/// Method, path and operation of everything in the document.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let items = document["paths"].as_object().unwrap().iter();
    let named = items.flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    named.collect()
}

/// The methods that a row answers.
fn methods(route: &Route) -> Vec<&'static str> {
    match route.method() {
        "ANY" => METHODS.to_vec(),
        method => vec![method],
    }
}

#[test]
fn every_row_of_the_table_is_in_the_document_and_nothing_else() {
    let document = document();
    let documented: BTreeSet<_> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    let table = table();
    let served = table.iter().flat_map(|route| {
        let path = complete::template(route.path());
        methods(route)
            .into_iter()
            .map(move |method| (method.to_owned(), path.clone()))
    });
    assert_eq!(documented, served.collect::<BTreeSet<_>>());
}

#[test]
fn a_handler_names_the_method_and_the_path_of_its_row() {
    for route in table() {
        let described = route.described();
        assert_eq!(described.path(), complete::template(route.path()));
        let named: BTreeSet<_> = described.methods().iter().map(complete::word).collect();
        assert_eq!(named, methods(&route).into_iter().collect(), "{}", route.path());
    }
}

#[test]
fn path_parameters_are_those_between_the_braces() {
    for (method, path, operation) in operations(&document()) {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let named: Vec<_> = in_path
            .clone()
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let braces: Vec<_> = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        assert_eq!(named, braces, "{method} {path}");
        assert!(in_path.into_iter().all(|parameter| parameter["required"] == true));
        for parameter in &parameters {
            assert!(parameter["description"].is_string(), "{method} {path}: {parameter}");
            assert!(parameter["schema"].is_object(), "{method} {path}: {parameter}");
        }
    }
}

#[test]
fn the_key_is_asked_for_as_the_table_says_and_errors_are_of_the_family() {
    let document = document();
    for route in table() {
        for method in methods(&route) {
            let operation = &document["paths"][complete::template(route.path())][method.to_lowercase()];
            let is_guarded = route.access() != Access::Open;
            assert_eq!(operation["security"].is_array(), is_guarded, "{}", route.path());
            let error = match route.access() {
                Access::Panel => "#/components/schemas/PanelError",
                Access::Open | Access::Key => "#/components/schemas/KeyError",
            };
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].is_string(), "{} {status}", route.path());
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                let is_of_its_own = (route.path(), status.as_str()) == ("/readyz", "503");
                if !status.starts_with('2') && !is_of_its_own {
                    assert_eq!(schema, error, "{method} {} {status}", route.path());
                }
            }
        }
    }
}

#[test]
fn operations_have_names_of_their_own_a_group_and_a_summary() {
    let document = document();
    let groups: BTreeSet<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str())
        .collect();
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name), "{method} {path}");
        assert!(
            groups.contains(&operation["tags"][0].as_str()),
            "{method} {path}: {}",
            operation["tags"]
        );
        assert!(
            operation["summary"].as_str().is_some_and(|text| text.ends_with('.')),
            "{method} {path}"
        );
    }
}

#[test]
fn a_schemas_name_means_one_schema() {
    let mut by_name = BTreeMap::new();
    for (name, schema) in schemas(&table()) {
        let schema = serde_json::to_value(schema).unwrap();
        let first = by_name.entry(name.clone()).or_insert_with(|| schema.clone());
        assert_eq!(
            *first, schema,
            "two types are called {name}: give one another name with #[schema(as = …)]"
        );
    }
}

/// The names of the schemas that are referred to in `value`, directly.
fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            let name = name.map(|name| name.strip_prefix("#/components/schemas/").unwrap().to_owned());
            fields.values().flat_map(references).chain(name).collect()
        }
        Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn what_is_referred_to_is_there_and_the_other_way_round() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert_eq!(schemas.keys().cloned().collect::<BTreeSet<_>>(), references(&document));
}

/// The schemas that requests are made of.
fn schemas_of_requests(document: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let bodies = operations(document)
        .into_iter()
        .map(|(_, _, operation)| references(&operation["requestBody"]));
    let mut found: Vec<String> = bodies.flatten().collect();
    while let Some(name) = found.pop() {
        found.extend(references(&document["components"]["schemas"][&name]));
        all.insert(name);
    }
    all
}

/// Answers that leave out what is not known, and the fields of theirs that may be absent.
const MAY_BE_ABSENT: [(&str, &[&str]); 3] = [
    (
        "PanelEvent",
        &["service", "message", "email", "alias", "enabled", "result"],
    ),
    ("SettingsShown", &["restart_required"]),
    // Until it is set here.
    ("PanelSettings", &["log"]),
];

#[test]
fn no_answer_leaves_out_a_field_and_every_field_has_a_type() {
    fn check(place: &str, schema: &Value) {
        let Some(fields) = schema["properties"].as_object() else {
            return;
        };
        for (name, field) in fields {
            let is_required = |required: &Value| required.as_array().unwrap().contains(&name.as_str().into());
            let may_be_absent = MAY_BE_ABSENT
                .iter()
                .any(|(schema, fields)| *schema == place && fields.contains(&name.as_str()));
            assert_eq!(
                is_required(&schema["required"]),
                !may_be_absent,
                "{place}.{name}: add #[schema(required)], or name it as one that may be absent"
            );
            let is_typed = ["type", "$ref", "oneOf", "anyOf", "allOf", "enum"]
                .iter()
                .any(|word| !field[word].is_null());
            assert!(is_typed, "{place}.{name}: {field}");
        }
    }
    let document = document();
    let of_requests = schemas_of_requests(&document);
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        if !of_requests.contains(name) {
            check(name, schema);
            schema["allOf"]
                .as_array()
                .into_iter()
                .flatten()
                .for_each(|part| check(name, part));
        }
    }
}

#[test]
fn whole_numbers_are_of_64_bits() {
    fn check(value: &Value) {
        match value {
            Value::Object(fields) => {
                let is_integer = |kind: &Value| kind == "integer" || kind[0] == "integer";
                if fields.get("type").is_some_and(is_integer) {
                    assert_eq!(fields["format"], "int64", "{value}");
                }
                fields.values().for_each(check);
            }
            Value::Array(values) => values.iter().for_each(check),
            _ => {}
        }
    }
    check(&document());
}
