//! Who may call a route: checked before anything else of the request is looked at.
//!
//! Owns [`Guarded`], which stands before every handler of the route table, so that no handler can forget to ask for
//! the key. It is a handler around a handler rather than a middleware: it costs a header look-up and a comparison.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use futures_util::future::Either;
use portmeter_listener::{Connection, Verdict};

use crate::failure::Family;
use crate::gateway::{Gateway, PanelAuth};
use crate::request::refuse;

/// The header that carries the API key.
const HEADER: &str = "x-api-key";

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Anybody.
    Open,
    /// Whoever has the API key.
    Key,
    /// As [`PanelAuth`] says.
    Panel,
}

impl Access {
    /// The family whose error bodies the route uses.
    pub(crate) fn family(self) -> Family {
        match self {
            Self::Open | Self::Key => Family::Key,
            Self::Panel => Family::Panel,
        }
    }

    fn admits(self, request: &Request, gateway: &Gateway) -> Result<(), Refusal> {
        match self {
            Self::Open => return Ok(()),
            Self::Panel if gateway.panel_auth() == PanelAuth::Open => return Ok(()),
            Self::Key | Self::Panel => {}
        }
        let connection = request.extensions().get::<Arc<Connection>>();
        let Some(key) = request.headers().get(HEADER) else {
            return Err(Refusal::Unauthorized);
        };
        if gateway.api_key().matches(key.as_bytes()) {
            if let Some(connection) = connection {
                connection.trust();
            }
            return Ok(());
        }
        let verdict = connection.map(|connection| gateway.failed_keys().note(connection.peer()));
        match verdict.and_then(Verdict::retry_after_seconds) {
            None => Err(Refusal::Unauthorized),
            Some(retry_after_seconds) => Err(Refusal::TooMany { retry_after_seconds }),
        }
    }
}

/// Why somebody is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The key is missing or wrong.
    Unauthorized,
    /// It is wrong, like too many before it.
    TooMany { retry_after_seconds: u64 },
}

impl Refusal {
    fn response(self, family: Family) -> Response {
        match self {
            Self::Unauthorized => family.unauthorized(),
            Self::TooMany { retry_after_seconds } => family.too_many_failed_keys(retry_after_seconds),
        }
    }
}

/// A handler that is only reached by those whom `access` admits.
#[derive(Clone)]
pub(crate) struct Guarded<H> {
    pub(crate) access: Access,
    pub(crate) handler: H,
}

impl<T, H: Handler<T, Gateway>> Handler<T, Gateway> for Guarded<H> {
    type Future = Either<H::Future, Pin<Box<dyn Future<Output = Response> + Send>>>;

    fn call(self, request: Request, gateway: Gateway) -> Self::Future {
        match self.access.admits(&request, &gateway) {
            Ok(()) => Either::Left(self.handler.call(request, gateway)),
            Err(refusal) => Either::Right(Box::pin(refuse(request, refusal.response(self.access.family())))),
        }
    }
}
