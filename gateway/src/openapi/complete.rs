//! What follows from a route's row, so that no handler has to repeat it: the operation's name and group, the API key,
//! path parameters, and the errors that every route of its kind can have.

use utoipa::ToSchema as _;
use utoipa::openapi::path::{HttpMethod, Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{ContentBuilder, KnownFormat, Ref, RefOr, Required, Response, ResponseBuilder};

use super::API_KEY;
use crate::auth::Access;
use crate::failure::{Family, KeyError, PanelError};
use crate::routes::Route;

/// The groups of operations: the module that the handlers are in, the group's name, what it is about.
const GROUPS: [(&str, &str, &str); 19] = [
    ("meta", "Service", "Whether the service is there, alive and ready."),
    ("openapi", "Documentation", "This document, and the page that shows it."),
    ("ui", "Page", "The page for people, and its files."),
    ("keys", "Keys", "Keys: make, list, show, change, delete."),
    ("links", "Links", "What opens a connection with a key."),
    (
        "subscription",
        "Subscriptions",
        "What clients fetch to learn their key's present link.",
    ),
    (
        "traffic",
        "Traffic",
        "Current counters: since a key was made or last reset.",
    ),
    ("history", "History", "Totals, days, months and billing cycles."),
    ("ports", "Ports", "Which key has which port."),
    (
        "xray",
        "Xray",
        "The core's configuration, its synchronization and its restart.",
    ),
    ("usage", "Panel: usage", "Days of all users together and of each one."),
    ("live", "Panel: live", "Who is active now, how it went, who is ahead."),
    (
        "users",
        "Panel: users",
        "Keys as the panel sees them; a user's email is the key's name.",
    ),
    ("events", "Panel: events", "What happened."),
    (
        "system",
        "Panel: header",
        "The services, the host's resources, restarts.",
    ),
    ("settings", "Panel: settings", "What can be set while the agent runs."),
    ("collector", "Panel: collector", "What brings counters into day rows."),
    ("backups", "Panel: backups", "Saved configurations of the core."),
    ("checks", "Panel: tests", "The self-checks."),
];

/// Modules whose routes belong to another module's group.
const SUBGROUPS: [(&str, &str); 1] = [("watched_ports", "ports")];

/// The name of a backup.
const BACKUP: &str = r"^[0-9]{8}_[0-9]{6}__[A-Za-z0-9_-]{1,64}__config\.json$";

/// The parameters that a path can have: name, description, format or pattern.
const PARAMETERS: [(&str, &str, Text); 6] = [
    ("key_id", "The key's `id` or its `uuid`.", Text::Any),
    ("token", "The subscription's token.", Text::Pattern("^[0-9a-f]{32}$")),
    ("date", "A day of the calendar, `YYYY-MM-DD`.", Text::Date),
    (
        "file",
        "The name of a backup, as the list has it.",
        Text::Pattern(BACKUP),
    ),
    ("page_file", "The name of a file of the page.", Text::Any),
    ("rest", "Anything.", Text::Any),
];

/// What a path parameter looks like.
#[derive(Clone, Copy)]
enum Text {
    Any,
    Date,
    Pattern(&'static str),
}

/// The path in the document's words, which have no segment that stands for many.
pub(super) fn template(path: &str) -> String {
    path.replace("{*", "{")
}

/// The groups, in their order.
pub(super) fn groups() -> Vec<Tag> {
    let group = |(_, name, about): (&str, &str, &str)| TagBuilder::new().name(name).description(Some(about)).build();
    GROUPS.into_iter().map(group).collect()
}

/// The operations of a route: one for each method that it answers.
pub(super) fn operations(route: &Route) -> Vec<(HttpMethod, Operation)> {
    let described = route.described();
    let methods = described.methods();
    debug_assert_eq!(
        described.path(),
        template(route.path()),
        "a handler names another path than its row"
    );
    debug_assert!(
        methods
            .iter()
            .all(|method| [word(method), "ANY"].contains(&route.method())),
        "a handler names another method than its row: {}",
        route.path()
    );
    let is_only = methods.len() == 1;
    let named = methods.into_iter().map(|method| {
        let suffix = match is_only {
            true => String::new(),
            false => format!("_{}", word(&method).to_lowercase()),
        };
        let operation = operation(route, &suffix);
        (method, operation)
    });
    named.collect()
}

/// The method as a request line has it.
pub(super) fn word(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Options => "OPTIONS",
        HttpMethod::Head => "HEAD",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Trace => "TRACE",
    }
}

fn operation(route: &Route, suffix: &str) -> Operation {
    let mut operation = route.described().operation();
    let names = route.described().names();
    operation.operation_id = Some(format!("{}{suffix}", names.join("_")));
    operation.summary = operation.summary.as_deref().map(on_one_line);
    operation.description = operation.description.as_deref().map(on_one_line);
    operation.tags = Some(vec![group_of(names[0]).to_owned()]);
    operation.security = match route.access() {
        Access::Open => None,
        Access::Key | Access::Panel => Some(vec![SecurityRequirement::new(API_KEY, [""; 0])]),
    };
    let is_query_checked = operation.parameters.iter().flatten().any(can_be_wrong);
    let names = parameter_names(route.path());
    let in_path = names.iter().map(|name| RefOr::T(parameter(name)));
    let parameters: Vec<_> = in_path.chain(operation.parameters.take().unwrap_or_default()).collect();
    operation.parameters = (!parameters.is_empty()).then_some(parameters);
    let is_guarded = route.access() != Access::Open;
    let facts = Facts {
        is_guarded,
        asks_agent: is_guarded && operation.responses.responses.contains_key("200"),
        is_query_checked,
        has_body: operation.request_body.is_some(),
        is_checked: names.iter().any(|name| ["date", "file"].contains(name)),
        is_looked_up: names
            .iter()
            .any(|name| ["key_id", "token", "file", "page_file"].contains(name)),
    };
    answers(&mut operation, route.access().family(), facts);
    operation
}

/// Whether there are values that a parameter of the query must not have: any text is one, a number or a choice is not.
/// Where a text is looked at more closely, the handler says so with a response of its own.
fn can_be_wrong(parameter: &RefOr<Parameter>) -> bool {
    let RefOr::T(parameter) = parameter else { return true };
    let schema = serde_json::to_value(&parameter.schema).unwrap_or_default();
    let is_text = match &schema["type"] {
        serde_json::Value::Array(types) => types.iter().any(|name| name == "string"),
        name => name == "string",
    };
    !is_text || ["format", "pattern", "enum"].iter().any(|word| !schema[word].is_null())
}

/// Each paragraph of a doc comment on one line.
fn on_one_line(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

fn group_of(module: &str) -> &'static str {
    let of = |module: &str| GROUPS.iter().find(|group| group.0 == module).map(|group| group.1);
    let other = || {
        SUBGROUPS
            .iter()
            .find(|pair| pair.0 == module)
            .and_then(|pair| of(pair.1))
    };
    of(module).or_else(other).unwrap_or("Other")
}

/// The names between braces.
fn parameter_names(path: &str) -> Vec<&str> {
    let segments = path.split('/');
    let inside = segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    inside.map(|name| name.trim_start_matches('*')).collect()
}

fn parameter(name: &str) -> Parameter {
    let (about, text) = PARAMETERS
        .iter()
        .find(|parameter| parameter.0 == name)
        .map_or(("", Text::Any), |parameter| (parameter.1, parameter.2));
    let schema = ObjectBuilder::new().schema_type(Type::String);
    let schema = match text {
        Text::Any => schema,
        Text::Date => schema.format(Some(SchemaFormat::KnownFormat(KnownFormat::Date))),
        Text::Pattern(pattern) => schema.pattern(Some(pattern)),
    };
    let mut parameter = Parameter::new(name);
    parameter.parameter_in = ParameterIn::Path;
    parameter.required = Required::True;
    parameter.description = (!about.is_empty()).then(|| about.to_owned());
    parameter.schema = Some(schema.into());
    parameter
}

/// What a route's answers depend on.
struct Facts {
    is_guarded: bool,
    /// Whether the agent is asked, which it is not for an answer that can only be an error.
    asks_agent: bool,
    /// Whether something in the query can be wrong.
    is_query_checked: bool,
    has_body: bool,
    /// Whether something in the path has a form that can be wrong.
    is_checked: bool,
    /// Whether something in the path can be unknown.
    is_looked_up: bool,
}

/// Adds the errors of this kind of route, and to every error its family's body.
fn answers(operation: &mut Operation, family: Family, facts: Facts) {
    let common = [
        (
            facts.is_query_checked || facts.has_body || facts.is_checked,
            "400",
            "What is wrong with the request.",
        ),
        (facts.is_guarded, "401", "The API key is missing or wrong."),
        (facts.is_looked_up, "404", "What the path names is not there."),
        (facts.has_body, "413", "The body is too large."),
        (facts.asks_agent, "500", "The agent failed; its log says more."),
        (facts.asks_agent, "503", "The agent cannot be reached or is not ready."),
    ];
    let responses = &mut operation.responses.responses;
    for (is_possible, status, about) in common {
        if is_possible && !responses.contains_key(status) {
            responses.insert(
                status.to_owned(),
                ResponseBuilder::new().description(about).build().into(),
            );
        }
    }
    for (status, response) in responses.iter_mut() {
        let RefOr::T(response) = response else { continue };
        if status.starts_with('2') && response.description.is_empty() {
            "Success.".clone_into(&mut response.description);
        } else if !status.starts_with('2') && response.content.is_empty() {
            add_body(response, family);
        }
    }
}

fn add_body(response: &mut Response, family: Family) {
    let name = match family {
        Family::Key => KeyError::name(),
        Family::Panel => PanelError::name(),
    };
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build();
    response.content.insert("application/json".to_owned(), content.into());
}
