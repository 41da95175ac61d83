//! The panel's live views: who is active now, how it went, and who is ahead.
//!
//! [`now`] is the last five minutes, [`series`] evenly spaced points, [`top`] a list by traffic or connections. Times are
//! the panel's, sizes plain numbers. What the last two are asked for is here.

use portmeter_proto::v1::{Key, ListKeysRequest, Metric};

use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::query::Query;
use crate::users;

pub(crate) mod now;
pub(crate) mod series;
pub(crate) mod top;

/// How far back views go where the caller does not say, in seconds.
const PERIOD_DEFAULT_SECONDS: u32 = 3_600;

/// The longest that a caller may ask for, in seconds: more than a year is a mistake. How far back a view really goes is
/// the agent's to say.
const PERIOD_MAX_SECONDS: u32 = 366 * 24 * 60 * 60;

/// The scope of a view of all users.
const GLOBAL: &str = "global";

/// What a view shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    metric: Metric,
    name: &'static str,
    unit: &'static str,
}

const TRAFFIC: Shown = Shown {
    metric: Metric::Traffic,
    name: "traffic",
    unit: "bytes",
};
const CONNECTIONS: Shown = Shown {
    metric: Metric::Connections,
    name: "conns",
    unit: "count",
};
const ONLINE_USERS: Shown = Shown {
    metric: Metric::OnlineKeys,
    name: "online_users",
    unit: "count",
};

/// The scope that the query names, as the caller wrote it.
fn scope_of(query: &Query) -> &str {
    query.text("scope").filter(|scope| !scope.is_empty()).unwrap_or(GLOBAL)
}

/// The user that a scope means; none for all of them.
async fn user_of(gateway: &Gateway, scope: &str) -> Result<Option<Key>, Failure> {
    if scope == GLOBAL {
        return Ok(None);
    }
    let keys = gateway
        .keys()
        .list_keys(ListKeysRequest::default())
        .await?
        .into_inner()
        .keys;
    let keys: Vec<&Key> = keys.iter().collect();
    let user = users::find(&keys, scope).cloned();
    user.map(Some)
        .ok_or_else(|| Failure::bad_request("scope: send global, or the email or uuid of a user"))
}
