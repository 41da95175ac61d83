//! The panel's usage pages: days of all users together and of each one.
//!
//! [`window`] knows which days a page is about and adds up what was moved in them, [`domains`] where to, [`dashboard`]
//! writes the page and [`kpi`] its head. Days are the ledger's; a user's figures are those of the key since its history was last reset, the
//! global ones keep what deleted keys moved and what was before a reset.

use axum::extract::State;
use axum::response::Response;
use chrono::NaiveDate;
use portmeter_proto::v1::{GetCollectorRequest, ListHistoriesRequest};
use serde::Serialize;
use utoipa::ToSchema;

use self::dashboard::{Dashboard, Page};
use self::domains::Domains;
use self::window::{Ledger, Window};
use crate::answer;
use crate::calendar;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::history::KeyRow;
use crate::history::periods::{self, Range};
use crate::query::Query;
use crate::request::Segment;

mod dashboard;
mod domains;
mod kpi;
mod window;

/// How many days a page has where the caller does not say, and at most.
const DAYS_DEFAULT: u32 = 7;
const DAYS_MAX: u32 = 365;
const WINDOW_DAYS_MAX: u32 = 31;

/// What a user takes without its days, and one day of one user; see [`crate::answer::json_of_size`].
const USER_BYTES: usize = 320;
const DAY_BYTES: usize = 24;
const DOMAIN_BYTES: usize = 64;

/// Whether daily figures are those of each day or running sums.
#[derive(ToSchema)]
#[schema(as = UsageMode, rename_all = "lowercase")]
#[allow(dead_code, reason = "the query is read by its words")]
enum Mode {
    Daily,
    Cumulative,
}

/// The usage page of the days that end today.
#[utoipa::path(
    get,
    path = "/api/usage/dashboard",
    params(
        ("days" = Option<u32>, Query, description = "How many days; 7 by default.", minimum = 1, maximum = 365),
        ("user" = Option<String>, Query, description = "The only user to be listed, by email or uuid."),
    ),
    responses((status = 200, body = Dashboard))
)]
pub(crate) async fn dashboard(State(gateway): State<Gateway>, query: Query) -> Result<Response, PanelFailure> {
    let days = query.number("days", DAYS_DEFAULT, 1..=DAYS_MAX)?;
    let user = query.text("user").filter(|user| !user.is_empty());
    let page = Page {
        is_cumulative: false,
        user,
    };
    Ok(answer(&gateway, &page, |today| Window::ending(today, days)).await?)
}

/// The usage page of the days that end on a given one.
#[utoipa::path(
    get,
    path = "/api/usage/dashboard/{date}",
    params(
        (
            "mode" = inline(Option<Mode>),
            Query,
            description = "Whether daily figures are running sums; `daily` by default.",
        ),
        ("window_days" = Option<u32>, Query, description = "How many days; 7 by default.", minimum = 1, maximum = 31),
    ),
    responses((status = 200, body = Dashboard))
)]
pub(crate) async fn dashboard_of_date(
    State(gateway): State<Gateway>,
    Segment(date): Segment,
    query: Query,
) -> Result<Response, PanelFailure> {
    let date = calendar::day(&date).ok_or_else(|| Failure::bad_request("invalid_date_format"))?;
    let page = Page {
        is_cumulative: query.choice("mode", &[("daily", false), ("cumulative", true)])?,
        user: None,
    };
    let days = query.number("window_days", DAYS_DEFAULT, 1..=WINDOW_DAYS_MAX)?;
    Ok(answer(&gateway, &page, |_| Window::ending(date, days)).await?)
}

/// Lists the days that have data, newest first.
#[utoipa::path(get, path = "/api/usage/dates", responses((status = 200, body = UsageDates)))]
pub(crate) async fn dates(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let days = periods::list(&gateway, "", Some(Range::all_days())).await?;
    let dates = days.iter().rev().map(|day| day.start.as_str()).collect();
    Ok(answer::json_of_size(
        &UsageDates { ok: true, dates },
        (days.len() + 2) * DAY_BYTES,
    ))
}

#[derive(Serialize, ToSchema)]
struct UsageDates<'a> {
    ok: bool,
    #[schema(value_type = Vec<NaiveDate>)]
    dates: Vec<&'a str>,
}

async fn answer(
    gateway: &Gateway,
    page: &Page<'_>,
    window: impl FnOnce(NaiveDate) -> Window,
) -> Result<Response, Failure> {
    let histories = gateway.lists().histories(ListHistoriesRequest::default()).await?;
    let today = calendar::day(&histories.today).ok_or_else(|| Failure::incomplete("today"))?;
    let mut ledger = Ledger::new(window(today));
    // The users first: what passes between the readings is in the global figures alone, which are never less.
    let range = Range::days(ledger.window().first_read(), ledger.window().last());
    periods::each_key(gateway, range, |period| ledger.add_user(&period)).await?;
    for day in periods::list(gateway, "", Some(Range::all_days())).await? {
        ledger.add_global(&day)?;
    }
    let collector = gateway.collector().get_collector(GetCollectorRequest {}).await?;
    let collector = collector
        .into_inner()
        .collector
        .ok_or_else(|| Failure::incomplete("collector"))?;
    let domains = Domains::read(gateway, ledger.window()).await?;
    let keys = KeyRow::all(&histories.histories)?
        .iter()
        .map(|row| row.key)
        .collect::<Vec<_>>();
    let expected_bytes =
        (keys.len() + 4) * (USER_BYTES + ledger.window().days().len() * DAY_BYTES) + domains.count() * DOMAIN_BYTES;
    let dashboard = Dashboard::of(page, &keys, &ledger, &collector, &domains);
    Ok(answer::json_of_size(&dashboard, expected_bytes))
}
