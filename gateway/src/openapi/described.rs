//! What a handler's `#[utoipa::path]` says, reachable from its row.

use utoipa::__dev::SchemaReferences;
use utoipa::Path;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::{RefOr, Schema};

/// A handler's description. It is made when it is asked for: most runs never need it.
#[derive(Clone, Copy)]
pub(crate) struct Described {
    /// The handler, for example `traffic::simple::list`.
    handler: &'static str,
    methods: fn() -> Vec<HttpMethod>,
    path: fn() -> String,
    operation: fn() -> Operation,
    schemas: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Described {
    /// The description that `#[utoipa::path]` has made for `handler`.
    pub(crate) fn of<P: Path + SchemaReferences>(handler: &'static str) -> Self {
        Self {
            handler,
            methods: P::methods,
            path: P::path,
            operation: P::operation,
            schemas: P::schemas,
        }
    }

    /// The modules and the function, outermost first.
    pub(super) fn names(self) -> Vec<&'static str> {
        self.handler.split("::").map(str::trim).collect()
    }

    /// The methods that the attribute names.
    pub(super) fn methods(self) -> Vec<HttpMethod> {
        (self.methods)()
    }

    /// The path that the attribute names.
    pub(super) fn path(self) -> String {
        (self.path)()
    }

    /// What the attribute says, without what follows from the row.
    pub(super) fn operation(self) -> Operation {
        (self.operation)()
    }

    /// Adds the schemas that the operation refers to.
    pub(super) fn schemas(self, schemas: &mut Vec<(String, RefOr<Schema>)>) {
        (self.schemas)(schemas);
    }
}
