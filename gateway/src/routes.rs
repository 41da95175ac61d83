//! The route table: every method and path, who may call it, and which handler answers.
//!
//! Owns what is true of all routes: the key is asked for before the handler runs, an unknown path is 404 and an
//! unknown method 405 in the body of the path's family, with or without a key.

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, any, on};

use crate::auth::{Access, Guarded};
use crate::backend::Backend;
use crate::failure::Family;
use crate::gateway::{Gateway, LiveConfig};
use crate::openapi::{self, Described};
use crate::request::refuse;
use crate::requests::{Measured, RequestFigures};
use crate::{
    backups, checks, collector, events, history, keys, links, live, meta, ports, settings, subscription, system,
    traffic, ui, usage, users, watched_ports, xray,
};

/// One row of the table.
pub(crate) struct Route {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, or `ANY` for every method.
    method: &'static str,
    path: &'static str,
    access: Access,
    /// Makes what answers; it is told which row of the table it is.
    mount: Box<dyn FnOnce(usize) -> MethodRouter<Gateway>>,
    described: Described,
}

impl Route {
    pub(crate) fn method(&self) -> &'static str {
        self.method
    }

    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// What the handler says of itself for the OpenAPI document.
    pub(crate) fn described(&self) -> Described {
        self.described
    }
}

/// Rows of the table, each a call of one of the functions below. A handler is given together with what its
/// `#[utoipa::path]` says, so that none can be without; see [`openapi`].
macro_rules! table {
    ($($row:ident $arguments:tt),* $(,)?) => {
        vec![$(row!($row $arguments)),*]
    };
}

/// One row.
macro_rules! row {
    ($method:ident($path:literal, $access:ident, $($handler:tt)+)) => {
        $method($path, $access, $($handler)+, described!($($handler)+))
    };
}

/// The description of a handler.
macro_rules! described {
    ($($handler:tt)+) => {
        Described::of::<description!([] $($handler)+)>(stringify!($($handler)+))
    };
}

/// The type that `#[utoipa::path]` makes beside a handler.
macro_rules! description {
    ([$($module:tt)*] $handler:ident) => {
        pastey::paste! { $($module)* [<__path_ $handler>] }
    };
    ([$($module:tt)*] $next:ident :: $($rest:tt)+) => {
        description!([$($module)* $next ::] $($rest)+)
    };
}

/// Every route, in the order of the contract.
pub(crate) fn table() -> Vec<Route> {
    use Access::{Key, Open, Panel};
    table![
        get("/", Open, meta::banner),
        get("/api", Open, meta::banner_of_api),
        get("/api/", Open, meta::banner_of_folder),
        get("/api/openapi.json", Open, openapi::show),
        get("/api/docs", Open, openapi::page::show),
        get("/api/docs/docs.css", Open, openapi::page::style),
        get("/api/docs/docs.js", Open, openapi::page::script),
        get("/ui", Open, ui::page),
        get("/ui/", Open, ui::page_of_folder),
        get("/ui/{page_file}", Open, ui::file),
        get("/livez", Open, meta::is_alive),
        get("/readyz", Open, meta::is_ready),
        get("/sub/{token}", Open, subscription::show),
        post("/api/keys", Key, keys::create),
        get("/api/keys", Key, keys::list),
        get("/api/keys/{key_id}", Key, keys::show),
        patch("/api/keys/{key_id}", Key, keys::update),
        delete("/api/keys/{key_id}", Key, keys::delete),
        get("/api/keys/{key_id}/config", Key, links::show),
        get("/api/keys/{key_id}/qr.png", Key, links::qr_png),
        get("/api/keys/{key_id}/qr.svg", Key, links::qr_svg),
        get("/api/traffic/simple", Key, traffic::simple::list),
        get("/api/keys/{key_id}/traffic/simple", Key, traffic::simple::show),
        post("/api/keys/{key_id}/traffic/simple/reset", Key, traffic::simple::reset),
        get("/api/traffic/ports/exact", Key, traffic::exact::list),
        get("/api/keys/{key_id}/traffic/port/exact", Key, traffic::exact::show),
        post("/api/keys/{key_id}/traffic/port/reset", Key, traffic::exact::reset),
        get("/api/traffic/status", Key, traffic::status::show),
        get("/api/system/traffic/summary", Key, traffic::exact::summary),
        get("/api/traffic/exact", Key, traffic::legacy::list),
        get("/api/keys/{key_id}/traffic/exact", Key, traffic::legacy::show),
        post("/api/keys/{key_id}/traffic/reset", Key, traffic::legacy::reset),
        get("/api/traffic/history", Key, history::totals::list),
        get("/api/keys/{key_id}/traffic/history", Key, history::totals::show),
        get("/api/traffic/daily/{date}", Key, history::days::show),
        post("/api/keys/{key_id}/traffic/history/reset", Key, history::totals::reset),
        post("/api/traffic/history/cleanup", Key, history::days::clean_up),
        get("/api/traffic/monthly", Key, history::months::list),
        get("/api/keys/{key_id}/traffic/monthly", Key, history::months::show),
        get("/api/keys/{key_id}/cycles", Key, history::cycles::list),
        put("/api/keys/{key_id}/cycle", Key, history::cycles::set),
        get("/api/system/ports", Key, ports::list),
        post("/api/system/ports/reset", Key, ports::reset),
        get("/api/system/ports/status", Key, ports::check),
        get("/api/system/config-status", Key, xray::status::compare),
        post("/api/system/sync-config", Key, xray::config::synchronize),
        post("/api/system/verify-reality", Key, xray::reality::verify),
        get("/api/system/xray/config-status", Key, xray::status::count),
        post("/api/system/xray/sync-config", Key, xray::config::synchronize_xray),
        get("/api/system/xray/validate-sync", Key, xray::status::validate),
        get("/api/ping", Open, meta::ping),
        get("/api/usage/dashboard", Panel, usage::dashboard),
        get("/api/usage/dates", Panel, usage::dates),
        get("/api/usage/dashboard/{date}", Panel, usage::dashboard_of_date),
        get("/api/live/now", Panel, live::now::show),
        get("/api/live/series", Panel, live::series::show),
        get("/api/live/top", Panel, live::top::show),
        get("/api/users", Panel, users::list::show),
        post("/api/users/add", Panel, users::change::add),
        post("/api/users/delete", Panel, users::change::delete),
        post("/api/users/kick", Panel, users::change::kick),
        post("/api/users/update-alias", Panel, users::change::update_alias),
        get("/api/users/link", Panel, users::link::show),
        get("/api/users/stats", Panel, users::stats::show),
        get("/api/events", Panel, events::list::show),
        get("/api/events/stats", Panel, events::stats::show),
        get("/api/system/status", Panel, system::status),
        get("/api/system/resources", Panel, system::resources),
        get("/api/ports/status", Panel, watched_ports::show),
        post("/api/system/restart", Panel, system::restart),
        get("/api/settings", Panel, settings::show),
        post("/api/settings", Panel, settings::save),
        get("/api/xray/config", Panel, xray::config::show),
        post("/api/xray/restart", Panel, xray::config::restart),
        get("/api/xray/reality", Panel, xray::reality::show),
        get("/api/collector/status", Panel, collector::status),
        post("/api/collector/toggle", Panel, collector::toggle),
        post("/api/collector/run", Panel, collector::run),
        get("/api/backups", Panel, backups::list),
        get("/api/backups/{file}/preview", Panel, backups::preview),
        post("/api/backups/{file}/restore", Panel, backups::restore::run),
        delete("/api/backups/{file}", Panel, backups::delete),
        get("/api/tests/run", Panel, checks::run),
        get("/api/tests/list", Panel, checks::list),
        get("/api/tests/status", Panel, checks::status),
        every_method("/api/v2", Panel, meta::not_implemented),
        every_method("/api/v2/", Panel, meta::not_implemented_folder),
        every_method("/api/v2/{*rest}", Panel, meta::not_implemented_path),
    ]
}

