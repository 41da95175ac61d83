//! Who may call a route: checked before anything else of the request is looked at.
//!
//! Owns [`Guarded`], which stands before every handler of the route table, so that no handler can forget to ask for
//! the key. It is a handler around a handler rather than a middleware: it costs a header look-up and a comparison.

use std::pin::Pin;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use futures_util::future::Either;
use http::HeaderMap;

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

    fn admits(self, headers: &HeaderMap, gateway: &Gateway) -> bool {
        match self {
            Self::Open => true,
            Self::Panel if gateway.panel_auth() == PanelAuth::Open => true,
            Self::Key | Self::Panel => headers
                .get(HEADER)
                .is_some_and(|key| gateway.api_key().matches(key.as_bytes())),
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
        if self.access.admits(request.headers(), &gateway) {
            Either::Left(self.handler.call(request, gateway))
        } else {
            Either::Right(Box::pin(refuse(request, self.access.family().unauthorized())))
        }
    }
}
