//! The OpenAPI document of every route, made from the handlers, and the page that shows it.
//!
//! # How a route gets into it
//!
//! A row of `routes::table` names a handler, and the handler carries `#[utoipa::path]`: a row whose handler has none does
//! not compile. The attribute says only what nobody else can know:
//!
//! - the method and the path, which must be the row's (a test compares them);
//! - `responses((status = 200, body = Body))`: the success. Derive `ToSchema` on the body and what is in it; every
//!   `Option` field takes `#[schema(required)]`, because no answer leaves one out; an [`Object`](crate::answer::Object)
//!   takes `#[schema(value_type = BTreeMap<String, Row>)]`. Names of schemas are global: where a type's own is taken,
//!   `#[schema(as = Other)]`;
//! - `params(("days" = Option<u32>, Query, minimum = 1, maximum = 365))`: what is read of the query, and its bounds;
//! - `request_body = Wanted`: a type that is there for the document, in the [`bodies`] of its group;
//! - errors beyond those that [`complete`] adds, as `(status = 409, description = "…")`: their body is the family's.
//!
//! The doc comment is for callers: its first paragraph is the summary, the rest the description.
//!
//! [`complete`] adds what follows from the row: name, group, the API key, path parameters, and the errors that every
//! route of this kind can have.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use utoipa::openapi::path::{PathItem, PathsBuilder};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, License, OpenApi, OpenApiBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::answer;
use crate::failure::{KeyError, PanelError};
use crate::routes::{Route, table};

pub(crate) mod bodies;
mod complete;
mod described;
pub(crate) mod page;

pub(crate) use described::Described;

/// What the document says of the whole.
const ABOUT: &str = "Keys of an Xray VLESS+REALITY server and the traffic of each one's port, counted in the kernel.\n\n\
    There are two families of routes. Errors of the key family are `{\"detail\": text}`, those of the panel \
    `{\"ok\": false, \"error\": text, \"code\": status}`. Both take the API key in the header `X-API-Key`; the panel's \
    routes do without it where the configuration says `panel_auth = \"open\"`. Times without a zone are UTC. Names that \
    a route does not know are ignored, in a query and in a body.";

/// The name of the security scheme.
const API_KEY: &str = "ApiKey";

/// This document: every route, what it takes and what it answers.
#[utoipa::path(get, path = "/api/openapi.json", responses((status = 200, body = Object)))]
pub(crate) async fn show() -> Response {
    static WRITTEN: OnceLock<Bytes> = OnceLock::new();
    let written = WRITTEN.get_or_init(|| answer::to_bytes(&document(), 256 * 1024));
    answer::json_bytes(written.clone())
}

/// The document as it is served.
pub(crate) fn document() -> Value {
    let mut document = serde_json::to_value(describe(&table())).expect("a document is always JSON");
    widen_integers(&mut document);
    document
}

fn describe(routes: &[Route]) -> OpenApi {
    let mut paths = PathsBuilder::new();
    for route in routes {
        for (method, operation) in complete::operations(route) {
            let path = complete::template(route.path());
            paths = paths.path(path, PathItem::new(method, operation));
        }
    }
    let about = Info::builder()
        .title("Portmeter")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(License::new(env!("CARGO_PKG_LICENSE"))))
        .build();
    let header = ApiKeyValue::with_description("X-API-Key", "The key that the server was started with.");
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas(routes).into_iter().collect::<BTreeMap<_, _>>())
        .security_scheme(API_KEY, SecurityScheme::ApiKey(ApiKey::Header(header)))
        .build();
    OpenApiBuilder::new()
        .info(about)
        .paths(paths.build())
        .components(Some(components))
        .tags(Some(complete::groups()))
        .build()
}

/// Every schema that a route refers to, by its name; one that several refer to is there several times.
fn schemas(routes: &[Route]) -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![
        (KeyError::name().into_owned(), KeyError::schema()),
        (PanelError::name().into_owned(), PanelError::schema()),
    ];
    for route in routes {
        route.described().schemas(&mut schemas);
    }
    schemas
}

/// Every whole number is a 64-bit one on the wire, whatever type it has here.
fn widen_integers(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_integer = fields.get("type").is_some_and(|kind| match kind {
                Value::Array(kinds) => kinds.iter().any(|kind| kind == "integer"),
                kind => kind == "integer",
            });
            if is_integer {
                fields.insert("format".to_owned(), "int64".into());
            }
            fields.values_mut().for_each(widen_integers);
        }
        Value::Array(values) => values.iter_mut().for_each(widen_integers),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