/// The REST interface over `backend`, ready for [`serve`](crate::serve). Who keeps a clone of the [`LiveConfig`] can change
/// some of it while it runs.
pub fn router(backend: Backend, config: impl Into<LiveConfig>) -> Router {
    measured_router(backend, config, RequestFigures::default())
}

/// The same, with its requests noted in `requests`.
pub fn measured_router(backend: Backend, config: impl Into<LiveConfig>, requests: RequestFigures) -> Router {
    let unmatched = requests.unmatched();
    let routes = table().into_iter().enumerate();
    let router = routes.fold(Router::new(), |router, (number, route)| {
        router.route(route.path, (route.mount)(number))
    });
    router
        .method_not_allowed_fallback(Measured {
            route: unmatched,
            handler: method_not_allowed,
        })
        .fallback(Measured {
            route: unmatched,
            handler: not_found,
        })
        .with_state(Gateway::new(backend, config.into(), requests))
}

/// A method by its name, and the router of a handler that answers it.
type Answering<H> = (&'static str, fn(Measured<Guarded<H>>) -> MethodRouter<Gateway>);

/// One route as a person reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLine {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, or `ANY` for every method.
    pub method: &'static str,
    /// The path; `{name}` is one segment, `{*name}` all the rest.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
}

impl RouteLine {
    /// Stands for every method.
    pub(crate) const ANY: &str = "ANY";
}

/// The route table without its handlers, in its order.
pub fn route_lines() -> Vec<RouteLine> {
    let line = |route: Route| RouteLine {
        method: route.method,
        path: route.path,
        access: route.access,
    };
    table().into_iter().map(line).collect()
}

async fn not_found(request: Request) -> Response {
    let response = Family::of_path(request.uri().path()).not_found();
    refuse(request, response).await
}

async fn method_not_allowed(request: Request) -> Response {
    let response = Family::of_path(request.uri().path()).method_not_allowed();
    refuse(request, response).await
}

/// A row whose handler answers what `answering` lets through.
fn route<T: 'static, H: Handler<T, Gateway>>(
    (method, answering): Answering<H>,
    path: &'static str,
    access: Access,
    handler: H,
    described: Described,
) -> Route {
    Route {
        method,
        path,
        access,
        mount: Box::new(move |route| {
            answering(Measured {
                route,
                handler: Guarded { access, handler },
            })
        }),
        described,
    }
}

/// A function for rows of one method.
macro_rules! rows_of {
    ($name:ident, $method:expr, $answering:expr) => {
        fn $name<T: 'static, H: Handler<T, Gateway>>(
            path: &'static str,
            access: Access,
            handler: H,
            described: Described,
        ) -> Route {
            route::<T, H>(($method, $answering), path, access, handler, described)
        }
    };
}

rows_of!(get, "GET", |handler| on(MethodFilter::GET, handler));
rows_of!(post, "POST", |handler| on(MethodFilter::POST, handler));
rows_of!(put, "PUT", |handler| on(MethodFilter::PUT, handler));
rows_of!(patch, "PATCH", |handler| on(MethodFilter::PATCH, handler));
rows_of!(delete, "DELETE", |handler| on(MethodFilter::DELETE, handler));
rows_of!(every_method, RouteLine::ANY, |handler| any(handler));
