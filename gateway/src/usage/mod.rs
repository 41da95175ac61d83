//! The panel's usage pages: days of all users together and of each one.
//!
//! [`window`] knows which days a page is about and adds up what was moved in them, [`dashboard`] writes the page and
//! [`kpi`] its head. Days are the ledger's; a user's figures are those of the key since its history was last reset, the
//! global ones keep what deleted keys moved and what was before a reset.

use axum::extract::State;
use axum::response::Response;
use chrono::NaiveDate;
use portmeter_proto::v1::ListHistoriesRequest;
use serde::Serialize;

use self::dashboard::{Dashboard, Page};
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
mod kpi;
mod window;

/// How many days a page has where the caller does not say, and at most.
const DAYS_DEFAULT: u32 = 7;
const DAYS_MAX: u32 = 365;
const WINDOW_DAYS_MAX: u32 = 31;

/// What a user takes without its days, and one day of one user; see [`crate::answer::json_of_size`].
const USER_BYTES: usize = 320;
const DAY_BYTES: usize = 24;

/// `GET /api/usage/dashboard`: the days that end today.
pub(crate) async fn dashboard(State(gateway): State<Gateway>, query: Query) -> Result<Response, PanelFailure> {
    let days = query.number("days", DAYS_DEFAULT, 1..=DAYS_MAX)?;
    let user = query.text("user").filter(|user| !user.is_empty());
    let page = Page {
        is_cumulative: false,
        user,
    };
    Ok(answer(&gateway, &page, |today| Window::ending(today, days)).await?)
}

/// `GET /api/usage/dashboard/{date}`: the days that end on a given one.
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

/// `GET /api/usage/dates`: the days that have data, newest first.
pub(crate) async fn dates(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    #[derive(Serialize)]
    struct Answer<'a> {
        ok: bool,
        dates: Vec<&'a str>,
    }
    let days = periods::list(&gateway, "", Some(Range::all_days())).await?;
    let dates = days.iter().rev().map(|day| day.start.as_str()).collect();
    Ok(answer::json_of_size(
        &Answer { ok: true, dates },
        (days.len() + 2) * DAY_BYTES,
    ))
}

async fn answer(
    gateway: &Gateway,
    page: &Page<'_>,
    window: impl FnOnce(NaiveDate) -> Window,
) -> Result<Response, Failure> {
    let histories = gateway.history().list_histories(ListHistoriesRequest {}).await?;
    let histories = histories.into_inner();
    let today = calendar::day(&histories.today).ok_or_else(|| Failure::incomplete("today"))?;
    let mut ledger = Ledger::new(window(today));
    // The users first: what passes between the readings is in the global figures alone, which are never less.
    let range = Range::days(ledger.window().first_read(), ledger.window().last());
    periods::each_key(gateway, range, |period| ledger.add_user(&period)).await?;
    for day in periods::list(gateway, "", Some(Range::all_days())).await? {
        ledger.add_global(&day)?;
    }
    let keys = KeyRow::all(&histories.histories)?
        .iter()
        .map(|row| row.key)
        .collect::<Vec<_>>();
    let expected_bytes = (keys.len() + 4) * (USER_BYTES + ledger.window().days().len() * DAY_BYTES);
    let dashboard = Dashboard::of(page, today, &keys, &ledger);
    Ok(answer::json_of_size(&dashboard, expected_bytes))
}
